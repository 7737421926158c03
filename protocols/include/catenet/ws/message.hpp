// A message: text or bytes, as a chain.
#pragma once

#include <catenet/slab/chain.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace catenet::ws {

/// Received, or to be sent. Movable; share() makes a second one over the same bytes. Its chain is views of
/// blocks that were received into: who keeps a message for long calls payload().compact().
class message {
 public:
  message() = default;
  message(chain&& payload, bool is_text) : payload_(std::move(payload)), text_(is_text) {}

  /// Copies; empty when the slab has no room. Text must be UTF-8: the peer would end the connection.
  static message text(std::string_view s) { return {chain::copy_of(s), true}; }
  static message binary(std::span<const std::byte> bytes) { return {chain::copy_of(bytes), false}; }

  [[nodiscard]] bool is_text() const { return text_; }
  [[nodiscard]] std::uint64_t size() const { return payload_.bytes(); }
  [[nodiscard]] chain& payload() { return payload_; }
  [[nodiscard]] const chain& payload() const { return payload_; }
  [[nodiscard]] std::string to_string() const { return payload_.to_string(); }

  /// All of it as contiguous bytes, valid while the message is not changed. What lies in several blocks is
  /// copied into one first; std::nullopt when there is none so large (1 MiB by default).
  [[nodiscard]] std::optional<std::string_view> view();

  /// A second message over the same bytes; std::nullopt when segments ran out.
  [[nodiscard]] std::optional<message> share();

 private:
  chain payload_;
  bool text_ = false;
};

/// A message with its frame header, built once for any number of sends (connection::send).
class prepared {
 public:
  /// Empty when the slab had no room. On a core's thread; may then be moved to another.
  explicit prepared(message&& m);
  explicit operator bool() const { return !frame_.empty(); }
  [[nodiscard]] const chain& frame() const { return frame_; }

 private:
  friend class connection;
  chain frame_;
};

}  // namespace catenet::ws
