// Checks of ownership: double returns name both sides, missing blocks their renter, stale stamps are told.
#include "fixture.hpp"

#include <catenet/slab/ownership.hpp>

namespace catenet::test {
namespace {

#ifdef CATENET_CHECKS

TEST(ownership_death, a_double_return_names_both) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        depot d{small_depot()};
        pool p{d};
        block* b = p.rent(0);
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
