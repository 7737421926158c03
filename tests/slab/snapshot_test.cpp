// Snapshots: what they say of blocks that move while they are taken, and whether it is what the blocks
// themselves say.
#include "fixture.hpp"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace catenet::test {
namespace {

using namespace std::chrono_literals;

// Swings around the edge of a batch of 64, so that its cache swaps its lists each time; holds 127 or 128.
void swing(depot& d, std::atomic<bool>& ready, const std::atomic<bool>& stop) {
  pool p{d};
  std::vector<lease> held;
  const auto rent = [&](int count) {
    for (int i = 0; i != count; ++i) held.emplace_back(p.rent(0));
  };
  rent(130);        // of three batches 62 are left
  held.resize(65);  // the 65th that lies there makes a spare list of them; 62 more
  rent(62);
  ready = true;
  while (!stop) {
    rent(1);
    held.pop_back();
  }
}

// Takes a batch, holds at most one block of it, and puts the batch down, in parts and as a whole.
void refill_and_spill(depot& d, const std::atomic<bool>& stop) {
  pool p{d};
  std::uint64_t now = 0;
  while (!stop) {
    { const lease one{p.rent(1)}; }
    for (int i = 0; i != 2; ++i) p.decay(now += 100);
    p.spill_all();
    for (int i = 0; i != 200 && !stop; ++i) (void)d.wanted();
  }
}

// What a pool's batches add up to, and what is written on each block, in every place a block can be.
TEST(snapshot, says_what_each_block_says) {
  depot_options options = small_depot(16_MiB, {512, 4_KiB, 64_KiB});
  options.transmit_reserve = 4;
  depot d{options};
  pool p{d};
  std::vector<lease> held;
  for (int i = 0; i != 300; ++i) held.emplace_back(p.rent(static_cast<size_class>(i % 3)));
  EXPECT_EQ(census(d), "");
  chain sent = chain::of_size(10'000);
  sent.mark_in_flight(true);
  held.resize(100);
  EXPECT_EQ(census(d), "") << "with a spare list, a reserve and blocks that the kernel has";
  EXPECT_GT(d.statistics().classes[1].lent, 0u);
  sent.mark_in_flight(false);
  for (std::uint64_t now = 0; now != 3000; now += 100) {
    p.decay(now);
    ASSERT_EQ(census(d), "") << "cold after " << now << " ms";
  }
  const lease urgent{p.rent_for(1, priority::transmit)};
  held.clear();
  p.spill_all();
  EXPECT_EQ(census(d), "");
}

TEST(snapshot, that_is_exact_is_one_cut_while_cores_move_blocks) {
  depot d{small_depot(64_MiB, {512, 4_KiB})};
  std::atomic<bool> ready{false}, stop{false};
  std::thread one([&] { swing(d, ready, stop); }), other([&] { refill_and_spill(d, stop); });
  while (!ready) std::this_thread::yield();
  std::uint64_t exact = 0, seen = 0, wrong = 0;
  for (const auto end = std::chrono::steady_clock::now() + 1s; std::chrono::steady_clock::now() < end;) {
    const slab_statistics s = d.statistics();
    ++seen;
    if (!s.exact) continue;
    ++exact;
    if (s.classes[0].rented < 127 || s.classes[0].rented > 128 || s.classes[1].rented > 1) ++wrong;
  }
  stop = true;
  one.join();
  other.join();
  EXPECT_GT(exact, 0u) << "of " << seen;
  EXPECT_EQ(wrong, 0u) << "of " << exact << " of " << seen;
}

}  // namespace
}  // namespace catenet::test
