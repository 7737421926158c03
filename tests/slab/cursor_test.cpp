// Cursors: integers in both orders across borders, searches, and the ends.
#include <catenet/slab/cursor.hpp>

#include "fixture.hpp"

#include <vector>

namespace catenet::test {
namespace {

using cursor_test = slab_test;

// The text cut into pieces of one byte, two bytes and so on: every border is met.
chain in_pieces(std::string_view text, std::size_t piece) {
  chain c;
  for (std::size_t at = 0; at < text.size(); at += piece)
    EXPECT_TRUE(c.append_constant(text.substr(at, piece)));
  return c;
}

TEST_F(cursor_test, reads_integers_in_both_orders_across_every_border) {
  static constexpr std::string_view raw = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
  for (std::size_t piece = 1; piece <= raw.size(); ++piece) {
    const chain c = in_pieces(raw, piece);
    cursor at{c};
    EXPECT_EQ(at.read<std::uint8_t>(), 0x01);
    EXPECT_EQ(at.read<std::uint16_t>(), 0x0203);
    const cursor mark = at;
    EXPECT_EQ(at.read<std::uint32_t>(), 0x04050607u);
    EXPECT_EQ(at.read<std::uint64_t>(), 0x08090a0b0c0d0e0full);
    EXPECT_EQ(at.read<std::uint8_t>(), std::nullopt);
    EXPECT_EQ(at.left(), 0u);
    EXPECT_TRUE(at.piece().empty());
    at = mark;
    EXPECT_EQ(at.read<std::uint32_t>(std::endian::little), 0x07060504u);
    EXPECT_EQ(at.position(), 7u);
    EXPECT_EQ(at.read<std::uint64_t>(std::endian::little), 0x0f0e0d0c0b0a0908ull);
  }
}

TEST_F(cursor_test, finds_crlf_wherever_the_border_lies) {
  for (std::size_t before = 0; before != 40; ++before)
    for (std::size_t piece = 1; piece != 20; ++piece) {
      const std::string text = std::string(before, '\r') + "\r\n" + std::string(20, 'x');
      const chain c = in_pieces(text, piece);
      ASSERT_EQ(cursor{c}.find_crlf(), before);
      const std::string none = std::string(before, '\n') + std::string(before, '\r');
      const chain without = in_pieces(none, piece);
      ASSERT_EQ(cursor{without}.find_crlf(), std::nullopt);
    }
}

TEST_F(cursor_test, of_an_empty_chain_is_at_its_end) {
  const chain none;
  cursor at{none};
  EXPECT_EQ(at.left(), 0u);
  EXPECT_EQ(at.skip(5), 0u);
  EXPECT_EQ(at.find(std::byte{'x'}), std::nullopt);
  EXPECT_EQ(at.find_crlf(), std::nullopt);
  EXPECT_EQ(at.read<std::uint8_t>(), std::nullopt);
}

}  // namespace
}  // namespace catenet::test
