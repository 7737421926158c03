// Who sends much at a time is received into blocks of 64 KiB, and back into small ones when less comes.
#include "support/client.hpp"
#include "support/engine_host.hpp"
#include "support/loop_held.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace catenet::test {
namespace {

constexpr std::size_t bulk_bytes = 60'000;

std::uint64_t lent_wide(engine_host& host) {
  for (const class_statistics& c : host.net().slab().statistics().classes)
    if (c.size == 64_KiB) return c.lent;
  return 0;
}

// What came: how much in which size of block, and whether it is what was sent.
struct record {
  std::atomic<std::uint64_t> got{0};
  std::atomic<bool> bad{false};
  std::atomic<int> wide{0};          // pieces in wide blocks
  std::atomic<int> wasteful{0};      // of them, those that use less than a quarter
  std::atomic<std::size_t> last{0};  // capacity of the last piece's block
  void take(const chain& c) {
    if (off_pattern(got, c.to_string()) != std::string::npos) bad = true;
    for (const segment* s = c.head(); s != nullptr; s = s->next) {
      last = s->blk->capacity();
      if (s->blk->capacity() != 64_KiB) continue;
      ++wide;
      if (s->length < 16_KiB) ++wasteful;
    }
    got += c.bytes();
  }
  // Sends much at a time, which waits in the socket whole before it is read; until wide blocks are used.
  void send_until_wide(engine_host& host, client& c) {
    const int before = wide;
    for (int round = 0; round != 50 && wide == before; ++round) {
      const std::uint64_t all = got + bulk_bytes;
      {
        const loop_held waits(host);
        ASSERT_TRUE(c.send(pattern(got, bulk_bytes)));
      }
      ASSERT_TRUE(eventually([&] { return got == all; })) << got << " of " << all;
    }
    EXPECT_GT(wide, before) << "much came at a time, and always into small blocks";
  }
};

TEST(wide, blocks_are_for_who_sends_much_at_a_time_and_as_long_as_he_does) {
  record r;
  engine_options o;
  o.park_after_ms = 600'000;  // which would end a wide receive, too
  engine_host host({.received = [&](stream&, chain&& c) { r.take(c); }}, o);
  host.start();
  client c(host.at());
  for (int round = 0; round != 3; ++round) {
    r.send_until_wide(host, c);
    for (int i = 0; i != 3; ++i) {
      const std::uint64_t all = r.got + 700;
      ASSERT_TRUE(c.send(pattern(r.got, 700)));
      ASSERT_TRUE(eventually([&] { return r.got == all; })) << r.got;
      EXPECT_LE(r.last, 4_KiB) << "700 bytes hold a block of " << r.last;
    }
    EXPECT_TRUE(eventually([&] { return lent_wide(host) == 0; })) << "it waits for little with wide blocks";
  }
  EXPECT_FALSE(r.bad);
  EXPECT_EQ(r.wasteful, 0);
  host.stop();
}

TEST(wide, blocks_go_back_once_all_are_quiet) {
  record r;
  engine_options o;
  o.park_after_ms = 300;
  engine_host host({.received = [&](stream&, chain&& c) { r.take(c); }}, o);
  host.start();
  client c(host.at());
  for (int round = 0; round != 2; ++round) {
    r.send_until_wide(host, c);
    EXPECT_TRUE(eventually([&] { return lent_wide(host) == 0; }, 20'000)) << lent_wide(host) << " are lent";
    EXPECT_TRUE(eventually([&] { return host.rented() == 0; })) << host.rented() << " are rented";
    // And who was quiet begins with small ones again.
    const std::uint64_t all = r.got + 700;
    ASSERT_TRUE(c.send(pattern(r.got, 700)));
    ASSERT_TRUE(eventually([&] { return r.got == all; })) << r.got;
    host.on_core([] {});
    EXPECT_EQ(lent_wide(host), 0u) << "what little comes first waits for wide blocks";
  }
  EXPECT_FALSE(r.bad);
  host.stop();
}

// Many who send much at once: the ring of wide blocks has its end, and those it has none for ask again.
TEST(wide, blocks_are_not_more_than_the_ring_holds) {
  constexpr std::size_t clients = 150;
  constexpr std::uint64_t ring_blocks_max = 64;
  std::atomic<std::uint64_t> got{0};
  std::uint64_t most = 0;
  engine_host host({.received = [&](stream&, chain&& c) { got += c.bytes(); }});
  host.start();
  std::vector<client> all;
  for (std::size_t i = 0; i != clients; ++i) all.emplace_back(host.at());
  const std::string part = pattern(0, bulk_bytes);
  for (std::uint64_t round = 1; round != 6; ++round) {
    {
      const loop_held waits(host);
      for (client& c : all) ASSERT_TRUE(c.send(part));
    }
    ASSERT_TRUE(eventually(
        [&] {
          most = std::max(most, lent_wide(host));
          return got == round * clients * bulk_bytes;
        },
        20'000))
        << got << " in round " << round;
  }
  EXPECT_LE(most, ring_blocks_max);
  host.stop();
}

TEST(wide, blocks_that_are_not_to_be_had_are_done_without) {
  record r;
  engine_options o;
  o.slab.capacity = 8_MiB;
  std::vector<chain> hoard;
  engine_host host({.received = [&](stream&, chain&& c) { r.take(c); }}, o);
  host.start();
  client c(host.at());
  r.send_until_wide(host, c);
  host.on_core([&] {
    const lease small = lease::of(4_KiB);  // with it, a batch of small ones comes into being
    for (const std::size_t size : {64_KiB, 256_KiB, 1_MiB})
      for (lease l = lease::of(size); l; l = lease::of(size)) hoard.push_back(chain{std::move(l), 0, 1});
  });
  const std::uint64_t before = r.got;
  const std::uint64_t all = before + 4_MiB;
  ASSERT_TRUE(c.send(pattern(before, 4_MiB)));
  EXPECT_TRUE(eventually([&] { return r.got == all; })) << r.got - before << " of " << 4_MiB;
  const std::uint64_t turns = host.statistics().turns;
  sleep_ms(200);
  EXPECT_LE(host.statistics().turns - turns, 30u) << "nothing comes, and the loop turns";
  EXPECT_FALSE(r.bad);
  host.on_core([&] { hoard.clear(); });
  host.stop();
}

// Whatever is sent and however it is paused, parked and hinted at between: every byte, in its order.
TEST(wide, receives_lose_nothing_and_keep_the_order) {
  constexpr int clients = 6;
  constexpr std::size_t each = 3_MiB;
  engine_options o;
  o.park_after_ms = 20;
  std::mt19937 moods(4);
  std::array<std::uint64_t, clients> got{};
  std::vector<handle> live;
  std::atomic<std::uint64_t> sum{0};
  std::atomic<bool> bad{false};
  engine_host host({.opened =
                        [&](stream& s) {
                          s.set_session(&got[live.size()]);
                          live.push_back(s.id());
                        },
                    .received =
                        [&](stream& s, chain&& c) {
                          auto& mine = *static_cast<std::uint64_t*>(s.session());
                          if (off_pattern(mine, c.to_string()) != std::string::npos) bad = true;
                          mine += c.bytes();
                          sum += c.bytes();
                          if (moods() % 16 == 0)
                            s.expect(std::min<std::uint64_t>(each - mine, moods() % 500'000));
                          if (moods() % 8 == 0) s.pause();
                        }},
                   o);
  host.start();
  std::vector<client> all;
  for (int i = 0; i != clients; ++i) all.emplace_back(host.at());
  std::vector<std::thread> writers;
  for (int i = 0; i != clients; ++i)
    writers.emplace_back([&c = all[static_cast<std::size_t>(i)], i] {
      std::mt19937 random(static_cast<unsigned>(i));
      for (std::size_t at = 0; at != each;) {
        const std::size_t longest = random() % 3 == 0 ? 100 : 90'000;
        const std::size_t part = std::min<std::size_t>(each - at, random() % longest + 1);
        ASSERT_TRUE(c.send(pattern(at, part)));
        at += part;
        if (random() % 16 == 0) sleep_ms(static_cast<int>(random() % 40));
      }
    });
  const bool whole = eventually(
      [&] {
        host.on_core([&] {
          for (const handle h : live)
            if (stream* s = host.net().at(0).find(h)) s->resume();
        });
        return sum == clients * each;
      },
      60'000);
  EXPECT_TRUE(whole) << sum;
  for (std::thread& t : writers) t.join();
  EXPECT_FALSE(bad);
  host.stop();
}

}  // namespace
}  // namespace catenet::test
