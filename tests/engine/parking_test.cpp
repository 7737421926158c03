// Quiet streams: parked, without a block, woken by the first byte, and nothing lost between.
#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <gtest/gtest.h>

#include <random>

namespace {

using namespace catenet;
using namespace catenet::test;

engine_options parking_after(std::uint32_t ms) {
  engine_options o;
  o.park_after_ms = ms;
  return o;
}

TEST(parking, a_quiet_stream_holds_no_block_and_is_parked) {
  engine_host host(echo(), parking_after(100));
  host.start();
  std::vector<client> all;
  for (int i = 0; i != 50; ++i) {
    all.emplace_back(host.at());
    all.back().send("hello");
    EXPECT_EQ(all.back().receive(5), "hello");
  }
  EXPECT_LT(host.statistics().parked, 50u);
  EXPECT_TRUE(eventually([&] { return host.statistics().parked == 50; }));
  EXPECT_EQ(host.rented(), 0u);
  const core_statistics quiet = host.statistics();
  sleep_ms(300);
  // The looks at idle memory, four a second, are over soon; a stream that was still awake would show 50
  // times.
  EXPECT_LE(host.statistics().turns, quiet.turns + 3) << "idle must cost nothing";
  EXPECT_LE(host.statistics().submissions, quiet.submissions + 3);
  for (client& c : all) {
    c.send("again");
    EXPECT_EQ(c.receive(5), "again");
  }
  EXPECT_TRUE(eventually([&] { return host.statistics().parked == 50; })) << "and they are parked again";
  host.stop();
}

TEST(parking, a_parked_stream_notices_the_end_and_the_reset) {
  std::atomic<int> closed{0};
  engine_host host({.closed = [&](stream&) { ++closed; }}, parking_after(20));
  host.start();
  client ends(host.at()), resets(host.at());
  ASSERT_TRUE(eventually([&] { return host.statistics().parked == 2; }));
  ends.finish();
  EXPECT_EQ(ends.receive_all(), "");
  EXPECT_TRUE(eventually([&] { return closed == 1; }));
  resets.reset();
  EXPECT_TRUE(eventually([&] { return closed == 2; }));
  EXPECT_TRUE(eventually([&] { return host.statistics().parked == 0; }));
  host.stop();
}

TEST(parking, a_parked_stream_can_send_and_close_and_be_paused) {
  handle h;
  std::atomic<int> got{0};
  engine_host host({.opened = [&](stream& s) { h = s.id(); },
                    .received = [&](stream&, chain&& c) { got += static_cast<int>(c.bytes()); }},
                   parking_after(20));
  host.start();
  client c(host.at());
  ASSERT_TRUE(eventually([&] { return host.statistics().parked == 1; }));
  host.on_core([&] {
    stream* s = host.net().at(0).find(h);
    s->send(chain::copy_of("push"));
    s->pause();
  });
  EXPECT_EQ(c.receive(4), "push");
  c.send("later");
  sleep_ms(50);
  EXPECT_EQ(got, 0);
  host.on_core([&] { host.net().at(0).find(h)->resume(); });
  EXPECT_TRUE(eventually([&] { return got == 5; }));
  ASSERT_TRUE(eventually([&] { return host.statistics().parked == 1; }))
      << "after a pause it is parked again";
  host.on_core([&] { host.net().at(0).find(h)->close(); });
  EXPECT_EQ(c.receive_all(), "");
  host.stop();
}

// What a stream keeps while it is busy must not keep it from being parked later.
TEST(parking, comes_back_after_pauses_and_hints) {
  handle h;
  std::atomic<std::uint64_t> got{0};
  engine_host host({.opened = [&](stream& s) { h = s.id(); },
                    .received =
                        [&](stream& s, chain&& c) {
                          got += c.bytes();
                          if (got == 5) s.pause();
                        }},
                   parking_after(50));
  host.start();
  client c(host.at());
  c.send("12345");
  ASSERT_TRUE(eventually([&] { return got == 5; }));
  c.send("67890");
  sleep_ms(20);
  host.on_core([&] { host.net().at(0).find(h)->resume(); });
  ASSERT_TRUE(eventually([&] { return got == 10; }));
  EXPECT_TRUE(eventually([&] { return host.statistics().parked == 1; }, 1000)) << "after a pause";

  host.on_core([&] { host.net().at(0).find(h)->expect(1_MiB); });
  c.send("x");
  ASSERT_TRUE(eventually([&] { return got == 11; })) << "bytes of a body are told though it does not go on";
  EXPECT_TRUE(eventually([&] { return host.statistics().parked == 1; }, 1000))
      << "with a hint that nothing follows";
  EXPECT_EQ(host.rented(), 0u);
  const std::uint64_t turns = host.statistics().turns;
  sleep_ms(300);
  EXPECT_LE(host.statistics().turns, turns + 1);
  c.send(pattern(0, 300'000));
  EXPECT_TRUE(eventually([&] { return got == 300'011; })) << "it goes on where it was";
  host.on_core([&] { host.net().at(0).find(h)->expect(0); });
  host.stop();
}

// Bytes that come at the very moment of parking: round after round around the parking time.
TEST(parking, no_byte_and_no_wake_up_is_lost_in_a_race) {
  engine_host host(echo(), parking_after(2));
  host.start();
  constexpr int clients = 8;
  const int rounds = sanitized ? 150 : 500;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i != clients; ++i)
    threads.emplace_back([&, i] {
      client c(host.at());
      std::mt19937 random(i);
      std::uint64_t at = 0;
      for (int round = 0; round != rounds; ++round) {
        const std::size_t bytes = random() % 20 == 0 ? random() % 50'000 + 1 : random() % 30 + 1;
        std::thread reader;
        ASSERT_TRUE(c.send(pattern(at, bytes)));
        const std::string got = c.receive(bytes);
        ASSERT_EQ(got.size(), bytes) << "round " << round;
        ASSERT_EQ(off_pattern(at, got), std::string::npos);
        at += bytes;
        std::this_thread::sleep_for(std::chrono::microseconds(1000 + random() % 4000));
      }
    });
  for (std::thread& t : threads) t.join();
  host.stop();
}

TEST(parking, thousands_of_idle_streams_keep_no_blocks) {
  const int count = sanitized ? 500 : 3000;
  engine_host host(echo(), parking_after(50));
  host.start();
  std::vector<client> all;
  for (int i = 0; i != count; ++i) {
    all.emplace_back(host.at());
    ASSERT_TRUE(all.back());
  }
  EXPECT_TRUE(eventually([&] { return host.statistics().parked == static_cast<unsigned>(count); }, 20000));
  EXPECT_EQ(host.rented(), 0u);
  all.clear();
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 0; }, 20000));
  host.stop();
}

TEST(idle, without_streams_the_loop_sleeps) {
  engine_options o;
  o.cores = 2;
  engine_host host(echo(), o);
  host.start();
  sleep_ms(50);
  const core_statistics before = host.statistics();
  sleep_ms(500);
  EXPECT_EQ(host.statistics().turns, before.turns);
  EXPECT_EQ(host.statistics().enters, before.enters);
  host.stop();
}

}  // namespace
