// The moment between a good handshake and the connection: who may come in is decided here.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/http/handler.hpp>

#include <cstdint>
#include <string_view>

namespace catenet::ws {

class connection;

/// What an upgrade handler decides. Used like the request and response beside it: on their core, until the
/// handler ends.
class upgrade {
 public:
  explicit upgrade(http::response& rs) : answer(rs) {}

  /// Answers with this status (4xx, 5xx or a redirection) and a line of text instead of 101. Any other one
  /// would not say that it is refused: 500 goes out in its place, and a line into the log.
  void refuse(std::uint32_t status, std::string_view why = {});
  [[nodiscard]] bool refused() const { return refused_; }

  /// Called right before the route's `open`: what the handler has found out goes along in it. Dropped
  /// uncalled when the peer leaves before.
  callback<void(connection&)> opened{};

  /// For further fields of the 101: Set-Cookie, say. With a status of 300 or more it is the answer, and a
  /// refusal.
  http::response& answer;

 private:
  bool refused_ = false;
};

/// A callable that takes (http::request&, ws::upgrade&) and returns nothing, or a task<> when it has to wait.
/// Every core calls it, maybe at the same time.
using upgrade_handler = http::handler_of<http::request&, upgrade&>;

}  // namespace catenet::ws
