// Messages: into how few pieces they become frames, whoever looked at them before, and what stays untouched.
#include <catenet/ws/decoder.hpp>
#include <catenet/ws/message.hpp>

#include "ws/publication.hpp"
#include "ws_frames.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace catenet::ws::testing {
namespace {

class ws_message : public slab_test {
 protected:
  // As a connection gets it: a view of the block in which the peer's frame came.
  message received(const std::string& payload) {
    decoder frames{limits_};
    const std::string bytes = frame(0x81, payload);
    lease block = lease::of(4_KiB);
    std::memcpy(block.bytes().data(), bytes.data(), bytes.size());
    chain in{std::move(block), 0, bytes.size()};
    event e = frames.next(in);
    EXPECT_EQ(e.what, event::kind::message);
    return {std::move(e.bytes), e.text, e.headroom};
  }

  decoder_limits limits_;
};

TEST_F(ws_message, to_look_at_it_does_not_cost_it_its_headroom) {
  for (const std::size_t size : {600u, 1000u, 3000u}) {
    const std::string payload(size, 'p');
    message m = received(payload);
    const std::byte* const where = m.payload().front().data();
    EXPECT_EQ(m.payload().to_string(), payload);
    EXPECT_EQ(m.view(), payload);
    const chain sent = std::move(m).into_frame(0);
    EXPECT_EQ(sent.to_string(), (raw_frame{0x81, payload, false}.bytes()));
    ASSERT_EQ(sent.segment_count(), 1u) << size;
    EXPECT_EQ(sent.head()->data + 4, where) << "the payload was moved";
  }
}

TEST_F(ws_message, what_is_taken_out_is_a_chain_like_any_other) {
  const std::string payload(1000, 'p');
  message m = received(payload);
  message again{m.take_payload(), true};
  EXPECT_EQ(m.size(), 0u);
  EXPECT_EQ(std::move(m).into_frame(0).to_string(), std::string("\x81\0", 2));
  const chain sent = std::move(again).into_frame(0);
  EXPECT_EQ(sent.to_string(), (raw_frame{0x81, payload, false}.bytes()));
  EXPECT_EQ(sent.segment_count(), 2u) << "nothing says that the bytes before it are free";
}

// Only one of two messages over the same bytes may write a header in front of them.
TEST_F(ws_message, the_headroom_belongs_to_one_of_two) {
  const std::string payload(1000, 'p');
  message m = received(payload);
  std::optional<message> twin = m.share();
  ASSERT_TRUE(twin);
  const chain first = std::move(*twin).into_frame(0);
  const chain second = std::move(m).into_frame(0);
  EXPECT_EQ(first.segment_count(), 1u);
  EXPECT_EQ(second.segment_count(), 2u);
  EXPECT_EQ(first.to_string(), second.to_string());
}

// Each send of two pieces costs the kernel more than one of one, and this is sent many times.
TEST_F(ws_message, what_is_published_is_one_piece_when_it_is_short) {
  for (const std::size_t size : {0u, 20u, 600u, 1000u, 4000u}) {
    const std::string payload(size, 'p');
    publication from_peer{"topic", received(payload)};
    publication made_here{"topic", message::text(payload)};
    ASSERT_TRUE(from_peer && made_here);
    EXPECT_EQ(from_peer.plain().segment_count(), 1u) << size;
    EXPECT_EQ(made_here.plain().segment_count(), 1u) << size;
    EXPECT_EQ(from_peer.plain().to_string(), (raw_frame{0x81, payload, false}.bytes()));
    EXPECT_EQ(made_here.plain().to_string(), from_peer.plain().to_string());
    EXPECT_EQ(made_here.payload_bytes(), size);
  }
}

TEST_F(ws_message, a_long_body_that_is_published_is_not_copied) {
  lease block = lease::of(64_KiB);
  std::memset(block.bytes().data(), 'b', 60'000);
  const std::byte* const where = block.bytes().data();
  publication p{"topic", message{chain{std::move(block), 0, 60'000}, false}};
  ASSERT_EQ(p.plain().segment_count(), 2u);
  EXPECT_EQ(p.plain().tail()->data, where);
}

// As in main() before an engine runs, and after it.
TEST_F(ws_message, where_there_is_no_pool_none_is_made) {
  message m = received("payload");
  std::thread([&] {
    ASSERT_EQ(pool::current(), nullptr);
    EXPECT_EQ(message::text("text").size(), 0u);
    EXPECT_EQ(message::binary(as_bytes("bytes")).size(), 0u);
    EXPECT_FALSE(prepare(message::text("text")));
    EXPECT_FALSE(m.share());
  }).join();
  EXPECT_EQ(m.to_string(), "payload");
}

// What is agreed has 9 to 15 bits; any other number must not reach beyond what is kept for those.
TEST_F(ws_message, published_to_a_window_that_is_none_it_goes_as_it_is) {
  deflate_shelf shelf;
  publication p{"topic", message::text(std::string(5000, 'p'))};
  for (const unsigned bits : {0u, 1u, 8u, 16u, 100u, 255u})
    EXPECT_EQ(p.deflated(static_cast<std::uint8_t>(bits), 6, shelf), nullptr) << bits;
  EXPECT_NE(p.deflated(window_bits_min, 6, shelf), nullptr);
  EXPECT_NE(p.deflated(window_bits_max, 6, shelf), nullptr);
}

}  // namespace
}  // namespace catenet::ws::testing
