// Several cores and foreign threads: spreading, posting, waking.
#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <gtest/gtest.h>

#include <set>

namespace {

using namespace catenet;
using namespace catenet::test;

engine_options with_cores(unsigned n) {
  engine_options o;
  o.cores = n;
  return o;
}

TEST(cores, connections_are_spread_over_them) {
  engine_host host(echo(), with_cores(2));
  host.start();
  std::vector<client> all;
  for (int i = 0; i != 100; ++i) {
    all.emplace_back(host.at());
    all.back().send("x");
    EXPECT_EQ(all.back().receive(1), "x");
  }
  // The kernel hashes addresses: fewer than 15 of 100 on one side does not happen in a lifetime.
  EXPECT_GT(host.net().at(0).statistics().connections, 15u);
  EXPECT_GT(host.net().at(1).statistics().connections, 15u);
  EXPECT_EQ(host.statistics().connections, 100u);
  host.stop();
}

TEST(cores, current_and_find_know_their_thread) {
  engine_host host(echo(), with_cores(2));
  host.start();
  EXPECT_EQ(core::current(), nullptr);
  for (unsigned i = 0; i != 2; ++i) {
    EXPECT_EQ(host.on_core([] { return core::current(); }, i), &host.net().at(i));
    EXPECT_EQ(host.on_core([] { return core::current()->index(); }, i), i);
    EXPECT_NEAR(static_cast<double>(host.on_core([] { return core::current()->unix_seconds(); }, i)),
                static_cast<double>(time(nullptr)), 2);
  }
  host.stop();
}

// Each post may find the other core going to sleep, asleep, or awake: none may be lost.
TEST(cores, ping_pong_loses_no_wake_up) {
  engine_host host({}, with_cores(2));
  host.start();
  const int rounds = sanitized ? 10'000 : 100'000;
  struct game {
    engine* net;
    int left;
    std::promise<void> over;
    void hit(unsigned at) {
      if (left-- == 0) return over.set_value();
      net->at(1 - at).post([this, at] { hit(1 - at); });
    }
  } g{&host.net(), rounds, {}};
  host.net().at(0).post([&] { g.hit(0); });
  ASSERT_EQ(g.over.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready) << g.left;
  host.stop();
}

TEST(cores, posts_from_foreign_threads_come_in_order_and_wake) {
  engine_host host({}, with_cores(2));
  host.start();
  const int letters = sanitized ? 5'000 : 50'000;
  constexpr int senders = 3;
  std::vector<int> next(2 * senders, 0);
  std::atomic<int> ran{0};
  std::atomic<bool> bad{false};
  std::vector<std::thread> threads;
  for (int who = 0; who != senders; ++who)
    threads.emplace_back([&, who] {
      for (int n = 0; n != letters; ++n)
        for (unsigned c = 0; c != 2; ++c) {
          int& expected = next[static_cast<std::size_t>(who) * 2 + c];
          ASSERT_TRUE(host.net().at(c).post([&, n] {
            if (expected++ != n) bad = true;
            ++ran;
          }));
          if (n % 1000 == 0) sleep_ms(1);  // so that they fall asleep now and then
        }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_TRUE(eventually([&] { return ran == 2 * senders * letters; }));
  EXPECT_FALSE(bad);
  host.stop();
}

// One post to a core that sleeps, waited for, again and again from outside.
TEST(cores, a_single_post_wakes_a_sleeper_each_time) {
  engine_host host({}, with_cores(1));
  host.start();
  for (int i = 0; i != (sanitized ? 2000 : 20'000); ++i) {
    std::promise<void> told;
    auto future = told.get_future();
    ASSERT_TRUE(host.net().at(0).post([&] { told.set_value(); }));
    ASSERT_EQ(future.wait_for(std::chrono::seconds(10)), std::future_status::ready) << i;
  }
  host.stop();
}

TEST(cores, chains_travel_and_blocks_come_home) {
  stream* there = nullptr;
  std::atomic<int> opened{0};
  engine_host host({}, with_cores(2));
  // What comes in on one core is sent out by a stream of the other.
  host.start();
  (void)there;
  (void)opened;
  std::atomic<int> ran{0};
  for (int i = 0; i != 200; ++i)
    host.on_core([&] {
      chain c = chain::copy_of(pattern(0, 10'000));
      host.net().at(1).post([&, mine = std::move(c)]() mutable {
        if (off_pattern(0, mine.to_string()) == std::string::npos) ++ran;
        mine.clear();
      });
    });
  EXPECT_TRUE(eventually([&] { return ran == 200; }));
  host.on_core([] {}, 1);
  host.on_core([] {}, 0);
  EXPECT_TRUE(eventually([&] {
    host.on_core([] {}, 0);
    return host.rented() == 0;
  }));
  host.stop();
}

// Broadcast between streams of different cores by handle, while streams come and go.
TEST(cores, handles_from_other_cores_find_theirs_or_nothing) {
  std::mutex mutex;
  std::vector<handle> known;
  std::atomic<std::uint64_t> delivered{0};
  engine* net = nullptr;
  engine_host host({.opened =
                        [&](stream& s) {
                          const std::lock_guard lock(mutex);
                          known.push_back(s.id());
                        },
                    .received =
                        [&](stream&, chain&& bytes) {
                          const std::lock_guard lock(mutex);
                          for (const handle h : known) {
                            auto twin = bytes.share();
                            if (!twin) continue;
                            net->at(h.core).post([net, h, &delivered, c = std::move(*twin)]() mutable {
                              if (stream* s = net->at(h.core).find(h)) {
                                s->send(std::move(c));
                                ++delivered;
                              }
                            });
                          }
                        },
                    .closed =
                        [&](stream& s) {
                          const std::lock_guard lock(mutex);
                          if (s.id().slot % 2 == 0) std::erase(known, s.id());  // some stale ones stay
                        }},
                   with_cores(2));
  net = &host.net();
  host.start();
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != 3; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i != 30; ++i) {
        client c(host.at());
        ASSERT_TRUE(c.send("news"));
        EXPECT_EQ(c.receive(4), "news");
        if (i % 2 == 0) c.reset();
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_GE(delivered, 90u);
  host.stop();
}

}  // namespace
