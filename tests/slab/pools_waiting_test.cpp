// Waiting for blocks that another pool has: what comes back there goes to who waits here, in order, and
// caches of other classes make room.
#include <catenet/slab/waiter.hpp>

#include "asker.hpp"
#include "fixture.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace catenet::test {
namespace {

// Two pools that one thread uses in turn.
class two_pools : public ::testing::Test {
 protected:
  explicit two_pools(size_class_table classes) : d{small_depot(2_MiB, classes)} {}
  void TearDown() override {
    pool::make_current(&there);
    there.turn();
    pool::make_current(&here);
    here.turn();
    EXPECT_EQ(census(d), "");
    EXPECT_EQ(d.wanted(), 0u);
  }
  template <typename Do>
  void over_there(Do&& what) {
    pool::make_current(&there);
    what();
    pool::make_current(&here);
  }

  depot d;
  pool there{d}, here{d};
};

class waiting_for_another : public two_pools {
 protected:
  waiting_for_another() : two_pools({64_KiB}) {}

  // The other pool has everything, and one here waits for a block of it.
  void wait_for_what_they_hold() {
    over_there([&] {
      while (lease l = lease::of(64_KiB)) held.push_back(std::move(l));
    });
    EXPECT_EQ(here.rent_or_wait(a), nullptr);
  }

  std::vector<lease> held;
  std::vector<int> order;
  asker a{priority::read, order, 1};
};

// Who knows that others wait has no more use of what comes back: it goes at once, not with the next turn.
TEST_F(waiting_for_another, a_return_is_out_of_reach_of_the_next_rent) {
  wait_for_what_they_hold();
  over_there([&] {
    there.turn();
    held.pop_back();
    EXPECT_EQ(there.rent(0), nullptr) << "it is the waiter's";
  });
  here.turn();
  EXPECT_EQ(order, (std::vector{1}));
  over_there([&] { held.clear(); });
}

// When nobody waits any more, both pools cache as they did: a return costs no read-modify-write.
TEST_F(waiting_for_another, afterwards_caches_are_what_they_were) {
  wait_for_what_they_hold();
  over_there([&] {
    there.turn();
    held.clear();
    there.turn();
  });
  for (int i = 0; i != 2; ++i) here.turn();
  EXPECT_EQ(order, (std::vector{1}));
  a.got.reset();
  const auto pairs_are_free = [&] {
    pool::current()->turn();
    { const lease warm = lease::of(64_KiB), warmer = lease::of(64_KiB); }
    const std::uint64_t before = atomic_rmw_count();
    for (int i = 0; i != 10; ++i) {
      const lease one = lease::of(64_KiB), two = lease::of(64_KiB);
      EXPECT_TRUE(two);
    }
    EXPECT_EQ(atomic_rmw_count(), before);
  };
  pairs_are_free();
  over_there(pairs_are_free);
}

class waiting_for_a_span : public two_pools {
 protected:
  waiting_for_a_span() : two_pools({4_KiB, 1_MiB}) {}
};

// Of the class that is wanted nobody has a block, but another cache's small ones stand where it could be.
TEST_F(waiting_for_a_span, caches_of_other_classes_are_spilled_once) {
  const lease one = lease::of(1_MiB);
  over_there([&] {
    std::vector<lease> small;
    while (lease l = lease::of(4096)) small.push_back(std::move(l));
    EXPECT_EQ(small.size(), 256u);
  });
  ASSERT_GT(d.statistics().classes[0].cached, 0u);
  struct big : waiter {
    big() : waiter(1, priority::read, [](waiter& w, lease l) { static_cast<big&>(w).got = std::move(l); }) {}
    lease got;
  } w;
  EXPECT_EQ(here.rent_or_wait(w), nullptr);
  over_there([&] { there.turn(); });
  here.turn();
  EXPECT_TRUE(w.got) << "the small ones lie in a cache";
}

// Between pools as within one: the more urgent first, then who came first.
TEST(waiting, pools_are_served_by_priority_then_first_in_first_out) {
  depot d{small_depot(2_MiB, {1_MiB})};
  pool holder{d}, first{d}, second{d}, third{d};
  pool::make_current(&holder);
  std::vector<lease> held;
  while (lease l = lease::of(1_MiB)) held.push_back(std::move(l));
  ASSERT_EQ(held.size(), 2u);
  std::vector<int> order;
  asker a{priority::read, order, 1}, b{priority::read, order, 2}, c{priority::transmit, order, 3};
  const std::array<std::pair<pool*, asker*>, 3> all{{{&first, &a}, {&second, &b}, {&third, &c}}};
  for (const auto& [at, who] : all) {
    pool::make_current(at);
    EXPECT_EQ(at->rent_or_wait(*who), nullptr);
  }
  for (const std::size_t served : {1u, 2u, 3u}) {
    pool::make_current(&holder);
    if (!held.empty()) held.pop_back();
    holder.turn();
    for (int turns = 0; turns != 2; ++turns)
      for (const auto& [at, who] : all) {
        pool::make_current(at);
        at->turn();
        if (order.size() == served) who->got.reset();
      }
    EXPECT_GE(order.size(), served);
  }
  EXPECT_EQ(order, (std::vector{3, 1, 2}));
  pool::make_current(&third);
}

}  // namespace
}  // namespace catenet::test
