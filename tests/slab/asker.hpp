// One who waits for a block, and a depot in which everybody has to.
#pragma once

#include <catenet/slab/waiter.hpp>

#include "fixture.hpp"

#include <memory>
#include <vector>

namespace catenet::test {

// A depot of two 1 MiB blocks and nothing else, both taken.
class waiting_test : public ::testing::Test {
 protected:
  void SetUp() override {
    while (lease l = lease::of(1_MiB)) held.push_back(std::move(l));
    ASSERT_EQ(held.size(), 2u);
  }
  void TearDown() override {
    held.clear();
    home->turn();
    EXPECT_EQ(conservation(central), "");
    EXPECT_EQ(out(central), 0u);
    EXPECT_EQ(central.wanted(), 0u);
  }

  depot central{small_depot(2_MiB, {1_MiB})};
  std::unique_ptr<pool> home = std::make_unique<pool>(central);
  std::vector<lease> held;
};

/// Notes its number down when it is served, and keeps the block.
struct asker : waiter {
  asker(priority p, std::vector<int>& to, int number)
      : waiter(0, p, &asker::served_now), order(to), name(number) {}
  static void served_now(waiter& w, lease l) {
    auto& self = static_cast<asker&>(w);
    EXPECT_TRUE(l);
    EXPECT_FALSE(w.waiting());
    self.order.push_back(self.name);
    self.got = std::move(l);
  }
  std::vector<int>& order;
  int name;
  lease got;
};

}  // namespace catenet::test
