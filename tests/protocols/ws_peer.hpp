// A server with one WebSocket route in this process, without a handshake, and raw clients for it: they send
// the bytes they are told to and read frames by rules of their own.
#pragma once

#include <catenet/engine/engine.hpp>
#include <catenet/ws/hub.hpp>
#include <catenet/ws/options.hpp>

#include "ws_frames.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace catenet::ws::testing {

class server {
 public:
  explicit server(options o, engine_options e = {});
  ~server();  ///< stops, and checks that every block came home
  void stop();
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] ws::hub& hub() { return hub_; }
  [[nodiscard]] engine& net() { return net_; }
  /// Waits until `holds`, at most some seconds.
  static bool eventually(const std::function<bool()>& holds);

 private:
  static engine_options without_signals(engine_options e);
  engine net_;
  ws::hub hub_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

class peer {
 public:
  explicit peer(const server& to, int receive_buffer = 0) : peer(to.port(), receive_buffer) {}
  explicit peer(std::uint16_t port, int receive_buffer = 0);
  ~peer();
  peer(peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)), in_(std::move(other.in_)) {}
  peer& operator=(peer&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(in_, other.in_);
    return *this;
  }

  void send(std::string_view bytes);
  /// The next frame as "81 payload" (first byte in hexadecimal), "end" at the end of the stream, "reset", or
  /// "silence" after a time.
  std::string next(int wait_ms = 5000);
  /// An HTTP head, with its last empty line; what came of it before the end of the stream.
  std::string head();
  /// Everything up to the end of the stream.
  std::vector<std::string> rest();
  void end_sending();
  void reset();

 private:
  bool fill(std::size_t bytes, int wait_ms, const char*& why);
  int fd_;
  std::string in_;
};

}  // namespace catenet::ws::testing
