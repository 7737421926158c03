// What a peer may send at most. Everything a codec holds is bounded by one of these.
#pragma once

#include <algorithm>
#include <cstdint>

namespace catenet::http {

inline constexpr std::uint32_t head_bytes_min = 64;
inline constexpr std::uint32_t head_bytes_max = 65535;  ///< places in a head are kept in 16 bits
inline constexpr std::uint16_t fields_max = 128;
inline constexpr std::uint32_t method_bytes_max = 32;

/// Bytes and counts of one message. Codecs take them as they are: what a user sets goes through checked()
/// once.
struct limits {
  std::uint32_t request_line =
      8192;  ///< bytes without CR LF; beyond: 414 (501 when not even a method ends there)
  std::uint32_t head_bytes =
      32768;  ///< the whole head with its final CR LF, head_bytes_min..head_bytes_max; beyond: 431
  std::uint16_t fields = 100;          ///< at most fields_max; beyond: 431
  std::uint8_t empty_lines = 4;        ///< skipped before a request line (RFC 9112 §2.2); beyond: 400
  std::uint32_t trailer_bytes = 8192;  ///< beyond: 431
  std::uint16_t trailer_fields = 32;
  std::uint32_t extension_bytes = 4096;  ///< chunk extensions of one body, all together; beyond: 400
  std::uint32_t chunk_overhead =
      16384;  ///< by how much the framing of chunks may outweigh their data; beyond: 400

  /// The same within the bounds of the codecs.
  [[nodiscard]] constexpr limits checked() const {
    limits l = *this;
    l.head_bytes = std::clamp(head_bytes, head_bytes_min, head_bytes_max);
    l.request_line = std::clamp(request_line, method_bytes_max + 1, l.head_bytes - 4);
    l.fields = std::min(fields, fields_max);
    l.trailer_bytes = std::clamp(trailer_bytes, std::uint32_t{2}, head_bytes_max);
    return l;
  }
};

}  // namespace catenet::http
