// Frames that we write, read again by hand-written rules and by our own decoder; masks.
#include <catenet/ws/encoder.hpp>

#include "ws_frames.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

namespace catenet::ws::testing {
namespace {

using events = std::vector<std::string>;

class ws_encoder : public slab_test {};

TEST_F(ws_encoder, headers_have_the_shortest_form) {
  for (std::size_t size : {0u, 1u, 125u, 126u, 500u, 508u, 509u, 512u, 513u, 65535u, 65536u, 300'000u}) {
    const std::string payload(size, 'x');
    const std::string expected = raw_frame{0x82, payload, false}.bytes();
    EXPECT_EQ(encode(opcode::binary, payload).to_string(), expected) << size;
    EXPECT_EQ(encode(opcode::binary, chain::copy_of(payload)).to_string(), expected) << size;
  }
}

TEST_F(ws_encoder, a_small_frame_is_one_block_and_a_large_body_is_not_copied) {
  EXPECT_EQ(encode(opcode::text, chain::copy_of("small")).segment_count(), 1u);
  chain body = chain::copy_of(std::string(4000, 'b'));
  const std::byte* const where = body.front().data();
  const chain frame = encode(opcode::text, std::move(body));
  ASSERT_EQ(frame.segment_count(), 2u);
  EXPECT_EQ(frame.tail()->data, where);
}

TEST_F(ws_encoder, a_compressed_message_carries_rsv1) {
  EXPECT_EQ(encode(opcode::text, chain::copy_of("x"), true).to_string(), "\xc1\x01x");
}

TEST_F(ws_encoder, close_reasons_are_cut_between_code_points) {
  EXPECT_EQ(encode_close(close_code::no_status).to_string(), std::string("\x88\x00", 2));
  EXPECT_EQ(encode_close(close_code::normal, "bye").to_string(),
            "\x88\x05\x03\xe8"
            "bye");
  std::string reason = "a";
  while (reason.size() < 130) reason += "\xd0\x96";
  const std::string sent = encode_close(close_code::going_away, reason).to_string();
  EXPECT_EQ(sent.size(), 2u + 2 + 123);
  EXPECT_EQ(sent.substr(4), reason.substr(0, 123));
  reason.insert(0, "a");
  EXPECT_EQ(encode_close(close_code::going_away, reason).to_string().substr(4), reason.substr(0, 122));
}

TEST_F(ws_encoder, masked_frames_come_back_the_same) {
  for (std::size_t size : {0u, 1u, 3u, 7u, 125u, 126u, 700u, 70'000u}) {
    std::string payload(size, '\0');
    for (std::size_t i = 0; i != size; ++i) payload[i] = static_cast<char>(i * 7);
    chain bytes = chain::copy_of(payload);
    const std::string frame = encode_masked(opcode::binary, std::move(bytes)).to_string();
    EXPECT_EQ(decode(frame, {}), events{"binary " + payload}) << size;
  }
  EXPECT_EQ(decode(encode_masked(opcode::text, chain::copy_of("ab"), false).to_string() +
                       encode_masked(opcode::continuation, chain::copy_of("cd")).to_string(),
                   {}),
            events{"text abcd"});
}

TEST_F(ws_encoder, masking_leaves_bytes_that_others_see_alone) {
  chain body = chain::copy_of(std::string(1000, 's'));
  std::optional<chain> twin = body.share();
  const std::string frame = encode_masked(opcode::binary, std::move(body)).to_string();
  EXPECT_EQ(twin->to_string(), std::string(1000, 's'));
  EXPECT_EQ(decode(frame, {}), events{"binary " + std::string(1000, 's')});
}

TEST_F(ws_encoder, row_103_masks_do_not_repeat) {
  std::set<mask_key> seen;
  for (int i = 0; i != 2000; ++i) seen.insert(fresh_mask());
  EXPECT_GE(seen.size(), 1998u);  // of 2^32: a repetition has a chance of one in 2000
}

TEST(ws_mask, is_what_the_definition_says_at_every_length_and_offset) {
  const mask_key key = {std::byte{0x37}, std::byte{0xfa}, std::byte{0x21}, std::byte{0x3d}};
  std::mt19937 random(5);
  // Many go by wide registers behind a border, what is left of them by narrower ones, then by words.
  for (std::size_t size = 0; size != 1000; size += size == 300 ? 150 : 1)
    for (std::size_t offset = 0; offset != (size < 300 ? 9 : 34); ++offset) {
      std::vector<std::byte> bytes(size + offset);
      for (std::byte& b : bytes) b = static_cast<std::byte>(random());
      std::vector<std::byte> expected = bytes;
      for (std::size_t i = 0; i != size; ++i) expected[offset + i] ^= key[i % 4];
      apply_mask(std::span{bytes}.subspan(offset), key);
      ASSERT_EQ(bytes, expected) << size << " bytes from " << offset;
    }
  EXPECT_EQ(advanced(key, 5), (mask_key{key[1], key[2], key[3], key[0]}));
}

// Streams of frames made up at random, told as a plain model says, however they are cut.
TEST_F(ws_encoder, random_streams_are_told_as_a_model_says) {
  std::mt19937 random(6455);
  for (int round = 0; round != 300; ++round) {
    std::string input;
    events expected;
    for (unsigned messages = random() % 6; messages != 0; --messages) {
      const bool text = random() % 2 == 0;
      std::string whole;
      for (unsigned left = random() % 4, first = 1;; --left, first = 0) {
        std::string part(random() % (random() % 8 == 0 ? 40'000 : 200),
                         static_cast<char>('a' + random() % 26));
        if (random() % 4 == 0) {
          const std::string note(random() % 126, 'n');
          input += frame(0x89, note);
          expected.push_back("ping " + note);
        }
        input += frame((left == 0 ? 0x80u : 0u) | (first == 0 ? 0u : text ? 1u : 2u), part);
        whole += part;
        if (left == 0) break;
      }
      expected.push_back((text ? "text " : "binary ") + whole);
    }
    std::vector<std::size_t> pieces;
    for (int i = 0; i != 2000; ++i) pieces.push_back(1 + random() % (random() % 10 == 0 ? 20'000 : 50));
    ASSERT_EQ(decode(input, pieces), expected) << "round " << round;
  }
}

}  // namespace
}  // namespace catenet::ws::testing
