// permessage-deflate against rows 97–101 of bad-input.md, with zlib itself as the peer.
#include <catenet/ws/deflate.hpp>
#include <catenet/ws/encoder.hpp>

#include "ws_frames.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

using namespace std::string_literals;
using events = std::vector<std::string>;

// A peer's compressor, straight upon zlib.
class zlib_peer {
 public:
  explicit zlib_peer(int bits = 15, int memory_level = 8) {
    deflateInit2(&z_, 9, Z_DEFLATED, -bits, memory_level, Z_DEFAULT_STRATEGY);
  }
  ~zlib_peer() { deflateEnd(&z_); }
  zlib_peer(const zlib_peer&) = delete;
  zlib_peer& operator=(const zlib_peer&) = delete;

  std::string compress(std::string text, int flush = Z_SYNC_FLUSH) {
    std::string out(deflateBound(&z_, text.size()) + 64, '\0');
    z_.next_in = reinterpret_cast<Bytef*>(text.data());
    z_.avail_in = static_cast<uInt>(text.size());
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = static_cast<uInt>(out.size());
    deflate(&z_, flush);
    out.resize(out.size() - z_.avail_out);
    if (flush == Z_FINISH) return out + '\0';  // RFC 7692 §7.2.3.4
    EXPECT_TRUE(out.ends_with("\0\0\xff\xff"s));
    return out.substr(0, out.size() - 4);
  }

 private:
  z_stream z_{};
};

std::string words(std::size_t bytes) {
  std::mt19937 random(static_cast<unsigned>(bytes));
  std::string out;
  while (out.size() < bytes)
    out += (random() % 3 == 0 ? "catenet " : "chain ") + std::to_string(random() % 100) + " ";
  return out.substr(0, bytes);
}

std::string noise(std::size_t bytes) {
  std::mt19937 random(1);
  std::string out(bytes, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

class ws_deflate : public slab_test {
 protected:
  events decode_deflated(std::string_view input, bool takeover = false,
                         const decoder_limits* limits = nullptr) {
    return decode_every_way(input, {.limits = limits, .shelf = &shelf_, .takeover = takeover});
  }
  deflate_shelf shelf_;
};

constexpr unsigned text = 0xc1, binary = 0xc2, text_begin = 0x41, binary_begin = 0x42, last = 0x80;

TEST_F(ws_deflate, the_examples_of_the_rfc) {
  EXPECT_EQ(decode_deflated(frame(text, "\xf2\x48\xcd\xc9\xc9\x07\x00"s)), events{"text Hello"});
  EXPECT_EQ(decode_deflated(frame(text_begin, "\xf2\x48\xcd"s) + frame(last, "\xc9\xc9\x07\x00"s)),
            events{"text Hello"});
  const std::string twice =
      frame(text, "\xf2\x48\xcd\xc9\xc9\x07\x00"s) + frame(text, "\xf2\x00\x11\x00\x00"s);
  EXPECT_EQ(decode_deflated(twice, true), (events{"text Hello", "text Hello"}));
  EXPECT_EQ(decode_deflated(frame(text, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"s)),
            events{"text Hello"});
  EXPECT_EQ(decode_deflated(frame(text, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"s)),
            events{"text Hello"});
}

TEST_F(ws_deflate, row_101_a_final_block_is_accepted) {
  EXPECT_EQ(decode_deflated(frame(text, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s)), events{"text Hello"});
  zlib_peer a;
  const std::string first = words(3000);
  const std::string input =
      frame(text, a.compress(first, Z_FINISH)) + frame(text, zlib_peer{}.compress("again"));
  EXPECT_EQ(decode_deflated(input, true), (events{"text " + first, "text again"}));
}

// Each empty final block took a copy of the whole window once, two bytes of input for 64 KiB of copying.
TEST_F(ws_deflate, final_blocks_cost_no_more_behind_a_full_window) {
  const std::string full = noise(32'768);
  std::string blocks;
  for (int i = 0; i != 50'000; ++i) blocks += "\x03\x00"s;
  blocks += '\0';
  const auto cpu_ns = [this](const std::string& body, const std::string& wanted) {
    const auto now_ns = [] {
      timespec t{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
      return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
    };
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (int round = 0; round != 3; ++round) {
      const auto reader = shelf_.take_inflater();
      chain out;
      const chain in = chain::copy_of(body);
      const std::int64_t begin_ns = now_ns();
      EXPECT_EQ(reader->feed(in, true, 1 << 20, out), inflater::result::good);
      least = std::min(least, now_ns() - begin_ns);
      EXPECT_EQ(out.to_string(), wanted);
    }
    return least;
  };
  const std::int64_t empty_ns = cpu_ns(blocks, "");
  EXPECT_LT(cpu_ns(zlib_peer{}.compress(full, Z_FULL_FLUSH) + "\0\0\xff\xff"s + blocks, full),
            2 * empty_ns + 10'000'000);
}

TEST_F(ws_deflate, compressed_and_plain_messages_mix) {
  zlib_peer peer;
  const std::string long_text = words(200'000);
  const std::string input = frame(text, peer.compress(long_text)) + frame(0x81, "plain") +
                            frame(0x89, "ping") + frame(text, zlib_peer{}.compress("short")) +
                            frame(text, "\x00"s) + frame(text, "") +
                            frame(binary, zlib_peer{9}.compress(long_text));
  EXPECT_EQ(decode(input, {}, {.shelf = &shelf_}),
            (events{"text " + long_text, "text plain", "ping ping", "text short", "text ", "text ",
                    "binary " + long_text}));
}

TEST_F(ws_deflate, row_97_rsv1_where_it_may_not_stand) {
  EXPECT_EQ(decode_deflated(frame(0xc9, "ping")), events{"fail 1002"});
  EXPECT_EQ(decode_deflated(frame(text_begin, "\xf2\x48\xcd"s) + frame(0xc0, "\xc9\xc9\x07\x00"s)),
            events{"fail 1002"});
  EXPECT_EQ(decode_deflated(frame(0xe1, "a")), events{"fail 1002"});
}

TEST_F(ws_deflate, row_98_broken_data) {
  EXPECT_EQ(decode_deflated(frame(text, "\xff\xff\xff\xff")), events{"fail 1007"});
  EXPECT_EQ(decode_deflated(frame(text, "\x07")), events{"fail 1007"});               // block type 3
  EXPECT_EQ(decode_deflated(frame(text, "\xf2\x48\xcd\xc9"s)), events{"fail 1007"});  // cut short
  EXPECT_EQ(decode_deflated(frame(text, "\xf2\x00\x11\x00\x00"s)),
            events{"fail 1007"});  // refers to what is not there
  EXPECT_EQ(decode_deflated(frame(text, zlib_peer{}.compress("\xff not UTF-8"))), events{"fail 1007"});
}

TEST_F(ws_deflate, row_98_data_that_expands_without_end) {
  zlib_peer peer;
  const std::string bomb = peer.compress(std::string(50'000'000, '\0'));
  decoder_limits small;
  small.message_bytes_max = 100'000;
  EXPECT_LT(bomb.size(), 100'000u);
  EXPECT_EQ(decode(frame(binary, bomb), {}, {.limits = &small, .shelf = &shelf_}), events{"fail 1009"});
  const std::string exact = zlib_peer{}.compress(std::string(100'000, 'x')),
                    over = zlib_peer{}.compress(std::string(100'001, 'x'));
  EXPECT_EQ(decode_deflated(frame(text, exact), false, &small), events{"text " + std::string(100'000, 'x')});
  EXPECT_EQ(decode_deflated(frame(text, over), false, &small), events{"fail 1009"});
}

// A peer's zlib with little memory makes them larger by up to 4 %, and each flush by some 10 bytes.
TEST_F(ws_deflate, incompressible_messages_of_the_largest_size_fit) {
  decoder_limits limits;
  limits.message_bytes_max = 200'000;
  const std::string message = noise(limits.message_bytes_max);
  for (const int memory_level : {1, 2, 5, 8}) {
    for (const int bits : {9, 15}) {
      SCOPED_TRACE("memLevel " + std::to_string(memory_level) + ", window " + std::to_string(bits));
      const decoding how{.limits = &limits, .shelf = &shelf_};
      EXPECT_TRUE(decode(frame(binary, zlib_peer{bits, memory_level}.compress(message)), {}, how) ==
                  events{"binary " + message});
      zlib_peer peer{bits, memory_level};
      std::string input;
      constexpr std::size_t piece = 100;
      for (std::size_t at = 0; at < message.size(); at += piece) {
        const bool ends = at + piece >= message.size();
        const unsigned first = at == 0 ? binary_begin : ends ? last : 0;
        input += frame(first, peer.compress(message.substr(at, piece)) + (ends ? ""s : "\0\0\xff\xff"s));
      }
      EXPECT_TRUE(decode(input, {}, how) == events{"binary " + message}) << "in fragments";
    }
  }
}

// What becomes of it does not bound these: they become nothing.
TEST_F(ws_deflate, row_98_data_that_becomes_nothing_ends_all_the_same) {
  decoder_limits limits;
  limits.message_bytes_max = 1000;
  limits.fragments_max = 1000;
  const auto sent = [&](std::size_t blocks_a_fragment) {
    std::string blocks;
    for (std::size_t i = 0; i != blocks_a_fragment; ++i) blocks += "\0\0\0\xff\xff"s;
    std::string input = frame(binary_begin, blocks);
    for (int i = 0; i != 2000; ++i) input += frame(0, blocks);
    return decode(input, {}, {.limits = &limits, .shelf = &shelf_});
  };
  EXPECT_EQ(sent(3), events{"fail 1008"});
  EXPECT_EQ(sent(4), events{"fail 1009"});
  EXPECT_EQ(sent(400), events{"fail 1009"});
  limits.message_bytes_max = std::numeric_limits<std::uint64_t>::max();  // no limit: all but fragments
  EXPECT_EQ(sent(400), events{"fail 1008"});
}

TEST_F(ws_deflate, a_parked_context_goes_on_where_it_was) {
  zlib_peer peer;
  static const decoder_limits limits;
  decoder d{limits};
  d.use_deflate(shelf_, true);
  for (int i = 0; i != 20; ++i) {
    const std::string message = words(300 + 3000 * (i % 5));
    chain in = chain::copy_of(frame(text, peer.compress(message)));
    const event e = d.next(in);
    ASSERT_EQ(e.what, event::kind::message);
    ASSERT_EQ(e.bytes.to_string(), message);
    EXPECT_FALSE(d.idle());
    if (i % 3 == 0) d.park();
  }
}

TEST_F(ws_deflate, what_we_compress_zlib_and_we_can_read) {
  for (const std::uint8_t bits : {std::uint8_t{9}, std::uint8_t{12}, std::uint8_t{15}}) {
    for (const bool takeover : {false, true}) {
      const auto d = shelf_.take_deflater(bits, 6);
      std::string input;
      events expected;
      for (std::size_t size : {1u, 30u, 300u, 5000u, 300'000u, 10u}) {
        const std::string message = words(size);
        chain body;  // in several segments
        for (std::size_t at = 0; at < size; at += 7000) body.append(chain::copy_of(message.substr(at, 7000)));
        chain small = d->compress(body);
        ASSERT_FALSE(small.empty());
        if (size == 300'000) {
          EXPECT_LT(small.bytes(), size / 3);
        }
        input += raw_frame{text, small.to_string()}.bytes();
        expected.push_back("text " + message);
        if (!takeover) d->reset();
      }
      EXPECT_EQ(decode(input, {}, {.shelf = &shelf_, .takeover = takeover}), expected);
    }
  }
}

// ---- what is agreed

struct offer {
  std::string name;
  std::vector<std::string_view> values;
  std::string answer;  ///< "" none, "malformed"
  deflate_options options{};
};
void PrintTo(const offer& o, std::ostream* out) { *out << o.name; }
class ws_offers : public ::testing::TestWithParam<offer> {};

TEST_P(ws_offers, get_their_answer) {
  deflate_options options = GetParam().options;
  options.enabled = true;
  deflate_agreement agreed;
  const bool good = negotiate(GetParam().values, options, agreed);
  EXPECT_EQ(good ? agreed.agreed ? agreed.text() : "" : "malformed", GetParam().answer);
}

deflate_options takeover() {
  deflate_options o;
  o.server_context_takeover = o.client_context_takeover = true;
  return o;
}
deflate_options bits(std::uint8_t server, std::uint8_t client) {
  deflate_options o = takeover();
  o.server_window_bits = server;
  o.client_window_bits = client;
  return o;
}
const std::string none_taken_over =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

INSTANTIATE_TEST_SUITE_P(
    rows, ws_offers,
    ::testing::Values(
        offer{"plain", {"permessage-deflate"}, none_taken_over},
        offer{"plain_with_takeover", {"permessage-deflate"}, "permessage-deflate", takeover()},
        offer{"as_browsers_do", {"permessage-deflate; client_max_window_bits"}, none_taken_over},
        offer{"client_wants_no_takeover",
              {"permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
              none_taken_over,
              takeover()},
        offer{"no_offer", {}, ""}, offer{"another_extension", {"x-webkit-deflate-frame, foo; bar=1"}, ""},
        offer{"second_offer_taken", {"permessage-deflate; foo, permessage-deflate"}, none_taken_over},
        offer{"second_field_taken", {"foo", "permessage-deflate"}, none_taken_over},
        offer{"quoted_value",
              {"permessage-deflate; server_max_window_bits=\"10\""},
              "permessage-deflate; server_max_window_bits=10",
              takeover()},
        offer{"server_bits_10",
              {"permessage-deflate;server_max_window_bits=10"},
              "permessage-deflate; server_max_window_bits=10",
              takeover()},
        offer{"our_server_bits_are_fewer",
              {"permessage-deflate; server_max_window_bits=12"},
              "permessage-deflate; server_max_window_bits=9",
              bits(9, 15)},
        offer{"our_server_bits_unasked",
              {"permessage-deflate"},
              "permessage-deflate; server_max_window_bits=11",
              bits(11, 15)},
        offer{"client_bits_asked_back",
              {"permessage-deflate; client_max_window_bits"},
              "permessage-deflate; client_max_window_bits=10",
              bits(15, 10)},
        offer{"client_bits_fewer_than_ours",
              {"permessage-deflate; client_max_window_bits=9"},
              "permessage-deflate; client_max_window_bits=9",
              bits(15, 10)},
        offer{"our_bits_are_too_few",
              {"permessage-deflate; server_max_window_bits=12; client_max_window_bits"},
              "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
              bits(0, 8)},
        offer{"our_bits_are_too_many",
              {"permessage-deflate; client_max_window_bits"},
              "permessage-deflate",
              bits(16, 255)},
        offer{"row_100_client_bits_not_offered", {"permessage-deflate"}, "permessage-deflate", bits(15, 10)},
        offer{"row_99_unknown_parameter", {"permessage-deflate; foo"}, ""},
        offer{"row_99_repeated_parameter",
              {"permessage-deflate; client_max_window_bits; client_max_window_bits=10"},
              ""},
        offer{"row_99_repeated_flag",
              {"permessage-deflate; server_no_context_takeover; server_no_context_takeover"},
              ""},
        offer{"row_99_flag_with_a_value", {"permessage-deflate; server_no_context_takeover=1"}, ""},
        offer{"row_99_server_bits_without_a_value", {"permessage-deflate; server_max_window_bits"}, ""},
        offer{"row_99_bits_7", {"permessage-deflate; server_max_window_bits=7"}, ""},
        offer{"row_99_bits_16", {"permessage-deflate; client_max_window_bits=16"}, ""},
        offer{"row_99_bits_010", {"permessage-deflate; server_max_window_bits=010"}, ""},
        offer{"row_99_bits_of_words", {"permessage-deflate; server_max_window_bits=ten"}, ""},
        offer{"row_99_bits_19", {"permessage-deflate; server_max_window_bits=19"}, ""},
        offer{"row_101_server_bits_8", {"permessage-deflate; server_max_window_bits=8"}, ""},
        offer{"row_101_client_bits_8", {"permessage-deflate; client_max_window_bits=8"}, ""},
        offer{"empty_elements_among_others", {", ,permessage-deflate,, ", ""}, none_taken_over},
        offer{"malformed_empty", {""}, "malformed"},
        offer{"malformed_only_empty_elements", {" , ,"}, "malformed"},
        offer{"malformed_all_fields_empty", {"", ","}, "malformed"},
        offer{"malformed_no_parameter", {"permessage-deflate;"}, "malformed"},
        offer{"malformed_no_value", {"permessage-deflate; server_max_window_bits="}, "malformed"},
        offer{"malformed_quotes", {"permessage-deflate; server_max_window_bits=\"10"}, "malformed"},
        offer{"malformed_quoted_space", {"permessage-deflate; server_max_window_bits=\"1 0\""}, "malformed"},
        offer{"malformed_name", {"permessage deflate"}, "malformed"}),
    [](const ::testing::TestParamInfo<offer>& one) { return one.param.name; });

TEST(ws_offers_of_ours, are_checked_when_they_are_answered) {
  deflate_options options;
  options.enabled = true;
  EXPECT_EQ(
      offer_of(options),
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits");
  deflate_agreement agreed;
  EXPECT_EQ(accept_answer("", options, agreed), nullptr);
  EXPECT_FALSE(agreed.agreed);
  EXPECT_EQ(accept_answer("permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
                          options, agreed),
            nullptr);
  EXPECT_TRUE(agreed.agreed);
  EXPECT_FALSE(agreed.server_context_takeover);
  EXPECT_EQ(agreed.client_window_bits, 12);
  for (const char* bad : {"permessage-deflate",  // not what we asked for
                          "permessage-deflate; server_no_context_takeover; foo",
                          "permessage-deflate; server_no_context_takeover, foo",
                          "permessage-deflate; server_no_context_takeover; client_max_window_bits=8", "foo",
                          "permessage-deflate;"})
    EXPECT_NE(accept_answer(bad, options, agreed), nullptr) << bad;
}

// Bits that no window has are taken for the nearest that one has.
TEST(ws_offers_of_ours, ask_for_a_window_that_there_is) {
  deflate_options few = bits(3, 15), many = bits(200, 15);
  few.enabled = many.enabled = true;
  EXPECT_EQ(offer_of(few), "permessage-deflate; server_max_window_bits=9; client_max_window_bits");
  EXPECT_EQ(offer_of(many), "permessage-deflate; client_max_window_bits");
  deflate_agreement agreed;
  EXPECT_EQ(accept_answer("permessage-deflate; server_max_window_bits=9", few, agreed), nullptr);
  EXPECT_EQ(agreed.server_window_bits, 9);
  EXPECT_NE(accept_answer("permessage-deflate; server_max_window_bits=10", few, agreed), nullptr);
  EXPECT_EQ(accept_answer("permessage-deflate", many, agreed), nullptr);
  EXPECT_EQ(agreed.server_window_bits, 15);
}

}  // namespace
}  // namespace catenet::ws::testing
