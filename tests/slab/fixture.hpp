// What the slab's tests share: a depot and a pool of their own, sums that must hold, and faults to order.
#pragma once

#include <catenet/slab/chain.hpp>
#include <catenet/slab/depot.hpp>
#include <catenet/slab/pool.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace catenet::test {

inline depot_options small_depot(std::size_t capacity = 64_MiB, size_class_table classes = {}) {
  depot_options options;
  options.classes = classes;
  options.capacity = capacity;
  options.huge_pages = false;
  options.transmit_reserve = 0;
  return options;
}

/// What is not at home, or why the sums do not add up; empty when all is well.
inline std::string conservation(const depot& d) {
  for (const class_statistics& c : d.statistics().classes)
    if (c.total != c.rented + c.cached + c.in_depot + c.lent)
      return "class " + std::to_string(c.size) + ": total " + std::to_string(c.total) + " is not rented " +
             std::to_string(c.rented) + " + cached " + std::to_string(c.cached) + " + in depot " +
             std::to_string(c.in_depot) + " + lent " + std::to_string(c.lent);
  return {};
}

/// Counts the blocks by the state each of them is in, and holds that against the sums, which are told from
/// batches; empty when both say the same. While nothing moves.
inline std::string census(depot& d) {
  std::array<std::array<std::uint64_t, block_state_count>, size_class_count_max> counted{};
  arena& a = d.memory();
  for (std::size_t span = 0; span != a.extent_count() * spans_per_extent; ++span) {
    const block* first = a.first_block(span);
    if (a.record(span).shift == 0 || first->shift != a.record(span).shift) continue;  // or inside of a row
    for (std::uint32_t i = 0; i != arena::blocks_in_span(first); ++i) {
      const block* b = a.sibling(first, i);
      if (b->state < block_state::rented && (b->refs != 0 || b->in_flight != 0 || b->payer != nullptr))
        return std::string{"somebody refers to a free block that is "} + name_of(b->state);
      ++counted[b->cls][static_cast<std::size_t>(b->state)];
    }
  }
  const slab_statistics told = d.statistics();
  for (std::size_t c = 0; c != told.classes.size(); ++c) {
    const class_statistics& k = told.classes[c];
    const std::array<std::uint64_t, block_state_count> sums{0, k.in_depot, k.cached, k.rented, k.lent};
    for (std::size_t s = 0; s != block_state_count; ++s)
      if (counted[c][s] != sums[s])
        return "class " + std::to_string(k.size) + ": " + std::to_string(counted[c][s]) + " blocks are " +
               name_of(static_cast<block_state>(s)) + ", told are " + std::to_string(sums[s]);
  }
  return conservation(d);
}

inline std::uint64_t out(const depot& d) {
  std::uint64_t sum = 0;
  for (const class_statistics& c : d.statistics().classes) sum += c.rented + c.lent;
  return sum;
}

/// A test with a depot and a pool; at its end everything must be home.
class slab_test : public ::testing::Test {
 protected:
  void TearDown() override {
    home->turn();
    EXPECT_EQ(census(*central), "");
    EXPECT_EQ(out(*central), 0u) << "blocks are still out at the end of the test";
  }

  std::unique_ptr<depot> central = std::make_unique<depot>(small_depot());
  std::unique_ptr<pool> home = std::make_unique<pool>(*central);
};

/// While it lives, allocation number `k` (from 0) fails, or every one from k on when `all_after` is set.
class fault {
 public:
  explicit fault(std::uint64_t k, bool all_after = false) {
    countdown() = k;
    sticky() = all_after;
    struck() = false;
    detail::injected_fault = [] {
      if (countdown() != 0) return --countdown(), false;
      if (struck() && !sticky()) return false;
      return struck() = true;
    };
  }
  ~fault() { detail::injected_fault = nullptr; }
  fault(const fault&) = delete;
  fault& operator=(const fault&) = delete;
  /// Whether allocation k was reached.
  [[nodiscard]] bool happened() const { return struck(); }

 private:
  static std::uint64_t& countdown() {
    static std::uint64_t value = 0;
    return value;
  }
  static bool& sticky() {
    static bool value = false;
    return value;
  }
  static bool& struck() {
    static bool value = false;
    return value;
  }
};

}  // namespace catenet::test
