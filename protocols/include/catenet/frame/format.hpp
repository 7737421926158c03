// Frame formats: how the length of a message is written before it. A format is a value of three functions, so
// a program can bring its own; the built-in ones are below.
//
//   length_u32   [size, u32 big endian][payload]
//   magic_u32    [0xAB43C146, u32 big endian][size, u32 big endian][payload]
//   varint       [size, 7 bits a byte, least significant first, 1 to 10 bytes][payload]
//
// Everything here is pure and reentrant: any thread, no allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace catenet::frame {

/// How far reading came.
enum class status : std::uint8_t {
  frame,       ///< a whole frame (of a format's parse(): a whole header)
  more,        ///< what there is is fine, but not all of it
  bad_magic,   ///< the header does not begin with the magic number
  bad_length,  ///< the length is not written as the format wants it (a varint too long or with needless
               ///< bytes)
  too_long,    ///< the length is over the limit
  no_memory,   ///< no segment for the cut was to be had; nothing was consumed, the call may be repeated
};
[[nodiscard]] std::string_view text(status s);
/// Whether the stream can never be read on after this.
[[nodiscard]] constexpr bool is_fatal(status s) {
  return s != status::frame && s != status::more && s != status::no_memory;
}

/// What the start of a frame says. The numbers are set when `what` is status::frame.
struct header {
  status what = status::more;
  std::uint8_t header_bytes = 0;
  std::uint64_t payload_bytes = 0;
};

inline constexpr std::size_t header_bytes_limit = 16;  ///< no format may need more

struct format {
  std::string_view name;
  /// Most bytes of a header; at most header_bytes_limit.
  std::uint8_t header_bytes_max;
  /// The largest payload that the header can tell.
  std::uint64_t payload_bytes_max;
  /// Reads a header from the first bytes of a frame; looks at header_bytes_max bytes at most. A wrong
  /// beginning is told as soon as it shows, not only once the header is complete.
  header (*parse)(std::span<const std::byte> start);
  /// Writes the header of a payload of so many bytes (at most payload_bytes_max) to `out`, which has room for
  /// header_bytes_max; returns its length.
  std::uint8_t (*write)(std::uint64_t payload_bytes, std::byte* out);
};

inline constexpr std::uint32_t magic = 0xAB43C146;

namespace detail {

inline void store_u32(std::uint32_t value, std::byte* out) {
  for (int i = 0; i != 4; ++i) out[i] = static_cast<std::byte>(value >> (24 - 8 * i));
}
inline std::uint32_t load_u32(const std::byte* in) {
  std::uint32_t value = 0;
  for (int i = 0; i != 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(in[i]);
  return value;
}

header parse_length_u32(std::span<const std::byte> start);
header parse_magic_u32(std::span<const std::byte> start);
header parse_varint(std::span<const std::byte> start);
std::uint8_t write_length_u32(std::uint64_t payload_bytes, std::byte* out);
std::uint8_t write_magic_u32(std::uint64_t payload_bytes, std::byte* out);
std::uint8_t write_varint(std::uint64_t payload_bytes, std::byte* out);

}  // namespace detail

inline constexpr format length_u32{"length_u32", 4, 0xffffffff, detail::parse_length_u32,
                                   detail::write_length_u32};
inline constexpr format magic_u32{"magic_u32", 8, 0xffffffff, detail::parse_magic_u32,
                                  detail::write_magic_u32};
inline constexpr format varint{"varint", 10, ~std::uint64_t{0}, detail::parse_varint, detail::write_varint};

}  // namespace catenet::frame
