// Accounts: sums up the tree, limits with their callbacks, the largest payer, and credits that equal charges.
#include <catenet/slab/account.hpp>

#include "fixture.hpp"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

namespace catenet::test {
namespace {

using account_test = slab_test;

TEST_F(account_test, capacity_is_charged_up_to_the_root_and_credited_when_blocks_go_home) {
  ledger process;
  account* listener = account::open(process);
  account* connection = account::open(*listener);
  {
    chain c = chain::copy_of(std::string(10, 'x'));
    c.append(chain::of_size(5000));
    ASSERT_TRUE(connection->pay_for(c));
    EXPECT_EQ(connection->own_bytes(), process.bytes());
    EXPECT_EQ(listener->bytes(), 512u + 5120);
    ASSERT_TRUE(connection->pay_for(c)) << "nobody pays twice";
    EXPECT_EQ(listener->bytes(), 512u + 5120);
    auto twin = c.share();
    EXPECT_EQ(process.bytes(), 512u + 5120 + 4 * sizeof(segment)) << "segments are charged too";
    c.clear();
    EXPECT_EQ(process.bytes(), 512u + 5120 + 4 * sizeof(segment)) << "until the last view ends";
  }
  EXPECT_EQ(process.bytes(), 0u);
  EXPECT_EQ(process.charged(), process.credited());
  connection->close();
  listener->close();
}

TEST_F(account_test, an_account_outlives_its_connection_until_its_blocks_are_home) {
  ledger process;
  chain c = chain::of_size(4096);
  {
    account* connection = account::open(process);
    ASSERT_TRUE(connection->pay_for(c));
    connection->close();
  }
  EXPECT_EQ(process.bytes(), 4096u);
  std::thread([&] {
    pool away{*central};
    c.clear();
  }).join();
  home->turn();
  EXPECT_EQ(process.bytes(), 0u);
  EXPECT_EQ(process.charged(), process.credited());
}

TEST_F(account_test, soft_limits_tell_once_each_way_and_hard_ones_refuse) {
  struct log {
    int over = 0, under = 0, refused = 0;
  } told;
  account_limits limits;
  limits.soft_bytes = 5000;
  limits.hard_bytes = 13'000;
  limits.context = &told;
  limits.over = [](account&, void* l) { ++static_cast<log*>(l)->over; };
  limits.under = [](account&, void* l) { ++static_cast<log*>(l)->under; };
  limits.refused = [](account&, std::uint64_t, void* l) { ++static_cast<log*>(l)->refused; };
  ledger process;
  account* listener = account::open(process, &limits);
  account* one = account::open(*listener);
  account* two = account::open(*listener);
  std::vector<chain> held;
  for (int i = 0; i != 3; ++i) {
    held.push_back(chain::of_size(4096));
    EXPECT_TRUE((i % 2 ? one : two)->pay_for(held.back()));
  }
  EXPECT_EQ(told.over, 1);
  chain more = chain::of_size(4096);
  EXPECT_FALSE(one->pay_for(more));
  EXPECT_EQ(told.refused, 1);
  EXPECT_EQ(more.head()->blk->payer, nullptr);
  EXPECT_EQ(process.bytes(), 3u * 4096);
  held.clear();
  EXPECT_EQ(told.under, 1);
  EXPECT_TRUE(one->pay_for(more));
  more.clear();
  one->close();
  two->close();
  listener->close();
  EXPECT_EQ(process.charged(), process.credited());
}

TEST_F(account_test, a_share_fails_cleanly_at_the_payers_limit) {
  account_limits limits;
  limits.hard_bytes = 4096;
  ledger process;
  account* a = account::open(process, &limits);
  chain c = chain::of_size(4096);
  ASSERT_TRUE(a->pay_for(c));
  EXPECT_FALSE(c.share().has_value());
  EXPECT_EQ(c.validate(), nullptr);
  c.clear();
  a->close();
  EXPECT_EQ(process.bytes(), 0u);
}

// A hundred thousand payers of one size, of which the one that is named pays a little back each time: whoever
// looked through all of them would take minutes.
TEST_F(account_test, one_of_the_largest_is_found_without_a_look_at_the_others) {
  ledger process;
  constexpr std::size_t count = 100'000;
  std::vector<account*> all;
  for (std::size_t i = 0; i != count; ++i) {
    all.push_back(account::open(process));
    ASSERT_TRUE(all.back()->charge(1000));
  }
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i != count; ++i) {
    account* named = process.among_largest();
    ASSERT_GE(named->own_bytes() * 8, 7 * process.bytes() / count) << "at most an eighth below the largest";
    named->credit(1);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  for (account* a : all) {
    a->credit(a->own_bytes());
    a->close();
  }
  EXPECT_EQ(process.charged(), process.credited());
}

TEST_F(account_test, the_largest_payer_is_known_through_random_traffic) {
  ledger process;
  std::mt19937 random{3};
  std::vector<std::pair<account*, std::uint64_t>> all;
  for (int i = 0; i != 50; ++i) all.emplace_back(account::open(process), 0);
  for (int step = 0; step != 20'000; ++step) {
    auto& [a, bytes] = all[random() % all.size()];
    if (random() % 2 == 0) {
      const std::uint64_t n = 1u << random() % 20;
      ASSERT_TRUE(a->charge(n));
      bytes += n;
    } else if (bytes != 0) {
      const std::uint64_t n = 1 + random() % bytes;
      a->credit(n);
      bytes -= n;
    }
    const auto most =
        std::max_element(all.begin(), all.end(), [](auto& x, auto& y) { return x.second < y.second; });
    const account* found = process.largest();
    ASSERT_EQ(found == nullptr ? 0 : found->own_bytes(), most->second);
  }
  for (auto& [a, bytes] : all) {
    a->credit(bytes);
    a->close();
  }
  EXPECT_EQ(process.largest(), nullptr);
  EXPECT_EQ(process.among_largest(), nullptr);
  EXPECT_EQ(process.charged(), process.credited());
}

}  // namespace
}  // namespace catenet::test
