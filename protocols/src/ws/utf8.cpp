// The automaton behind utf8_check, with a fast path for runs of ASCII.
//
// A state is a bit position in a 64-bit word, and a byte's row is such a word: six bits at the position of
// each state hold the next state. So one step is one load, which does not wait for the step before, and one
// shift.
#include <catenet/ws/utf8.hpp>

#include <array>
#include <cstring>

namespace catenet::ws {

namespace {

// Multiples of 6, so that they are shift counts. What each waits for:
constexpr std::uint64_t start = 0;        // the first byte of a code point
constexpr std::uint64_t reject = 6;       // nothing: a bad byte was seen
constexpr std::uint64_t one_more = 12;    // 80..BF, the last byte
constexpr std::uint64_t two_more = 18;    // 80..BF, then one more
constexpr std::uint64_t after_e0 = 24;    // A0..BF: below would be overlong
constexpr std::uint64_t after_ed = 30;    // 80..9F: above would be a surrogate
constexpr std::uint64_t after_f0 = 36;    // 90..BF: below would be overlong
constexpr std::uint64_t three_more = 42;  // 80..BF, then two more
constexpr std::uint64_t after_f4 = 48;    // 80..8F: above would lie beyond U+10FFFF

constexpr std::uint64_t after_lead(unsigned byte) {
  if (byte <= 0x7f) return start;
  if (byte >= 0xc2 && byte <= 0xdf) return one_more;  // C0 and C1 could only begin overlong forms
  if (byte == 0xe0) return after_e0;
  if (byte == 0xed) return after_ed;
  if (byte >= 0xe1 && byte <= 0xef) return two_more;
  if (byte == 0xf0) return after_f0;
  if (byte >= 0xf1 && byte <= 0xf3) return three_more;
  if (byte == 0xf4) return after_f4;
  return reject;
}

constexpr std::uint64_t row_of(unsigned byte) {
  const auto within = [byte](unsigned low, unsigned high, std::uint64_t next) {
    return byte >= low && byte <= high ? next : reject;
  };
  return after_lead(byte) << start | reject << reject | within(0x80, 0xbf, start) << one_more |
         within(0x80, 0xbf, one_more) << two_more | within(0xa0, 0xbf, one_more) << after_e0 |
         within(0x80, 0x9f, one_more) << after_ed | within(0x90, 0xbf, two_more) << after_f0 |
         within(0x80, 0xbf, two_more) << three_more | within(0x80, 0x8f, two_more) << after_f4;
}

constexpr std::array<std::uint64_t, 256> rows = [] {
  std::array<std::uint64_t, 256> made{};
  for (unsigned byte = 0; byte != 256; ++byte) made[byte] = row_of(byte);
  return made;
}();

std::uint64_t load(const std::byte* from) {
  std::uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

constexpr std::uint64_t high_bits = 0x8080808080808080;
constexpr std::size_t stride = 32;

}  // namespace

bool utf8_check::feed(std::span<const std::byte> bytes) {
  const std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size();
  std::uint64_t state = state_;
  while (at != end) {
    if (state == start)
      while (static_cast<std::size_t>(end - at) >= stride &&
             ((load(at) | load(at + 8) | load(at + 16) | load(at + 24)) & high_bits) == 0)
        at += stride;
    // At most a stride by the automaton, then see whether it is ASCII again. `reject` is never left.
    const std::byte* const stop = static_cast<std::size_t>(end - at) < stride ? end : at + stride;
    for (; at != stop; ++at) state = rows[std::to_integer<unsigned>(*at)] >> state & 63;
    if (state == reject) break;
  }
  state_ = static_cast<std::uint8_t>(state);
  return state != reject;
}

bool is_utf8(std::string_view text) {
  utf8_check check;
  return check.feed(std::as_bytes(std::span{text})) && check.complete();
}

}  // namespace catenet::ws
