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
/// blocks that were received into: who keeps it for long takes it and calls compact() on it. Like a prepared
/// frame it lies in the engine's slab and must not outlive the engine.
class message {
 public:
  message() = default;
  message(chain&& payload, bool is_text) : payload_(std::move(payload)), text_(is_text) {}
  /// `headroom`: see event (decoder.hpp).
  message(chain&& payload, bool is_text, std::uint8_t headroom)
      : payload_(std::move(payload)), text_(is_text), headroom_(headroom) {}

  /// Copies; empty when the slab has no room, or the thread no pool (it is no core's), and an empty message
  /// can be sent: where that may not happen, compare size(). Text must be UTF-8: the peer would end the
  /// connection.
  static message text(std::string_view s) { return {chain::copy_of(s), true}; }
  static message binary(std::span<const std::byte> bytes) { return {chain::copy_of(bytes), false}; }

  [[nodiscard]] bool is_text() const { return text_; }
  [[nodiscard]] std::uint64_t size() const { return payload_.bytes(); }
  [[nodiscard]] const chain& payload() const { return payload_; }
  /// To change it, or to keep it elsewhere. The message is empty afterwards.
  [[nodiscard]] chain take_payload() {
    headroom_ = 0;
    return std::move(payload_);
  }
  [[nodiscard]] std::string to_string() const { return payload_.to_string(); }

  /// All of it as contiguous bytes, valid while the message is not changed. What lies in several blocks is
  /// copied into one first; std::nullopt when there is none so large (1 MiB by default).
  [[nodiscard]] std::optional<std::string_view> view();

  /// A second message over the same bytes, which takes over the headroom; std::nullopt when segments ran out,
  /// or the thread has no pool.
  [[nodiscard]] std::optional<message> share();

  /// As a frame; the message is empty afterwards. The header of more than so many bytes is written into their
  /// headroom, if there is some. Empty when the slab had no room.
  [[nodiscard]] chain into_frame(std::uint64_t moved_bytes_max) &&;

 private:
  chain payload_;
  bool text_ = false;
  std::uint8_t headroom_ = 0;
};

/// Some bytes of a message, as they came.
struct message_part {
  chain bytes;
  bool is_text = false;
  bool first = false;  ///< the message begins with it
  bool last = false;   ///< the message ends with it, which may be empty then
};

/// A message with its frame header, built once for any number of sends (connection::send).
class prepared {
 public:
  /// Empty when the slab had no room for the header. A text that the slab had no room for is an empty message
  /// and makes an empty one's frame: ask the message for its size(). On a core's thread; may then be moved to
  /// another.
  explicit prepared(message&& m);
  explicit operator bool() const { return !frame_.empty(); }
  [[nodiscard]] const chain& frame() const { return frame_; }

  /// The message again, over the same bytes, without its header. std::nullopt when segments ran out.
  [[nodiscard]] std::optional<message> unframed();

 private:
  friend class connection;
  std::uint8_t header_bytes_;
  bool text_;
  chain frame_;
};
[[nodiscard]] inline prepared prepare(message&& m) { return prepared{std::move(m)}; }

}  // namespace catenet::ws
