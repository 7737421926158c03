// A connection's name for other threads.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/engine/handle.hpp>
#include <catenet/engine/stream.hpp>
#include <catenet/ws/close_code.hpp>

#include <string>
#include <string_view>

namespace catenet {
class engine;
}

namespace catenet::ws {

class connection;

/// Copyable, usable on any thread while the engine exists. What is asked through it happens on the
/// connection's core, in the order asked by one thread.
class remote {
 public:
  remote() = default;
  remote(engine& of, handle which) : engine_(&of), handle_(which) {}

  /// Sends; the outcome is told to `told`, if there is one, on the connection's core. False when that core
  /// has ended; then `told` is not called.
  bool send(std::string message, bool is_text = true, callback<void(send_result)> told = {}) const;
  bool close(close_code code = close_code::normal, std::string reason = {}) const;
  /// Calls f(connection*) on the connection's core, with null when it is gone.
  bool run(callback<void(connection*)> f) const;

  /// The connection itself, or null when it is gone. On its core's thread only.
  [[nodiscard]] connection* find() const;

  [[nodiscard]] handle id() const { return handle_; }
  explicit operator bool() const { return static_cast<bool>(handle_); }
  bool operator==(const remote&) const = default;

 private:
  engine* engine_ = nullptr;
  handle handle_;
};

}  // namespace catenet::ws
