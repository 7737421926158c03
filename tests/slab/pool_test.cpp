// Pool and depot: batches, the sums, capacity, lending, nesting, two depots, and the hand-over between
// threads.
#include <catenet/slab/view.hpp>

#include "fixture.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace catenet::test {
namespace {

class pool_test : public slab_test {
 protected:
  class_statistics of(size_class c) const { return central->statistics().classes[c]; }
  size_class four = central->classes().fitting(4096);
};

TEST_F(pool_test, rents_each_block_once) {
  std::set<block*> seen;
  for (int i = 0; i != 5000; ++i) {
    block* b = home->rent(four);
    ASSERT_NE(b, nullptr);
    ASSERT_TRUE(seen.insert(b).second);
    ASSERT_EQ(b->refs, 1u);
    ASSERT_EQ(b->state, block_state::rented);
    ASSERT_EQ(b->payer, nullptr);
    ASSERT_EQ(b->home, home->id());
    if (i % 1000 == 0) {
      ASSERT_EQ(of(four).rented, seen.size());
      ASSERT_EQ(conservation(*central), "");
    }
  }
  for (block* b : seen) {
    b->refs = 0;
    home->give(b);
  }
  EXPECT_EQ(of(four).rented, 0u);
}

TEST_F(pool_test, sums_hold_through_random_traffic_of_every_class) {
  std::mt19937 random{5};
  std::vector<block*> held;
  for (int i = 0; i != 20'000; ++i) {
    if (held.empty() || random() % 100 < 52) {
      block* b = home->rent(static_cast<size_class>(random() % central->classes().count()));
      if (b != nullptr) held.push_back(b);
    } else {
      std::swap(held[random() % held.size()], held.back());
      held.back()->refs = 0;
      home->give(held.back());
      held.pop_back();
    }
    if (i % 100 == 0) {
      ASSERT_EQ(census(*central), "");
      ASSERT_EQ(out(*central), held.size());
    }
    if (i % 3000 == 0) home->spill_all();
    if (i % 700 == 0) home->decay(static_cast<std::uint64_t>(i));
  }
  for (block* b : held) {
    b->refs = 0;
    home->give(b);
  }
}

TEST_F(pool_test, keeps_at_most_two_batches_of_a_class) {
  std::vector<block*> held;
  for (int i = 0; i != 1000; ++i) held.push_back(home->rent(four));
  for (block* b : held) {
    b->refs = 0;
    home->give(b);
  }
  EXPECT_LE(of(four).cached, 2 * central->batch(four) + 2);
  home->spill_all();
  EXPECT_EQ(of(four).cached, 0u);
  EXPECT_EQ(of(four).in_depot, of(four).total);
}

TEST_F(pool_test, swings_around_a_batch_edge_without_the_depot) {
  std::vector<block*> held;
  for (std::uint32_t i = 0; i != central->batch(four); ++i) held.push_back(home->rent(four));
  const auto before = of(four);
  for (int i = 0; i != 1000; ++i) {
    block* b = home->rent(four);
    b->refs = 0;
    home->give(b);
  }
  EXPECT_LE(of(four).refills, before.refills + 1);
  EXPECT_EQ(of(four).spills, before.spills);
  for (block* b : held) {
    b->refs = 0;
    home->give(b);
  }
}

TEST_F(pool_test, says_null_at_the_capacity_and_goes_on_after) {
  depot tight{small_depot(2_MiB)};
  {
    pool p{tight};
    std::vector<lease> held;
    while (lease l = lease::of(1_MiB)) held.push_back(std::move(l));
    EXPECT_EQ(held.size(), 2u);
    EXPECT_EQ(p.rent(0), nullptr);
    EXPECT_EQ(conservation(tight), "");
    held.pop_back();
    EXPECT_TRUE(lease::of(1_MiB));
  }
  EXPECT_EQ(conservation(tight), "");
  EXPECT_EQ(out(tight), 0u);
}

TEST_F(pool_test, tells_what_is_lent) {
  chain c = chain::of_size(10'000);
  c.mark_in_flight(true);
  EXPECT_GT(of(four).lent + of(2).lent, 0u);
  EXPECT_EQ(census(*central), "");
  c.mark_in_flight(false);
  EXPECT_EQ(of(four).lent + of(2).lent, 0u);
}

TEST_F(pool_test, is_current_and_the_one_before_comes_back) {
  EXPECT_EQ(pool::current(), home.get());
  depot other{small_depot()};
  {
    pool inner{other};
    EXPECT_EQ(pool::current(), &inner);
    EXPECT_TRUE(lease::of(100));
  }
  EXPECT_EQ(pool::current(), home.get());
  EXPECT_EQ(out(other), 0u);
}

TEST_F(pool_test, a_lease_is_unique_and_gives_back) {
  lease a = lease::of(3000);
  EXPECT_EQ(a.bytes().size(), 4096u);
  lease b = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_EQ(of(four).rented, 1u);
  b = lease::of(60'000);
  EXPECT_EQ(of(four).rented, 0u);
  EXPECT_EQ(lease::of(50_MiB).bytes().size(), 1_MiB) << "the largest there is";
  EXPECT_TRUE(lease{}.bytes().empty());
}

TEST_F(pool_test, a_reservation_returns_what_was_not_used) {
  chain c;
  { reservation given_up = c.reserve(2000); }
  EXPECT_EQ(out(*central), 0u);
  reservation r = c.reserve(2000);
  ASSERT_TRUE(r);
  std::fill(r.bytes().begin(), r.bytes().end(), std::byte{'a'});
  r.commit(10);
  EXPECT_EQ(c.to_string(), "aaaaaaaaaa");
  reservation tail = c.reserve(100);
  EXPECT_EQ(tail.bytes().size(), 4086u) << "the tail's free room is used";
  tail.commit(0);
  auto twin = c.share();
  reservation fresh = c.reserve(100);
  EXPECT_EQ(fresh.bytes().size(), 512u) << "a shared tail is never written behind";
  fresh.commit(1);
  EXPECT_EQ(c.segment_count(), 2u);
}

TEST_F(pool_test, a_block_in_flight_is_not_written_behind) {
  chain c = chain::copy_of("abc");
  c.mark_in_flight(true);
  ASSERT_TRUE(c.append_copy("def"));
  EXPECT_EQ(c.segment_count(), 2u);
  c.mark_in_flight(false);
  chain with_room{lease::of(4096), 100, 50};
  with_room.mark_in_flight(true);
  EXPECT_EQ(with_room.headroom(), 0u) << "nor in front";
  with_room.mark_in_flight(false);
  EXPECT_EQ(with_room.headroom(), 100u);
}

TEST_F(pool_test, views_count_one_block) {
  view a{lease::of(4096), 10, 100};
  {
    view b = a, narrow = a.part(50, 1000);
    EXPECT_EQ(narrow.bytes().data(), a.bytes().data() + 50);
    EXPECT_EQ(narrow.bytes().size(), 50u);
    auto c = b.to_chain();
    ASSERT_TRUE(c);
    EXPECT_EQ(c->bytes(), 100u);
    a = view{};
    EXPECT_EQ(out(*central), 1u);
  }
  EXPECT_EQ(out(*central), 0u);
}

// ---- between threads
// -----------------------------------------------------------------------------------------

TEST_F(pool_test, what_is_dropped_elsewhere_comes_home) {
  std::vector<chain> chains;
  for (int i = 0; i != 500; ++i) chains.push_back(chain::of_size(4096));
  std::thread([&] {
    pool away{*central};
    chains.clear();
    away.turn();
  }).join();
  EXPECT_EQ(out(*central), 500u) << "not before the home's turn";
  home->turn();
  EXPECT_EQ(out(*central), 0u);
}

TEST_F(pool_test, a_thread_without_a_pool_may_drop_and_consume) {
  chain c = chain::of_size(100'000), d = chain::of_size(5000);
  std::thread([&] {
    c.clear();
    d.consume(3000);
    d.clear();
  }).join();
  home->turn();
  EXPECT_EQ(out(*central), 0u);
}

TEST_F(pool_test, elsewhere_a_chain_can_be_read_split_and_shared) {
  const std::string text(9000, 'q');
  chain c = chain::copy_of(text);
  ASSERT_TRUE(c.append_constant("tail"));
  std::thread([&] {
    pool away{*central};
    EXPECT_EQ(c.to_string(), text + "tail");
    auto front = c.split(4500);
    ASSERT_TRUE(front);
    auto twin = c.share(1, 4000);
    ASSERT_TRUE(twin);
    auto again = twin->share();
    ASSERT_TRUE(again);
    front->clear();
    c.clear();
    EXPECT_EQ(again->to_string(), std::string(4000, 'q'));
    EXPECT_EQ(again->validate(), nullptr);
    ASSERT_TRUE(again->append_copy("mine"));
    EXPECT_EQ(again->to_string(), std::string(4000, 'q') + "mine");
  }).join();
  home->turn();
}

TEST_F(pool_test, a_chain_outlives_the_thread_that_made_it) {
  chain c;
  std::thread([&] {
    pool maker{*central};
    c = chain::copy_of(std::string(20'000, 'z'));
  }).join();
  EXPECT_EQ(c.to_string(), std::string(20'000, 'z'));
  auto half = c.split(9'999);
  ASSERT_TRUE(half);
  c.clear();
  half->clear();
  home->turn();
  EXPECT_EQ(out(*central), 0u) << "the home has ended: whoever sends there settles for it";
}

TEST_F(pool_test, a_chain_outlives_the_pool_and_goes_from_a_bare_thread) {
  chain c;
  std::thread([&] {
    pool maker{*central};
    c = chain::copy_of(std::string(20'000, 'z'));
  }).join();
  std::thread([&] { c.clear(); }).join();
  EXPECT_EQ(out(*central), 0u);
}

TEST_F(pool_test, foreign_memory_is_released_once_and_at_home) {
  static std::atomic<int> released{0};
  static std::thread::id where;
  released = 0;
  char memory[100] = "foreign";
  chain c;
  ASSERT_TRUE(c.append_foreign(
      memory, 7, [](void*, void*, std::size_t) { ++released, where = std::this_thread::get_id(); }, nullptr));
  std::thread([&] {
    pool away{*central};
    auto twin = c.share();
    ASSERT_TRUE(twin);
    c.clear();
    twin->clear();
  }).join();
  EXPECT_EQ(released, 0);
  home->turn();
  EXPECT_EQ(released, 1);
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST_F(pool_test, two_depots_in_a_process_never_mix) {
  depot other{small_depot()};
  std::thread([&] {
    pool mine{other};
    std::vector<chain> from_both;
    for (int i = 0; i != 300; ++i) from_both.push_back(chain::of_size(4096));
    std::thread([&] {
      pool third{*central};
      from_both.push_back(chain::of_size(4096));
      from_both.erase(from_both.begin(), from_both.begin() + 150);
    }).join();
    mine.turn();
  }).join();
  EXPECT_EQ(conservation(other), "");
  EXPECT_EQ(out(other), 0u);
  for (block* b : {home->rent(four), home->rent(four)}) {
    EXPECT_EQ(central->memory().find(b->data), b);
    EXPECT_EQ(other.memory().find(b->data), nullptr);
    b->refs = 0;
    home->give(b);
  }
}

TEST_F(pool_test, many_threads_hand_chains_around) {
  constexpr int threads = 4, rounds = 3000;
  struct box {
    std::mutex lock;
    std::vector<chain> chains;
  };
  std::vector<box> boxes(threads);
  std::vector<std::thread> all;
  for (int t = 0; t != threads; ++t)
    all.emplace_back([&, t] {
      pool p{*central};
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i != rounds; ++i) {
        chain c = chain::of_size(1 + random() % 9000);
        if (random() % 4 == 0)
          if (auto twin = c.share()) c.append(std::move(*twin));
        {
          box& to = boxes[random() % threads];
          const std::lock_guard lock(to.lock);
          to.chains.push_back(std::move(c));
        }
        std::vector<chain> mine;
        {
          const std::lock_guard lock(boxes[static_cast<std::size_t>(t)].lock);
          mine.swap(boxes[static_cast<std::size_t>(t)].chains);
        }
        for (chain& m : mine) {
          ASSERT_EQ(m.validate(), nullptr);
          auto front = m.split(m.bytes() / 2);
          ASSERT_TRUE(front);
        }
        p.turn();
        if (i % 500 == 0) (void)central->statistics();
      }
    });
  for (std::thread& t : all) t.join();
  boxes.clear();
}

}  // namespace
}  // namespace catenet::test
