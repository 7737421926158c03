// The frame header: two to fourteen bytes in front of every payload (RFC 6455 §5.2).
//
//   fin rsv opcode | mask length | 0, 2 or 8 more bytes of length | 0 or 4 bytes of key | payload
#pragma once

#include <catenet/ws/mask.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace catenet::ws {

enum class opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

[[nodiscard]] constexpr bool is_control(opcode op) { return (static_cast<unsigned>(op) & 8) != 0; }

/// Which end of a connection one is: a server's peer must mask, a client's must not (RFC 6455 §5.1).
enum class role : std::uint8_t { server, client };

inline constexpr std::size_t control_payload_max = 125;
inline constexpr std::size_t header_size_max = 14;  ///< with a key
inline constexpr std::size_t unmasked_header_size_max = 10;

struct frame_header {
  std::uint64_t length = 0;  ///< bytes of payload, below 2^63
  mask_key key{};            ///< zero in an unmasked frame
  opcode op = opcode::continuation;
  bool fin = true;
  bool rsv1 = false;  ///< with permessage-deflate: the message that begins here is compressed
  bool masked = false;
  std::uint8_t size = 0;  ///< bytes of the header itself
};

/// What parse_header found: a violation, a header, or (neither) that more bytes are needed.
struct parsed_header {
  const char* violation = nullptr;  ///< what is wrong, a constant; the close code is 1002
  bool complete = false;
  frame_header header;
};

/// Reads the header at the front of `bytes` as end `self` receives it, and refuses what no state of the
/// connection could make right, as early as the bytes tell: reserved bits and opcodes, masking, control
/// frames that are long or fragmented, a length that is not in its shortest form or has its top bit set (RFC
/// 6455 §5.1, 5.2, 5.5). `deflate`: permessage-deflate was agreed, so the first frame of a message may carry
/// RSV1 (RFC 7692 §6).
[[nodiscard]] parsed_header parse_header(std::span<const std::byte> bytes, role self, bool deflate);

/// Bytes that write_header needs.
[[nodiscard]] constexpr std::size_t header_size(std::uint64_t length, bool masked) {
  return (length < 126 ? 2u : length < 65536 ? 4u : 10u) + (masked ? 4u : 0u);
}

/// Writes a header, its length in the shortest form, to `out`, which has room for header_size() bytes;
/// returns how many were written. `size` is not looked at.
std::size_t write_header(std::byte* out, const frame_header& header);

}  // namespace catenet::ws
