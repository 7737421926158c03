// A WebSocket client on an engine, which connects again by itself if it is asked to.
//
//   ws::client feed{core, {.url = "ws://127.0.0.1:8080/feed",
//                          .connection = {.message = [](ws::connection& c, ws::message m) { … }},
//                          .reconnect_first_ms = 500}};
//   feed.start();
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/ws/connection.hpp>
#include <catenet/ws/options.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace catenet {
class core;
}

namespace catenet::ws {

struct client_options {
  /// "ws://127.0.0.1:8080/chat?a=b"; numeric addresses and "localhost": nothing is looked up. wss is not
  /// spoken.
  std::string url;
  /// Of the request: Origin, Authorization, …
  std::vector<std::pair<std::string, std::string>> fields{};
  /// Limits, handlers, the subprotocols and the compression that are offered. `origins` and `upgrade` mean
  /// nothing here.
  ws::options connection{};

  std::uint32_t connect_timeout_ms = 10'000;
  std::uint32_t handshake_timeout_ms = 10'000;
  /// After a connection ended or could not be made, the next try: so long at first, then twice as long each
  /// time up to the most, half of it at random. 0: none.
  std::uint32_t reconnect_first_ms = 0;
  std::uint32_t reconnect_max_ms = 30'000;

  /// An attempt came to nothing, with why in plain words.
  callback<void(std::string_view why)> failed{};
};

/// Made, used and ended on one core's thread, in a handler too (or ended after the engine's run()). Masks
/// come from the system's cryptographic generator (RFC 6455 §10.3).
class client {
 public:
  client(core& home, client_options options);
  /// Aborts the connection; its `close` is not told any more.
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// Begins to connect; what becomes of it is told later. False when the URL is not understood (told to
  /// `failed`), there is a connection already, or this is not the core's thread while the engine runs
  /// (logged).
  bool start();
  /// Closes, and does not connect again.
  void stop(close_code code = close_code::normal, std::string_view reason = {});

  /// The connection while it is open, else null.
  [[nodiscard]] connection* connected() const;
  /// The subprotocol the server chose.
  [[nodiscard]] std::string_view subprotocol() const;

 private:
  class session;
  std::shared_ptr<session> session_;
};

}  // namespace catenet::ws
