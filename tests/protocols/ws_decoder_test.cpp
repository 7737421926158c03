// The decoder against rows 77–97 of bad-input.md, whole, byte by byte and cut at every offset.
#include <catenet/ws/decoder.hpp>

#include "ws_frames.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

using namespace std::string_literals;
using events = std::vector<std::string>;

constexpr unsigned text = 0x81, text_begin = 0x01, binary = 0x82, binary_begin = 0x02, more = 0x00,
                   last = 0x80;
constexpr unsigned close_ = 0x88, ping = 0x89, pong = 0x8a;

struct row {
  std::string name;  ///< row of bad-input.md, and what it is
  std::string input;
  events said;
};
void PrintTo(const row& r, std::ostream* out) { *out << r.name; }

class rows : public slab_test, public ::testing::WithParamInterface<row> {};

// A good message behind each row: it must be told when the row is accepted, and must not be when the
// connection ends.
TEST_P(rows, is_told_the_same_however_it_is_cut) {
  const row& r = GetParam();
  events expected = r.said;
  const bool ends =
      !expected.empty() && (expected.back().starts_with("fail") || expected.back().starts_with("close"));
  if (!ends) expected.push_back("text still in step");
  EXPECT_EQ(decode_every_way(r.input + frame(text, "still in step")), expected);
}

std::string name_of(const ::testing::TestParamInfo<row>& info) {
  std::string name = "row_" + info.param.name;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}
#define ROWS(group, ...) INSTANTIATE_TEST_SUITE_P(group, rows, ::testing::Values(__VA_ARGS__), name_of)

const events violation = {"fail 1002"};
const events not_utf8 = {"fail 1007"};

ROWS(good, row{"0_text", frame(text, "Hello"), {"text Hello"}},
     row{"0_empty_text", frame(text, ""), {"text "}},
     row{"0_binary", frame(binary, "\0\xff\x80"s), {"binary \0\xff\x80"s}},
     row{"0_length_126", frame(text, std::string(126, 'a')), {"text " + std::string(126, 'a')}},
     row{"0_length_65535", frame(text, std::string(65535, 'b')), {"text " + std::string(65535, 'b')}},
     row{"0_length_65536",
         frame(binary, std::string(65536, '\xfe')),
         {"binary " + std::string(65536, '\xfe')}},
     row{"0_three_fragments",
         frame(text_begin, "one ") + frame(more, "two ") + frame(last, "three"),
         {"text one two three"}},
     row{"0_fragments_of_many_sizes",
         frame(binary_begin, std::string(5000, 'x')) + frame(more, "y") + frame(more, std::string(700, 'z')) +
             frame(last, ""),
         {"binary " + std::string(5000, 'x') + "y" + std::string(700, 'z')}},
     row{"0_ping", frame(ping, "are you there"), {"ping are you there"}},
     row{"0_ping_125", frame(ping, std::string(125, 'p')), {"ping " + std::string(125, 'p')}},
     row{"0_two_messages", frame(text, "a") + frame(binary, "b"), {"text a", "binary b"}});

ROWS(masking, row{"77_unmasked_text", raw_frame{text, "Hello", false}.bytes(), violation},
     row{"77_unmasked_ping", raw_frame{ping, "", false}.bytes(), violation},
     row{"77_unmasked_fragment", frame(text_begin, "a") + raw_frame{last, "b", false}.bytes(), violation});

ROWS(reserved, row{"78_rsv1", frame(0xc1, "a"), violation}, row{"78_rsv2", frame(0xa1, "a"), violation},
     row{"78_rsv3", frame(0x91, "a"), violation}, row{"78_all", frame(0xf2, "a"), violation},
     row{"78_rsv2_on_ping", frame(0xa9, "a"), violation},
     row{"78_rsv3_on_continuation", frame(text_begin, "a") + frame(0x90, "b"), violation},
     row{"97_rsv1_on_ping", frame(0xc9, "a"), violation}, row{"97_rsv1_on_close", frame(0xc8, ""), violation},
     row{"97_rsv1_on_continuation", frame(text_begin, "a") + frame(0xc0, "b"), violation});

class opcodes : public slab_test, public ::testing::WithParamInterface<unsigned> {};
TEST_P(opcodes, row_79_is_refused) {
  EXPECT_EQ(decode_every_way(frame(0x80 | GetParam(), "a") + frame(text, "b")), violation);
  EXPECT_EQ(decode_every_way(frame(GetParam(), "a")), violation);
  EXPECT_EQ(decode_every_way(frame(text_begin, "a") + frame(0x80 | GetParam(), "b")), violation);
}
INSTANTIATE_TEST_SUITE_P(unknown, opcodes, ::testing::Values(3u, 4u, 5u, 6u, 7u, 11u, 12u, 13u, 14u, 15u));

ROWS(control, row{"80_ping_126", frame(ping, std::string(126, 'p')), violation},
     row{"80_pong_126", frame(pong, std::string(126, 'p')), violation},
     row{"80_close_126", frame(close_, close_body(1000, std::string(124, 'r'))), violation},
     row{"80_ping_65536", frame(ping, std::string(65536, 'p')), violation},
     row{"80_fragmented_ping", frame(0x09, "a"), violation},
     row{"80_fragmented_pong", frame(0x0a, "a"), violation},
     row{"80_fragmented_close", frame(0x08, close_body(1000)), violation},
     row{"80_125_in_long_form", raw_frame{ping, std::string(125, 'p'), true, 2}.bytes(), violation},
     row{"94_unasked_pong", frame(pong, "nobody asked"), {"pong nobody asked"}},
     row{"94_empty_pong", frame(pong, ""), {"pong "}});

ROWS(length, row{"81_0_in_2_bytes", raw_frame{text, "", true, 2}.bytes(), violation},
     row{"81_125_in_2_bytes", raw_frame{text, std::string(125, 'a'), true, 2}.bytes(), violation},
     row{"81_125_in_8_bytes", raw_frame{text, std::string(125, 'a'), true, 8}.bytes(), violation},
     row{"81_126_in_8_bytes", raw_frame{text, std::string(126, 'a'), true, 8}.bytes(), violation},
     row{"81_65535_in_8_bytes", raw_frame{text, std::string(65535, 'a'), true, 8}.bytes(), violation},
     row{"81_top_bit", header(text, std::uint64_t{1} << 63), violation},
     row{"81_all_bits", header(text, ~std::uint64_t{0}), violation},
     row{"82_largest_length", header(binary, ~std::uint64_t{0} >> 1), {"fail 1009"}},
     row{"82_one_too_many", header(binary, (1u << 20) + 1), {"fail 1009"}},
     row{"82_sum_of_fragments_wraps",
         frame(binary_begin, "abc") + header(more, ~std::uint64_t{0} >> 1),
         {"fail 1009"}},
     row{"82_sum_of_fragments_too_big",
         frame(binary_begin, std::string(1000, 'a')) + header(last, (1u << 20) - 999),
         {"fail 1009"}});

ROWS(fragments, row{"83_continuation_without_start", frame(last, "a"), violation},
     row{"83_open_continuation_without_start", frame(more, "a"), violation},
     row{"83_continuation_after_the_end", frame(text, "a") + frame(last, "b"), {"text a", "fail 1002"}},
     row{"83_text_inside_a_message", frame(text_begin, "a") + frame(text, "b"), violation},
     row{"83_binary_inside_a_message", frame(text_begin, "a") + frame(binary_begin, "b"), violation},
     row{"84_ping_between_fragments",
         frame(text_begin, "a") + frame(ping, "p") + frame(last, "b"),
         {"ping p", "text ab"}},
     row{"84_many_controls_between_fragments",
         frame(text_begin, "a") + frame(ping, "1") + frame(pong, "2") + frame(more, "b") + frame(ping, "") +
             frame(last, "c"),
         {"ping 1", "pong 2", "ping ", "text abc"}},
     row{"84_close_between_fragments",
         frame(text_begin, "a") + frame(close_, close_body(1000)),
         {"close 1000"}},
     row{"95_as_many_empty_fragments_as_allowed",
         frame(text_begin, "") +
             [] {
               std::string s;
               for (int i = 0; i != 63; ++i) s += frame(more, "");
               return s;
             }() +
             frame(last, "a"),
         {"text a"}},
     row{"95_too_many_empty_fragments",
         frame(text_begin, "") +
             [] {
               std::string s;
               for (int i = 0; i != 64; ++i) s += frame(more, "");
               return s;
             }(),
         {"fail 1008"}});

ROWS(utf8, row{"85_overlong_2", frame(text, "\xc0\xaf"), not_utf8},
     row{"85_overlong_3", frame(text, "\xe0\x80\xaf"), not_utf8},
     row{"85_overlong_4", frame(text, "\xf0\x80\x80\xaf"), not_utf8},
     row{"85_surrogate", frame(text, "a\xed\xa0\x80"), not_utf8},
     row{"85_surrogate_pair", frame(text, "\xed\xa0\x80\xed\xb0\x80"), not_utf8},
     row{"85_above_10ffff", frame(text, "\xf4\x90\x80\x80"), not_utf8},
     row{"85_f5", frame(text, "\xf5"), not_utf8}, row{"85_lone_continuation", frame(text, "\x80"), not_utf8},
     row{"85_fe", frame(text, "abc\xfe"), not_utf8},
     row{"85_in_a_long_frame", frame(text, std::string(3000, 'a') + '\xff' + std::string(3000, 'a')),
         not_utf8},
     row{"85_in_a_fragment", frame(text_begin, "ok") + frame(more, "\xc3\x28"), not_utf8},
     row{"85_binary_is_not_checked", frame(binary, "\xff\xfe\xc0"), {"binary \xff\xfe\xc0"}},
     row{"86_cut_by_fragments",
         frame(text_begin, "\xce") + frame(more, "\xba\xe1\xbd") + frame(last, "\xb9"),
         {"text \xce\xba\xe1\xbd\xb9"}},
     row{"86_cut_by_fragments_of_one_byte",
         frame(text_begin, "\xf0") + frame(more, "\x9f") + frame(more, "\x98") + frame(last, "\x80"),
         {"text \xf0\x9f\x98\x80"}},
     row{"86_short_at_the_end", frame(text, "abc\xe2\x82"), not_utf8},
     row{"86_short_at_the_end_of_fragments", frame(text_begin, "\xe2") + frame(last, "\x82"), not_utf8},
     row{"86_short_with_an_empty_end", frame(text_begin, "\xe2\x82") + frame(last, ""), not_utf8},
     row{"86_goes_on_in_the_next_message", frame(text, "\xe2") + frame(text, "\x82\xac"), not_utf8});

ROWS(close, row{"87_one_byte", frame(close_, "\x03"), violation},
     row{"89_empty", frame(close_, ""), {"close 1005"}},
     row{"89_code_and_reason", frame(close_, close_body(1000, "bye")), {"close 1000 bye"}},
     row{"89_longest_reason",
         frame(close_, close_body(1000, std::string(123, 'r'))),
         {"close 1000 " + std::string(123, 'r')}},
     row{"90_reason_not_utf8", frame(close_, close_body(1000, "\xff")), not_utf8},
     row{"90_reason_cut_short", frame(close_, close_body(1000, "ab\xe2\x82")), not_utf8},
     row{"91_data_after_close",
         frame(close_, close_body(1000)) + frame(text, "a") + frame(ping, "b"),
         {"close 1000"}},
     row{"91_garbage_after_close", frame(close_, close_body(1001)) + "\xff\xff\xff garbage"s, {"close 1001"}},
     row{"91_data_after_a_violation", frame(0x83, "") + frame(text, "a") + frame(close_, ""), violation});

class close_codes : public slab_test {};

TEST_F(close_codes, row_88_and_89_every_code) {
  for (unsigned code = 0; code != 65536; ++code) {
    const bool good =
        (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
    const events expected = {good ? "close " + std::to_string(code) : "fail 1002"};
    ASSERT_EQ(decode(frame(close_, close_body(code)), {}), expected) << code;
  }
}

class limits : public slab_test {};

TEST_F(limits, row_82_allocate_nothing_for_what_is_only_announced) {
  decoder_limits generous;
  generous.message_bytes_max = ~std::uint64_t{0} >> 1;
  decoder d{generous};
  chain in = chain::copy_of(header(binary, ~std::uint64_t{0} >> 1) + "a");
  EXPECT_EQ(d.next(in).what, event::kind::need_more);
  EXPECT_EQ(d.held_bytes(), 1u);
  std::uint64_t rented = 0;
  for (const class_statistics& c : depot_.statistics().classes) rented += c.rented * c.size;
  EXPECT_LE(rented, 512u);
}

TEST_F(limits, the_largest_message_is_told_and_one_byte_more_is_not) {
  decoder_limits small;
  small.message_bytes_max = 10;
  const decoding how{.limits = &small};
  EXPECT_EQ(decode_every_way(frame(text, "0123456789"), how), events{"text 0123456789"});
  EXPECT_EQ(decode_every_way(frame(text_begin, "01234") + frame(last, "56789"), how),
            events{"text 0123456789"});
  EXPECT_EQ(decode_every_way(frame(text, "0123456789a"), how), events{"fail 1009"});
  EXPECT_EQ(decode_every_way(frame(text_begin, "01234") + frame(last, "56789a"), how), events{"fail 1009"});
}

TEST_F(limits, fragments_are_counted) {
  decoder_limits few;
  few.fragments_max = 3;
  const decoding how{.limits = &few};
  const std::string three = frame(text_begin, "a") + frame(more, "b") + frame(last, "c");
  EXPECT_EQ(decode_every_way(three + three, how), (events{"text abc", "text abc"}));
  EXPECT_EQ(
      decode_every_way(frame(text_begin, "a") + frame(more, "b") + frame(more, "c") + frame(last, "d"), how),
      events{"fail 1008"});
}

TEST_F(limits, a_million_fragments_of_one_byte_hold_few_blocks) {
  std::string input = frame(binary_begin, "x");
  for (int i = 1; i != 999'999; ++i) input += frame(more, "x");
  static const decoder_limits defaults;
  decoder d{defaults};
  chain in;
  for (std::string_view left = input; !left.empty();
       left.remove_prefix(std::min<std::size_t>(4096, left.size()))) {
    in.append(chain::copy_of(left.substr(0, 4096)));
    ASSERT_EQ(d.next(in).what, event::kind::need_more);
  }
  EXPECT_EQ(d.held_bytes(), 999'999u);
  in.clear();
  std::uint64_t rented = 0;
  for (const class_statistics& c : depot_.statistics().classes) rented += c.rented * c.size;
  EXPECT_LE(rented, 999'999u * 5 / 4);
  in = chain::copy_of(frame(last, "y"));
  const event e = d.next(in);
  EXPECT_EQ(e.what, event::kind::message);
  EXPECT_EQ(e.bytes.to_string(), std::string(999'999, 'x') + "y");
  EXPECT_LE(e.bytes.segment_count(), 100u);
}

class parts : public slab_test {};

TEST_F(parts, are_told_as_they_come) {
  decoder_limits streaming;
  streaming.whole_messages = false;
  const decoding how{.limits = &streaming};
  const std::string input =
      frame(text_begin, "abc") + frame(ping, "p") + frame(more, "") + frame(last, "def");
  EXPECT_EQ(decode(input, {}, how), (events{"text< abc", "ping p", "text> def"}));
  EXPECT_EQ(decode(input, {7, 1, 1}, how), (events{"text< a", "text b", "text c", "ping p", "text> def"}));
  EXPECT_EQ(decode(frame(binary, "whole"), {}, how), events{"binary<> whole"});
  EXPECT_EQ(decode(frame(binary_begin, "a") + frame(last, ""), {}, how), (events{"binary< a", "binary> "}));
  EXPECT_EQ(decode(frame(text, "good \xff bad"), {8}, how), (events{"text< go", "fail 1007"}));
}

class payload : public slab_test {};

TEST_F(payload, is_unmasked_where_it_lies) {
  static const decoder_limits defaults;
  decoder d{defaults};
  chain in = chain::copy_of(frame(binary, std::string(2000, 'a')));
  const std::byte* const where = in.front().data() + 8;
  const event e = d.next(in);
  ASSERT_EQ(e.what, event::kind::message);
  EXPECT_EQ(e.bytes.front().data(), where);
  EXPECT_TRUE(d.idle());
}

class client : public slab_test {};

TEST_F(client, takes_unmasked_frames_only) {
  const decoding how{.self = role::client};
  EXPECT_EQ(decode_every_way(raw_frame{text, "Hello", false}.bytes(), how), events{"text Hello"});
  EXPECT_EQ(decode_every_way(raw_frame{ping, "", false}.bytes(), how), events{"ping "});
  EXPECT_EQ(decode_every_way(frame(text, "Hello"), how), violation);
}

}  // namespace
}  // namespace catenet::ws::testing
