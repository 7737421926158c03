// The built-in frame formats.
#include <catenet/frame/format.hpp>

#include <algorithm>

namespace catenet::frame {

std::string_view text(status s) {
  switch (s) {
    case status::frame:
      return "frame";
    case status::more:
      return "more bytes are needed";
    case status::bad_magic:
      return "the frame does not begin with the magic number";
    case status::bad_length:
      return "the frame's length is malformed";
    case status::too_long:
      return "the frame is longer than the limit";
    case status::no_memory:
      return "no memory for a view of the frame";
  }
  return "unknown";
}

namespace detail {

header parse_length_u32(std::span<const std::byte> start) {
  if (start.size() < 4) return {};
  return {status::frame, 4, load_u32(start.data())};
}

std::uint8_t write_length_u32(std::uint64_t payload_bytes, std::byte* out) {
  store_u32(static_cast<std::uint32_t>(payload_bytes), out);
  return 4;
}

header parse_magic_u32(std::span<const std::byte> start) {
  if (start.size() >= 8 && load_u32(start.data()) == magic) [[likely]]
    return {status::frame, 8, load_u32(start.data() + 4)};
  std::byte wanted[4];
  store_u32(magic, wanted);
  const std::size_t seen = std::min<std::size_t>(start.size(), 4);
  if (!std::equal(start.begin(), start.begin() + static_cast<std::ptrdiff_t>(seen), wanted))
    return {status::bad_magic, 0, 0};
  return {};
}

std::uint8_t write_magic_u32(std::uint64_t payload_bytes, std::byte* out) {
  store_u32(magic, out);
  store_u32(static_cast<std::uint32_t>(payload_bytes), out + 4);
  return 8;
}

// LEB128, shortest form only: each length has one spelling, so what was framed and what is framed again
// agree.
header parse_varint(std::span<const std::byte> start) {
  std::uint64_t value = 0;
  for (std::uint8_t i = 0; i != 10; ++i) {
    if (i == start.size()) return {};
    const auto byte = std::to_integer<std::uint64_t>(start[i]);
    if (i == 9 && byte > 1) return {status::bad_length, 0, 0};  // the tenth byte holds bit 63 alone
    value |= (byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    if (byte == 0 && i != 0) return {status::bad_length, 0, 0};
    return {status::frame, static_cast<std::uint8_t>(i + 1), value};
  }
  return {status::bad_length, 0, 0};
}

std::uint8_t write_varint(std::uint64_t payload_bytes, std::byte* out) {
  std::uint8_t length = 0;
  for (; payload_bytes > 0x7f; payload_bytes >>= 7)
    out[length++] = static_cast<std::byte>(payload_bytes | 0x80);
  out[length++] = static_cast<std::byte>(payload_bytes);
  return length;
}

}  // namespace detail

}  // namespace catenet::frame
