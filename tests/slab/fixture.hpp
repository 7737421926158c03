// What the slab's tests share: a depot and a pool of their own, sums that must hold, and faults to order.
#pragma once

#include <catenet/slab/chain.hpp>
#include <catenet/slab/depot.hpp>
#include <catenet/slab/pool.hpp>

#include <gtest/gtest.h>

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
    EXPECT_EQ(conservation(*central), "");
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
