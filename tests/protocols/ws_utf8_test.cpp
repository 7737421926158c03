// The streaming UTF-8 check against a plain decoder written from the definition, which knows no automaton.
#include <catenet/ws/utf8.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace catenet::ws {
namespace {

std::span<const std::byte> bytes(std::string_view s) {
  return {reinterpret_cast<const std::byte*>(s.data()), s.size()};
}

// Decodes a code point by RFC 3629's bit patterns and encodes it again: well-formed is what comes out the
// same.
std::string encoded(std::uint32_t c) {
  const auto ch = [](std::uint32_t v) { return static_cast<char>(v); };
  if (c < 0x80) return {ch(c)};
  if (c < 0x800) return {ch(0xc0 | c >> 6), ch(0x80 | (c & 0x3f))};
  if (c < 0x10000) return {ch(0xe0 | c >> 12), ch(0x80 | (c >> 6 & 0x3f)), ch(0x80 | (c & 0x3f))};
  return {ch(0xf0 | c >> 18), ch(0x80 | (c >> 12 & 0x3f)), ch(0x80 | (c >> 6 & 0x3f)), ch(0x80 | (c & 0x3f))};
}

bool well_formed(std::string_view s) {
  while (!s.empty()) {
    const auto lead = static_cast<unsigned char>(s[0]);
    const std::size_t size = lead < 0x80       ? 1
                             : lead >> 5 == 6  ? 2
                             : lead >> 4 == 14 ? 3
                             : lead >> 3 == 30 ? 4
                                               : 0;
    if (size == 0 || s.size() < size) return false;
    std::uint32_t c = size == 1 ? lead : lead & (0xffu >> (size + 1));
    for (std::size_t i = 1; i != size; ++i) c = c << 6 | (static_cast<unsigned char>(s[i]) & 0x3f);
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || encoded(c) != s.substr(0, size)) return false;
    s.remove_prefix(size);
  }
  return true;
}

TEST(ws_utf8, row_85_every_string_of_up_to_three_bytes) {
  for (unsigned size = 1; size != 4; ++size)
    for (std::uint32_t v = 0; v != 1u << (8 * size); ++v) {
      char raw[3];
      for (unsigned i = 0; i != size; ++i) raw[i] = static_cast<char>(v >> (8 * i));
      if (const std::string_view s{raw, size}; is_utf8(s) != well_formed(s)) FAIL() << std::hex << v;
    }
}

// Of four bytes, those whose bytes lie at an edge of any rule: the others behave like their neighbours.
TEST(ws_utf8, row_85_every_string_of_four_bytes_at_the_edges) {
  std::vector<char> edges;
  for (unsigned e : {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
                     0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xff})
    edges.push_back(static_cast<char>(e));
  for (char a : edges)
    for (char b : edges)
      for (char c : edges)
        for (char d : edges) {
          const std::string s{a, b, c, d};
          ASSERT_EQ(is_utf8(s), well_formed(s)) << testing::PrintToString(s);
        }
}

TEST(ws_utf8, every_code_point) {
  for (std::uint32_t c = 0; c != 0x120000; ++c) {
    const bool good = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
    ASSERT_EQ(is_utf8(encoded(c)), good) << std::hex << c;
  }
}

std::string random_text(std::mt19937& random) {
  std::string s;
  for (unsigned n = random() % 40; n != 0; --n) {
    if (random() % 3 == 0) {
      s.append(random() % 70, 'a');
    } else {
      const std::uint32_t top[] = {0x80, 0x800, 0xd800, 0x110000};
      s += encoded(random() % top[random() % 4]);
    }
  }
  if (!s.empty() && random() % 2 == 0) s[random() % s.size()] = static_cast<char>(random());
  return s;
}

TEST(ws_utf8, row_86_random_text_cut_anywhere_and_the_first_bad_byte) {
  std::mt19937 random(86);
  for (int round = 0; round != 5000; ++round) {
    const std::string s = random_text(random);
    ASSERT_EQ(is_utf8(s), well_formed(s)) << testing::PrintToString(s);

    utf8_check one_by_one;
    std::size_t good = 0;
    while (good != s.size() && one_by_one.feed(bytes(s).subspan(good, 1))) ++good;
    ASSERT_EQ(good == s.size() && one_by_one.complete(), well_formed(s));

    // Up to the byte before the first bad one, some text could still follow that makes it good.
    if (good != s.size()) {
      bool could_go_on = false;
      for (const char* rest : {"", "\x80", "\x80\x80", "\x80\x80\x80", "\xbf", "\xbf\xbf", "\xbf\xbf\xbf"})
        could_go_on = could_go_on || well_formed(s.substr(0, good) + rest);
      EXPECT_TRUE(could_go_on) << testing::PrintToString(s) << " at " << good;
    }

    utf8_check cut;
    const std::size_t at = s.empty() ? 0 : random() % s.size();
    const bool ok = cut.feed(bytes(s).first(at)) && cut.feed(bytes(s).subspan(at)) && cut.complete();
    ASSERT_EQ(ok, well_formed(s)) << testing::PrintToString(s) << " cut at " << at;
  }
}

TEST(ws_utf8, stays_refused) {
  utf8_check check;
  EXPECT_FALSE(check.feed(bytes("\xff")));
  EXPECT_FALSE(check.feed(bytes("good again")));
  EXPECT_FALSE(check.complete());
}

}  // namespace
}  // namespace catenet::ws
