// A slab for bus tests: small classes, and at the end every block must be home.
#pragma once

#include <catenet/slab/depot.hpp>
#include <catenet/slab/pool.hpp>

#include <gtest/gtest.h>

#include <cstdint>

struct bus_slab {
  catenet::depot blocks{
      {.classes = {512, 4096, 16384, 65536}, .capacity = std::size_t{256} << 20, .huge_pages = false}};
  catenet::pool mine{blocks};

  bus_slab() = default;
  explicit bus_slab(std::size_t capacity)
      : blocks{{.classes = {512, 4096, 16384, 65536}, .capacity = capacity, .huge_pages = false}} {}
  ~bus_slab() {
    mine.turn();
    EXPECT_EQ(rented(), 0u) << "blocks were not given back";
  }
  std::uint64_t rented() const {
    std::uint64_t sum = 0;
    for (const auto& c : blocks.statistics().classes) sum += c.rented + c.lent;
    return sum;
  }
};
