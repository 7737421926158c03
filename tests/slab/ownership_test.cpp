// Checks of ownership: double returns name both sides, missing blocks their renter, stale stamps are told,
// and no block makes a move that is not in the table.
#include <catenet/slab/arena.hpp>
#include <catenet/slab/ownership.hpp>

#include "fixture.hpp"

#include <set>
#include <utility>

namespace catenet::test {
namespace {

// The table, said a second time and in words; whoever changes it has to mean it.
TEST(block_states, move_as_the_table_says_and_in_no_other_way) {
  using enum block_state;
  const std::set<std::pair<block_state, block_state>> wanted{
      {unborn, depot},  {depot, unborn},  {depot, cached}, {cached, depot},
      {cached, rented}, {rented, cached}, {rented, lent},  {lent, rented},
  };
  for (const block_state from : {unborn, depot, cached, rented, lent})
    for (const block_state to : {unborn, depot, cached, rented, lent})
      EXPECT_EQ(legal_move(from, to), wanted.contains({from, to})) << name_of(from) << " to " << name_of(to);
  EXPECT_FALSE(legal_move(static_cast<block_state>(5), depot));
  EXPECT_FALSE(legal_move(depot, static_cast<block_state>(200)));
}

// A block's way through all states, seen from outside.
TEST(block_states, follow_what_happens_to_a_block) {
  depot d{small_depot(4_MiB, {4_KiB})};
  block* b = nullptr;
  {
    pool p{d};
    b = p.rent(0);
    EXPECT_EQ(b->state, block_state::rented);
    p.lend(b);
    EXPECT_EQ(b->state, block_state::lent);
    p.unlend(b);
    EXPECT_EQ(b->state, block_state::rented);
    b->refs = 0;
    p.give(b);
    EXPECT_EQ(b->state, block_state::cached);
    p.spill_all();
    EXPECT_EQ(b->state, block_state::depot);
    ASSERT_EQ(p.rent(0), b) << "the batch that was put down last is the first to come";
    b->refs = 0;
    p.give(b);
    for (std::uint64_t now = 0; now != 5000; now += 100) p.decay(now);
    EXPECT_EQ(b->state, block_state::unborn);
  }
}

#ifdef CATENET_CHECKS

// Every move that the table does not have, one death each.
TEST(ownership_death, a_move_that_is_not_in_the_table_ends_the_process) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  using enum block_state;
  for (const block_state from : {unborn, depot, cached, rented, lent})
    for (const block_state to : {unborn, depot, cached, rented, lent}) {
      block b{};
      b.shift = 12;
      b.state = from;
      if (legal_move(from, to)) {
        detail::move_block(b, to);
        EXPECT_EQ(b.state, to);
      } else {
        EXPECT_DEATH(detail::move_block(b, to),
                     std::string("4096 bytes would go from ") + name_of(from) + " to " + name_of(to));
      }
    }
}

// What each floor would do wrong: lend what is free, carve what is out, spill what is rented.
TEST(ownership_death, illegal_moves_are_caught_where_they_are_made) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        depot d{small_depot()};
        pool p{d};
        block* b = p.rent(0);
        b->refs = 0;
        p.give(b);
        p.lend(b);
      },
      "from cached to lent(.|\n)*rented last(.|\n)*ownership_test");
  EXPECT_DEATH(
      {
        arena a(4_MiB, false);
        block* b = a.carve(0, 20).head;
        b->state = block_state::rented;
        a.uncarve(b);
      },
      "from rented to unborn");
  EXPECT_DEATH(
      {
        depot d{small_depot(4_MiB, size_class_table({1_MiB}))};
        pool p{d};
        arena::run batch = d.take(0);
        batch.head->state = block_state::lent;
        d.put(0, batch);
        (void)p.rent(0);
      },
      "from lent to cached");
}

TEST(ownership_death, a_block_that_somebody_refers_to_is_not_returned) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        depot d{small_depot()};
        pool p{d};
        p.give(p.rent(0));
      },
      "somebody still refers to");
}

TEST(ownership_death, a_double_return_names_both) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        depot d{small_depot()};
        pool p{d};
        block* b = p.rent(0);
        b->refs = 0;
        const tag_scope tag{"the second return"};
        p.give(b);
        p.give(b);
      },
      "nobody holds(.|\n)*ownership_test(.|\n)*ownership_test(.|\n)*the second return");
}

TEST(ownership_death, what_the_kernel_has_is_not_returned) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        depot d{small_depot()};
        pool p{d};
        block* b = p.rent(0);
        p.lend(b);
        p.give(b);
      },
      "the kernel still has");
}

TEST(ownership, the_end_tells_who_holds_what) {
  ::testing::internal::CaptureStderr();
  {
    depot d{small_depot()};
    pool p{d};
    const tag_scope tag{"forgetful"};
    (void)p.rent(1);
  }
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("1 blocks of 4096 bytes"), std::string::npos) << said;
  EXPECT_NE(said.find("ownership_test.cpp"), std::string::npos) << said;
  EXPECT_NE(said.find("forgetful"), std::string::npos) << said;
}

TEST(ownership, a_stale_stamp_is_told_even_when_the_block_is_out_again) {
  depot d{small_depot()};
  pool p{d};
  block* b = p.rent(0);
  const block_stamp stamp{b};
  EXPECT_TRUE(stamp.live());
  b->refs = 0;
  p.give(b);
  EXPECT_FALSE(stamp.live());
  ASSERT_EQ(p.rent(0), b);
  EXPECT_FALSE(stamp.live());
  b->refs = 0;
  p.give(b);
}

#endif

#ifdef CATENET_ASAN
TEST(ownership_death, a_free_block_cannot_be_read) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        depot d{small_depot()};
        pool p{d};
        const std::byte* at = lease::of(100).bytes().data();
        volatile std::byte seen = *at;
        (void)seen;
      },
      "use-after-poison");
}
#endif

}  // namespace
}  // namespace catenet::test
