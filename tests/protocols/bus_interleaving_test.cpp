// The bus's cross-core parts under every order of their atomic operations: the rings, a space's word, a
// writer's log.
#include <catenet/bus/range_log.hpp>
#include <catenet/bus/ring.hpp>
#include <catenet/bus/space.hpp>

#include "interleaving.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <vector>

namespace {

using interleaving::explore;
using interleaving::scheduler;
template <class T>
using checked_spsc = catenet::bus::detail::spsc_ring<T, interleaving::atomic>;
template <class T>
using checked_mpsc = catenet::bus::detail::mpsc_ring<T, interleaving::atomic>;

constexpr std::uint64_t runs_max = 300'000;

TEST(bus_interleaving, the_checker_sees_every_order_and_a_lost_update) {
  bool lost = false;
  const std::uint64_t runs = explore(
      [&](scheduler& s) {
        interleaving::atomic<int> sum{0};
        for (int t = 0; t != 2; ++t)
          s.thread([&] {
            const int seen = sum.load(std::memory_order_relaxed);
            sum.store(seen + 1, std::memory_order_relaxed);
          });
        s.run();
        lost |= sum.load(std::memory_order_relaxed) == 1;
      },
      runs_max);
  EXPECT_TRUE(lost);
  EXPECT_EQ(runs, 20u) << "two threads of a beginning and two operations: 6 over 3";
}

TEST(bus_interleaving, one_producer_ring_loses_nothing_and_keeps_order) {
  const std::uint64_t runs = explore(
      [](scheduler& s) {
        checked_spsc<int> ring{2};
        int pushed = 0;
        std::vector<int> got;
        s.thread([&] {
          for (int i = 0; i != 4; ++i) {
            int value = pushed + 1;
            if (ring.push(value)) ++pushed;
          }
        });
        s.thread([&] {
          for (int i = 0; i != 4; ++i)
            if (int value = 0; ring.pop(value)) got.push_back(value);
        });
        s.run();
        for (int value = 0; ring.pop(value);) got.push_back(value);
        ASSERT_EQ(got.size(), static_cast<std::size_t>(pushed));
        for (int i = 0; i != pushed; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], i + 1);
      },
      runs_max);
  EXPECT_GT(runs, 1000u);
}

TEST(bus_interleaving, many_producer_ring_loses_nothing_and_keeps_each_ones_order) {
  const std::uint64_t runs = explore(
      [](scheduler& s) {
        checked_mpsc<int> ring{2};
        int pushed[2] = {0, 0};
        std::vector<int> got;
        for (int t = 0; t != 2; ++t)
          s.thread([&, t] {
            for (int i = 0; i != 2; ++i) {
              int value = 10 * t + pushed[t] + 1;
              if (ring.push(value)) ++pushed[t];
            }
          });
        s.thread([&] {
          for (int i = 0; i != 2; ++i)
            if (int value = 0; ring.pop(value)) got.push_back(value);
        });
        s.run();
        for (int value = 0; ring.pop(value);) got.push_back(value);
        int next[2] = {1, 1};
        for (const int value : got) ASSERT_EQ(value % 10, next[value / 10]++);
        ASSERT_EQ(next[0] - 1, pushed[0]);
        ASSERT_EQ(next[1] - 1, pushed[1]);
      },
      runs_max);
  EXPECT_GT(runs, 1000u);
}

// Two writers attach to a space, take room and leave, while `current` lets go of it: the room never overlaps,
// the space ends exactly once, and nobody gets a hold on it afterwards.
TEST(bus_interleaving, a_space_ends_once_and_hands_no_byte_out_twice) {
  const std::uint64_t runs = explore(
      [](scheduler& s) {
        catenet::bus::detail::space_word<interleaving::atomic> word;
        word.open(1);  // held by `current`
        int ended = 0;
        std::vector<std::pair<std::uint64_t, std::uint64_t>> taken;
        for (std::uint64_t t = 0; t != 2; ++t)
          s.thread([&, t] {
            if (!word.try_hold()) return;
            ASSERT_EQ(ended, 0) << "a hold on a space that has ended";
            const std::uint64_t bytes = 10 + t;
            const std::uint64_t start = word.take(bytes);
            taken.emplace_back(start, start + bytes);
            if (word.drop()) ++ended;
          });
        s.thread([&] {
          if (word.drop()) ++ended;
        });
        s.run();
        ASSERT_EQ(ended, 1);
        if (taken.size() == 2) {
          ASSERT_TRUE(taken[0].second <= taken[1].first || taken[1].second <= taken[0].first);
        }
      },
      runs_max);
  EXPECT_GT(runs, 100u);
}

struct plain_memory {
  static inline int live = 0;
  static void* allocate(std::size_t bytes) {
    ++live;
    return std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  }
  static void release(void* at) {
    --live;
    std::free(at);
  }
};

// A writer commits (growing a range, opening others, a message in two pieces, leaving a space) while a reader
// takes twice: everything comes out once, in order, and no message is seen in part.
TEST(bus_interleaving, a_log_is_read_whole_and_in_order_at_any_moment) {
  using log = catenet::bus::detail::range_log<int, plain_memory, interleaving::atomic, 2>;
  const std::uint64_t runs = explore(
      [](scheduler& s) {
        {
          log entries;
          int a = 0;
          int b = 0;
          std::vector<int> got;  // each byte's number in the order of the commits
          bool left = false;
          const auto take = [&] {
            const std::uint64_t reach = entries.reach();
            bool more = false;
            for (log::piece p; entries.peek(p, reach); entries.pop(p)) {
              ASSERT_FALSE(left && p.in == &a) << "after the space was left";
              if (p.left) {
                ASSERT_EQ(p.in, &a);
                left = true;
                continue;
              }
              for (std::uint32_t i = p.start; i != p.end; ++i)
                got.push_back(static_cast<int>(i) + (p.in == &b ? 20 : 0));
              more = p.more;
            }
            ASSERT_FALSE(more) << "half a message";
          };
          s.thread([&] {
            ASSERT_TRUE(entries.make_room(6));
            entries.commit(&a, 0, 2);
            entries.commit(&a, 2, 3);
            entries.commit(&a, 5, 6);
            entries.append({&a, 8, 10, true, false});
            entries.append({&b, 0, 3, false, false});
            entries.publish();
            entries.append({&a, 0, 0, false, true});
            entries.publish();
            entries.commit(&b, 3, 4);
          });
          s.thread([&] {
            take();
            take();
          });
          s.run();
          take();
          ASSERT_EQ(got, (std::vector<int>{0, 1, 2, 5, 8, 9, 20, 21, 22, 23}));
        }
        ASSERT_EQ(plain_memory::live, 0);
      },
      runs_max);
  EXPECT_GT(runs, 1000u);
}

}  // namespace
