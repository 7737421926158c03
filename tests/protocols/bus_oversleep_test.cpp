// How early a thread gets up: as its sleeps have turned out, within bounds.
#include "bus/oversleep.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace {

using catenet::bus::detail::oversleep;
using namespace std::chrono_literals;

TEST(bus_oversleep, follows_the_worst_at_once_and_forgets_it_slowly) {
  oversleep o;
  EXPECT_EQ(o.margin(), oversleep::least);
  o.note(90us);
  EXPECT_EQ(o.margin(), 90us - oversleep::tolerated);
  o.note(50us);
  EXPECT_LT(o.margin(), 70us);
  EXPECT_GT(o.margin(), 65us) << "one good sleep proves nothing";
  for (int i = 0; i != 1000; ++i) o.note(50us);
  EXPECT_LT(o.margin(), 31us);
  EXPECT_GE(o.margin(), 30us);
}

TEST(bus_oversleep, stays_within_its_bounds) {
  oversleep o;
  o.note(20ms);
  EXPECT_EQ(o.margin(), oversleep::most) << "what a busy machine does is not waited for awake";
  for (int i = 0; i != 2000; ++i) o.note(0us);
  EXPECT_GE(o.margin(), oversleep::least);
  EXPECT_LT(o.margin(), oversleep::least + 1us);
}

}  // namespace
