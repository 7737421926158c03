// Whose turn it is to receive into a large block.
#include "large_receives.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

using namespace catenet;

constexpr std::uint64_t block_bytes = 256 * 1024;

// Serves once, each as if a whole block came, and returns whose turn it was.
std::vector<std::uint32_t> served(large_receives& q) {
  std::vector<std::uint32_t> slots;
  q.serve([&](handle h) {
    slots.push_back(h.slot);
    return block_bytes;
  });
  return slots;
}

large_receives five() {
  large_receives q;
  for (std::uint32_t slot = 0; slot != 5; ++slot) q.queue({0, slot, 1});
  return q;
}

TEST(large_receives, a_turn_serves_as_much_as_stays_in_the_cache_first_come_first_served) {
  large_receives q = five();
  EXPECT_EQ(served(q), (std::vector<std::uint32_t>{0, 1}));
  q.begin_turn();
  q.queue({0, 7, 1});
  EXPECT_EQ(served(q), (std::vector<std::uint32_t>{2, 3}));
  q.begin_turn();
  EXPECT_EQ(served(q), (std::vector<std::uint32_t>{4, 7}));
  EXPECT_TRUE(q.empty());
}

TEST(large_receives, what_a_turn_sends_counts_but_one_is_always_served) {
  large_receives q = five();
  q.sends(2 * block_bytes);
  EXPECT_EQ(served(q), (std::vector<std::uint32_t>{0}));
  q.begin_turn();
  q.sends(100 * block_bytes);
  EXPECT_EQ(served(q), (std::vector<std::uint32_t>{1}));
  q.begin_turn();
  EXPECT_EQ(served(q), (std::vector<std::uint32_t>{2, 3}));
}

TEST(large_receives, who_has_gone_takes_nobodys_turn) {
  large_receives q = five();
  std::vector<std::uint32_t> slots;
  q.serve([&](handle h) {
    slots.push_back(h.slot);
    return h.slot == 1 ? block_bytes : 0;
  });
  EXPECT_EQ(slots, (std::vector<std::uint32_t>{0, 1, 2, 3, 4}));
}

}  // namespace
