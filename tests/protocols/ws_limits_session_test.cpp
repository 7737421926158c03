// Sizes and numbers at their limits, on a real engine: large messages, a million fragments, a hundred
// thousand topics, prepared messages, and peers that take nothing.
#include <catenet/engine/core.hpp>
#include <catenet/ws/connection.hpp>

#include "ws_peer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

constexpr unsigned text = 0x81, binary = 0x82;

options large_echo() {
  options o;
  o.max_message = 16_MiB;
  o.max_queued = 64_MiB;
  o.message = [](connection& c, message m) { EXPECT_LE(c.send(std::move(m)), send_result::queued); };
  return o;
}

TEST(ws_limits_session, messages_of_16_MiB_pass_and_one_byte_more_does_not) {
  server s(large_echo());
  peer p(s);
  const std::string largest(16 << 20, 'x');
  for (int i = 0; i != 2; ++i) {
    std::thread sender([&] { p.send(frame(binary, largest)); });
    const std::string got = p.next(20'000);
    sender.join();
    ASSERT_EQ(got.size(), largest.size() + 3);
    ASSERT_EQ(got, "82 " + largest);
  }
  p.send(header(binary, largest.size() + 1));
  EXPECT_EQ(p.next().substr(0, 5), "88 " + close_body(1009));
}

TEST(ws_limits_session, a_million_fragments_of_one_byte_are_one_message) {
  constexpr std::size_t count = 1'000'000;
  server s(large_echo());
  peer p(s);
  std::string all = frame(0x01, "a");
  for (std::size_t i = 2; i != count; ++i)
    all += frame(0x00, std::string(1, static_cast<char>('a' + i % 26)));
  all += frame(0x80, "z");
  p.send(all);
  const std::string got = p.next(60'000);
  ASSERT_EQ(got.size(), count + 3);
  EXPECT_EQ(got.substr(0, 6), "81 acd");
  EXPECT_EQ(got.back(), 'z');
}

TEST(ws_limits_session, more_fragments_than_allowed_end_with_1008) {
  options o = large_echo();
  o.max_fragments = 10;
  server s(std::move(o));
  peer p(s);
  std::string all = frame(0x01, "a");
  for (int i = 0; i != 10; ++i) all += frame(0x00, "b");
  p.send(all);
  EXPECT_EQ(p.next().substr(0, 5), "88 " + close_body(1008));
}

// One frame for many sends, of every size of header.
TEST(ws_limits_session, prepared_messages_are_sent_many_times) {
  for (const std::size_t size : {0u, 5u, 200u, 5000u, 100'000u}) {
    std::vector<connection*> all;
    options o;
    o.max_queued = 4_MiB;
    o.open = [&](connection& c) { all.push_back(&c); };
    o.message = [&](connection&, message m) {
      prepared once = prepare(std::move(m));
      ASSERT_TRUE(once);
      for (int i = 0; i != 3; ++i)
        for (connection* c : all) EXPECT_LE(c->send(once), send_result::queued);
    };
    server s(std::move(o));
    std::vector<peer> peers;
    for (int i = 0; i != 5; ++i) peers.emplace_back(s);
    ASSERT_TRUE(server::eventually([&] { return s.hub().statistics().opened == peers.size(); }));
    peers[2].send(frame(text, std::string(size, 'p')));
    for (peer& p : peers)
      for (int i = 0; i != 3; ++i) ASSERT_EQ(p.next(), "81 " + std::string(size, 'p')) << size;
  }
}

class ws_topics_session : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(cores, ws_topics_session, ::testing::Values(1u, 3u));

// Two connections subscribe to all of them, in different orders; what is asked of one topic costs the same as
// ever.
TEST_P(ws_topics_session, a_hundred_thousand_topics) {
  constexpr int count = 100'000;
  const auto name = [](int i) { return "topic/" + std::to_string(i); };
  options o;
  o.message = [&](connection& c, message m) {
    const std::string what = m.to_string();
    int done = 0;
    if (what == "up")
      for (int i = 0; i != count; ++i) done += c.subscribe(name(i)) ? 1 : 0;
    else if (what == "down")
      for (int i = count; i-- != 0;) done += c.subscribe(name(i)) ? 1 : 0;
    else if (what == "leave the even")
      for (int i = 0; i != count; i += 2) done += c.unsubscribe(name(i)) ? 1 : 0;
    else
      c.publish_to_all(what, message::text(what));
    if (done != 0) c.send(std::to_string(done));
  };
  engine_options e;
  e.cores = GetParam();
  server s(std::move(o), e);
  peer up(s), down(s);
  up.send(frame(text, "up"));
  down.send(frame(text, "down"));
  EXPECT_EQ(up.next(60'000), "81 100000");
  EXPECT_EQ(down.next(60'000), "81 100000");
  for (const int i : {0, 1, 77'777, count - 1}) {
    up.send(frame(text, name(i)));
    EXPECT_EQ(up.next(), "81 " + name(i));
    EXPECT_EQ(down.next(), "81 " + name(i));
  }
  up.send(frame(text, "leave the even"));
  EXPECT_EQ(up.next(60'000), "81 50000");
  up.send(frame(text, name(500)));
  up.send(frame(text, name(501)));
  EXPECT_EQ(up.next(), "81 " + name(501));
  EXPECT_EQ(down.next(), "81 " + name(500));
  EXPECT_EQ(down.next(), "81 " + name(501));
  down.reset();
  up.send(frame(0x88, close_body(1000)));
  EXPECT_EQ(up.next(60'000), "88 " + close_body(1000));
  EXPECT_TRUE(server::eventually([&] { return s.hub().statistics().session_bytes == 0; }));
}

// Who asks for much and takes nothing is not read from, and would be held for ever otherwise.
TEST(ws_limits_session, a_peer_that_takes_nothing_is_ended_when_its_idle_time_is_over) {
  options o;
  o.max_queued = 64_MiB;
  o.idle_timeout_ms = 300;
  o.close_timeout_ms = 200;
  o.message = [](connection& c, message) { c.send(std::string(100'000, 'x')); };
  server s(std::move(o));
  peer deaf(s, 4096);
  std::string many;
  for (int i = 0; i != 200; ++i) many += frame(text, "a");
  deaf.send(many);
  EXPECT_TRUE(server::eventually([&] { return s.hub().statistics().messages_in > 10; }));
  EXPECT_TRUE(server::eventually([&] { return s.hub().statistics().connections == 0; }));
  EXPECT_LT(s.hub().statistics().messages_in, 200u);
}

// And who takes slowly is waited for.
TEST(ws_limits_session, a_peer_that_takes_slowly_is_not_idle) {
  constexpr int count = 60;
  options o;
  o.max_queued = 64_MiB;
  o.idle_timeout_ms = 2000;
  o.message = [](connection& c, message) { c.send(std::string(100'000, 'x')); };
  server s(std::move(o));
  peer slow(s, 4096);
  std::string many;
  for (int i = 0; i != count; ++i) many += frame(text, "a");
  slow.send(many);
  for (int i = 0; i != count; ++i) {
    ASSERT_EQ(slow.next().size(), 100'003u) << i;
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  }
}

}  // namespace
}  // namespace catenet::ws::testing
