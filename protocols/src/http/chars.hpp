// Classes of characters, and the searches that a parser spends its time in: 16 bytes a step with SSE2, which
// every x86-64 has, one byte a step elsewhere. Nothing here reads outside [at, end).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace catenet::http {

enum char_class : std::uint8_t {
  char_token = 1,    // RFC 9110 §5.6.2
  char_target = 2,   // may stand in a request target: visible ASCII but '#'
  char_host = 4,     // may stand in a host's name or IPv4 address as it is; ',' is refused (two Hosts merged)
  char_control = 8,  // ends or spoils a line: everything below space but HTAB, and DEL
};

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> table{};
  const auto mark = [&](std::string_view set, std::uint8_t bits) {
    for (const char c : set) table[static_cast<unsigned char>(c)] |= bits;
  };
  mark("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", char_token | char_host);
  mark("!#$%&'*+-.^_`|~", char_token);
  mark("-._~!$&'()*+;=", char_host);
  for (unsigned c = 0x21; c != 0x7f; ++c)
    if (c != '#') table[c] |= char_target;
  for (unsigned c = 0; c != 0x20; ++c)
    if (c != '\t') table[c] |= char_control;
  table[0x7f] |= char_control;
  return table;
}
inline constexpr std::array<std::uint8_t, 256> classes = make_classes();

inline bool is(char c, char_class what) { return (classes[static_cast<unsigned char>(c)] & what) != 0; }

inline bool all_are(std::string_view text, char_class what) {
  for (const char c : text)
    if (!is(c, what)) return false;
  return true;
}

/// The value of a hexadecimal digit, or -1.
constexpr int hex_value(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const unsigned char lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

template <class T>
T load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

#ifdef __SSE2__
inline __m128i load16(const char* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }
inline __m128i fill16(int c) { return _mm_set1_epi8(static_cast<char>(c)); }
inline unsigned mask16(__m128i v) { return static_cast<unsigned>(_mm_movemask_epi8(v)); }
inline const char* first16(const char* at, unsigned mask) { return at + std::countr_zero(mask); }
#endif

/// True when none of the eight bytes is below space or DEL. (HTAB counts as below, which only costs time.)
inline bool no_control(std::uint64_t eight) {
  constexpr std::uint64_t ones = 0x0101010101010101u;
  constexpr std::uint64_t tops = ones * 0x80;
  const std::uint64_t low = (eight - ones * 0x20) & ~eight & tops;
  const std::uint64_t del = eight ^ (ones * 0x7f);
  return (low | ((del - ones) & ~del & tops)) == 0;
}

/// The first control character (HTAB does not count) in [at, end), or end.
inline const char* find_control(const char* at, const char* end) {
#ifdef __SSE2__
  for (; end - at >= 16; at += 16) {
    const __m128i v = load16(at);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, fill16(0x1f)), v);
    const __m128i bad =
        _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, fill16('\t')), low), _mm_cmpeq_epi8(v, fill16(0x7f)));
    if (const unsigned mask = mask16(bad); mask != 0) return first16(at, mask);
  }
#endif
  while (end - at >= 8 && no_control(load<std::uint64_t>(at))) at += 8;
  while (at != end && !is(*at, char_control)) ++at;
  return at;
}

/// The first such byte in [at, end), or end.
inline const char* find_byte(const char* at, const char* end, char wanted) {
#ifdef __SSE2__
  for (; end - at >= 16; at += 16)
    if (const unsigned mask = mask16(_mm_cmpeq_epi8(load16(at), fill16(wanted))); mask != 0)
      return first16(at, mask);
#endif
  while (at != end && *at != wanted) ++at;
  return at;
}

/// The first byte in [at, end) that may not stand in a request target, or end.
inline const char* skip_target(const char* at, const char* end) {
#ifdef __SSE2__
  for (; end - at >= 16; at += 16) {
    const __m128i v = load16(at);
    // As signed numbers, 8-bit characters are below 0x21 too.
    const __m128i bad =
        _mm_or_si128(_mm_or_si128(_mm_cmplt_epi8(v, fill16(0x21)), _mm_cmpeq_epi8(v, fill16('#'))),
                     _mm_cmpeq_epi8(v, fill16(0x7f)));
    if (const unsigned mask = mask16(bad); mask != 0) return first16(at, mask);
  }
#endif
  while (at != end && is(*at, char_target)) ++at;
  return at;
}

/// The first byte in [at, end) that is no token character, or end.
inline const char* skip_token(const char* at, const char* end) {
#ifdef __SSE2__
  if (end - at >= 16) {
    // Letters, digits and '-' at once; the rare others by the table.
    const __m128i v = load16(at);
    const __m128i lower = _mm_or_si128(v, fill16(0x20));
    const __m128i letter =
        _mm_and_si128(_mm_cmpgt_epi8(lower, fill16('a' - 1)), _mm_cmplt_epi8(lower, fill16('z' + 1)));
    const __m128i digit =
        _mm_and_si128(_mm_cmpgt_epi8(v, fill16('0' - 1)), _mm_cmplt_epi8(v, fill16('9' + 1)));
    const __m128i good = _mm_or_si128(_mm_or_si128(letter, digit), _mm_cmpeq_epi8(v, fill16('-')));
    const unsigned mask = mask16(good) ^ 0xffffu;
    at = mask == 0 ? at + 16 : first16(at, mask);
  }
#endif
  while (at != end && is(*at, char_token)) ++at;
  return at;
}

/// True when `text`, which has as many bytes as `lower` and is a token, is `lower` in any case. `lower` has
/// small letters, digits and '-' only: on tokens, setting the bit of small letters then confuses nothing.
inline bool is_name(const char* text, std::string_view lower) {
  constexpr std::uint64_t bits = 0x2020202020202020u;
  std::size_t at = 0;
  for (; at + 8 <= lower.size(); at += 8)
    if ((load<std::uint64_t>(text + at) | bits) != load<std::uint64_t>(lower.data() + at)) return false;
  for (; at + 4 <= lower.size(); at += 4)
    if ((load<std::uint32_t>(text + at) | 0x20202020u) != load<std::uint32_t>(lower.data() + at))
      return false;
  for (; at != lower.size(); ++at)
    if (static_cast<char>(text[at] | 0x20) != lower[at]) return false;
  return true;
}

inline std::string_view trimmed(const char* begin, const char* end) {
  while (begin != end && (*begin == ' ' || *begin == '\t')) ++begin;
  while (begin != end && (end[-1] == ' ' || end[-1] == '\t')) --end;
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace catenet::http
