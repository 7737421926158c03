// A publication: one message on its way to many, as a frame, and compressed, each made once and shared.
#pragma once

#include <catenet/slab/chain.hpp>
#include <catenet/ws/deflate.hpp>
#include <catenet/ws/frame.hpp>
#include <catenet/ws/message.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace catenet::ws {

class publication {
 public:
  /// Empty when the slab had no room.
  publication(std::string_view topic, message&& m);
  /// The same, to be moved to another core. std::nullopt when segments ran out.
  [[nodiscard]] std::optional<publication> share();

  explicit operator bool() const { return !plain_.empty(); }
  [[nodiscard]] const std::string& topic() const { return topic_; }
  [[nodiscard]] std::uint64_t payload_bytes() const { return plain_.bytes() - header_bytes_; }
  [[nodiscard]] chain& plain() { return plain_; }
  /// The frame compressed for peers that let us use so wide a window, without a context; made at the first
  /// call. Null when that is no smaller, memory ran out, or no window has so many bits.
  [[nodiscard]] chain* deflated(std::uint8_t window_bits, std::uint8_t level, deflate_shelf& shelf);

 private:
  publication() = default;
  void join_short();
  void join_long();
  static constexpr std::size_t windows = window_bits_max - window_bits_min + 1;

  std::string topic_;
  opcode op_ = opcode::binary;
  std::uint8_t header_bytes_ = 0;
  chain plain_;
  std::array<chain, windows> deflated_;
  std::array<bool, windows> tried_{};
};

}  // namespace catenet::ws
