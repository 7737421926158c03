// The frame codec against a plain model: whatever way a stream is cut into pieces, the same payloads come
// out, and no byte of a block is lost or leaked.
#include <catenet/frame/decoder.hpp>

#include "bus_slab.hpp"
#include "frame_formats.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace catenet;

// A plain spelling of each format, written apart from the library's.
std::string model_frame(const frame::format& how, const std::string& payload) {
  const auto n = payload.size();
  const std::string u32{static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
                        static_cast<char>(n)};
  if (how.name == "length_u32") return u32 + payload;
  if (how.name == "magic_u32") return "\xAB\x43\xC1\x46" + u32 + payload;
  std::string head;
  std::uint64_t left = n;
  do {
    head += static_cast<char>((left & 127) + (left > 127 ? 128 : 0));
    left /= 128;
  } while (left != 0);
  return head + payload;
}

std::string random_text(std::mt19937& random, std::size_t length) {
  std::string text(length, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

class frame_formats : public testing::TestWithParam<const frame::format*> {};

TEST_P(frame_formats, any_cut_gives_the_same_frames) {
  bus_slab memory;
  const frame::format& how = *GetParam();
  for (unsigned seed = 0; seed != 60; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::string> sent;
    std::string wire;
    for (int i = 0; i != 40; ++i) {
      const std::size_t limit = std::array{0, 1, 130, 600, 20'000}[random() % 5];
      sent.push_back(random_text(random, limit == 0 ? 0 : random() % limit));
      wire += model_frame(how, sent.back());
    }
    frame::decoder decoder{how};
    std::vector<std::string> got;
    const std::size_t cut_max = std::array{1, 7, 300, 5000, 70'000}[seed % 5];
    for (std::size_t at = 0; at != wire.size();) {
      const std::size_t piece = std::min<std::size_t>(1 + random() % cut_max, wire.size() - at);
      decoder.feed(chain::copy_of(std::string_view{wire}.substr(at, piece)));
      at += piece;
      chain payload;
      frame::status said;
      while ((said = decoder.next(payload)) == frame::status::frame) {
        ASSERT_EQ(payload.validate(), nullptr);
        got.push_back(payload.to_string());
      }
      ASSERT_EQ(said, frame::status::more);
      ASSERT_LE(decoder.missing(), wire.size() - at);
    }
    EXPECT_EQ(got, sent) << "seed " << seed;
    EXPECT_EQ(decoder.buffered(), 0u);
  }
}

TEST_P(frame_formats, encode_writes_what_the_model_writes) {
  bus_slab memory;
  const frame::format& how = *GetParam();
  std::mt19937 random(7);
  chain out;
  std::string wanted;
  for (const std::size_t length : {0, 1, 127, 128, 511, 512, 513, 16'383, 16'384, 70'000}) {
    const std::string payload = random_text(random, length);
    ASSERT_TRUE(frame::encode(how, chain::copy_of(payload), out));
    wanted += model_frame(how, payload);
  }
  EXPECT_EQ(out.validate(), nullptr);
  EXPECT_EQ(out.to_string(), wanted);
}

TEST_P(frame_formats, a_payload_at_the_limit_passes_and_one_beyond_is_refused_by_its_header_alone) {
  bus_slab memory;
  const frame::format& how = *GetParam();
  for (const std::size_t beyond : {0u, 1u}) {
    frame::decoder decoder{how, {.payload_bytes_max = 1000}};
    const std::string wire = model_frame(how, std::string(1000 + beyond, 'x'));
    decoder.feed(chain::copy_of(std::string_view{wire}.substr(0, how.header_bytes_max)));
    chain payload;
    if (beyond == 0) {
      EXPECT_EQ(decoder.next(payload), frame::status::more);
      EXPECT_EQ(decoder.missing(), wire.size() - how.header_bytes_max);
    } else {
      EXPECT_EQ(decoder.next(payload), frame::status::too_long);
      decoder.feed(chain::copy_of("abc"));
      EXPECT_EQ(decoder.next(payload), frame::status::too_long) << "a fatal end stays one";
    }
  }
}

TEST_P(frame_formats, a_long_payload_is_not_copied) {
  bus_slab memory;
  const frame::format& how = *GetParam();
  const std::string wire = model_frame(how, std::string(50'000, 'y'));
  chain bytes = chain::copy_of(wire);
  const std::byte* first = bytes.front().data();
  frame::decoder decoder{how};
  decoder.feed(std::move(bytes));
  chain payload;
  ASSERT_EQ(decoder.next(payload), frame::status::frame);
  EXPECT_EQ(payload.front().data(), first + (wire.size() - 50'000));
}

INSTANTIATE_TEST_SUITE_P(all, frame_formats,
                         testing::Values(&frame::length_u32, &frame::magic_u32, &frame::varint),
                         [](const auto& of) { return std::string{of.param->name}; });

std::optional<frame::status> first_status(const frame::format& how, std::string_view wire) {
  frame::decoder decoder{how};
  if (!wire.empty()) decoder.feed(chain::copy_of(wire));
  chain payload;
  return decoder.next(payload);
}

TEST(frame_decoder, a_wrong_magic_is_told_by_its_first_wrong_byte) {
  bus_slab memory;
  EXPECT_EQ(first_status(frame::magic_u32, ""), frame::status::more);
  EXPECT_EQ(first_status(frame::magic_u32, "\xAB\x43"), frame::status::more);
  EXPECT_EQ(first_status(frame::magic_u32, "\xAB\x44"), frame::status::bad_magic);
  EXPECT_EQ(first_status(frame::magic_u32, "x"), frame::status::bad_magic);
  EXPECT_EQ(first_status(frame::magic_u32, std::string_view{"\xAB\x43\xC1\x47\0\0\0\1z", 9}),
            frame::status::bad_magic);
}

TEST(frame_decoder, varints_have_one_spelling) {
  bus_slab memory;
  EXPECT_EQ(first_status(frame::varint, std::string_view{"\0", 1}), frame::status::frame);
  EXPECT_EQ(first_status(frame::varint, std::string_view{"\x80\0", 2}), frame::status::bad_length);
  EXPECT_EQ(first_status(frame::varint, "\x80\x80"), frame::status::more);
  EXPECT_EQ(first_status(frame::varint, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), frame::status::too_long);
  EXPECT_EQ(first_status(frame::varint, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
            frame::status::bad_length);
  EXPECT_EQ(first_status(frame::varint, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81"),
            frame::status::bad_length);
}

TEST(frame_decoder, a_drip_of_single_bytes_pins_few_blocks) {
  bus_slab memory;
  frame::decoder decoder{frame::length_u32};
  const std::string wire = model_frame(frame::length_u32, std::string(2000, 'd'));
  chain payload;
  for (const char c : wire.substr(0, wire.size() - 1)) {
    lease large = lease::of(4_KiB);  // as a receive would: a large block for one byte
    large.bytes()[0] = static_cast<std::byte>(c);
    decoder.feed(chain{std::move(large), 0, 1});
    ASSERT_EQ(decoder.next(payload), frame::status::more);
  }
  EXPECT_LE(memory.rented(), 6u);
}

TEST(frame_decoder, encode_refuses_what_the_header_cannot_tell) {
  bus_slab memory;
  static constexpr frame::format tiny{"tiny", 4, 10, frame::length_u32.parse, frame::length_u32.write};
  chain payload = chain::copy_of("0123456789a");
  chain out;
  EXPECT_FALSE(frame::encode(tiny, std::move(payload), out));
  EXPECT_EQ(payload.to_string(), "0123456789a");
  EXPECT_TRUE(out.empty());
}

}  // namespace
