// Writers that wait for room: in which order they are served, who may give up, and that nobody keeps what is
// not enough.
#include <catenet/bus/flusher.hpp>
#include <catenet/bus/station.hpp>
#include <catenet/bus/writer.hpp>
#include <catenet/engine/task.hpp>

#include "bus_slab.hpp"
#include "bus_writers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <random>
#include <vector>

namespace catenet::bus::testing {
namespace {

using namespace std::chrono_literals;

task<> wait_for_room(writer& w, std::size_t bytes, unsigned number, std::vector<unsigned>& served,
                     std::vector<slot>& slots) {
  slot s = co_await w.reserve(bytes);
  EXPECT_TRUE(s);
  served.push_back(number);
  slots.push_back(std::move(s));
}

TEST(bus_writer_waiting, ten_thousand_are_served_in_order_and_any_may_give_up) {
  bus_slab memory{2_MiB};
  bus::station here;
  flusher out;
  std::vector<lease> all;
  const auto take_all = [&] {
    for (lease l = lease::of(64_KiB); l; l = lease::of(64_KiB)) all.push_back(std::move(l));
  };
  take_all();
  writer w{out, {.block_bytes = 64_KiB}};
  std::vector<unsigned> served;
  std::vector<unsigned> expected;
  std::vector<slot> slots;
  std::vector<task<>> tasks;
  constexpr unsigned count = 10'000;
  for (unsigned i = 0; i != count; ++i) tasks.push_back(wait_for_room(w, 1000, i, served, slots));
  EXPECT_EQ(w.waiting(), count);
  std::mt19937 random(1);
  for (unsigned i = 0; i != count; ++i) {
    if (random() % 4 == 0)
      tasks[i].reset();
    else
      expected.push_back(i);
  }
  EXPECT_FALSE(w.try_reserve(1)) << "others were first";
  unsigned cancelled_late = 0;
  while (served.size() != expected.size()) {
    ASSERT_FALSE(all.empty() && slots.empty());
    if (!all.empty()) all.pop_back();
    const std::size_t before = served.size();
    ASSERT_TRUE(here.wait_until([&] { return served.size() != before || w.waiting() == 0; }, 10s));
    ASSERT_TRUE(std::equal(served.begin(), served.end(), expected.begin())) << "out of order";
    slots.clear();
    if (cancelled_late++ % 3 == 0 && expected.size() > served.size() + 70) {
      tasks[expected[served.size()]].reset();  // the very next
      expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(served.size()));
    }
    out.request();
    out.take().clear();
  }
  EXPECT_EQ(w.waiting(), 0u);
}

// The header counts too: a message as long as the largest block needs another one for it.
TEST(bus_writer_waiting, for_a_message_that_only_its_header_makes_longer_than_a_block) {
  bus_slab memory{2_MiB};
  bus::station here;
  flusher out;
  for (const std::size_t bytes : {4_KiB, 64_KiB}) {
    std::vector<lease> all = every_block();
    writer w{out, {.format = &frame::length_u32, .block_bytes = 4_KiB}};
    std::vector<unsigned> served;
    std::vector<slot> slots;
    const task<> waits = wait_for_room(w, bytes, 0, served, slots);
    for (int i = 0; i != 3; ++i) all.pop_back();
    EXPECT_TRUE(here.wait_until([&] { return waits.done(); }, 20s)) << bytes;
    slots.clear();
  }
}

// Messages that need several of the largest blocks at once, by writers that wait beside one another: nobody
// keeps what is not enough.
TEST(bus_writer_waiting, for_several_blocks_nobody_waits_with_some_in_hand) {
  bus_slab memory{2_MiB};
  bus::station here;
  flusher out;
  for (const std::size_t writers : {1u, 2u, 3u}) {
    std::vector<lease> all = every_block();
    std::list<writer> each;
    std::vector<unsigned> served;
    std::vector<slot> slots;
    std::vector<task<>> tasks;
    for (unsigned i = 0; i != writers; ++i) {
      each.emplace_back(out, writer_options{.block_bytes = 64_KiB});
      tasks.push_back(wait_for_room(each.back(), 150'000, i, served, slots));
    }
    for (int i = 0; i != 3; ++i) {
      EXPECT_TRUE(served.empty()) << "three blocks are needed";
      all.pop_back();
      for (int turns = 0; turns != 5; ++turns) here.wait(1ms);
    }
    for (std::size_t i = 1; i <= writers; ++i) {
      ASSERT_TRUE(here.wait_until([&] { return served.size() == i; }, 20s)) << writers << " writers: " << i;
      slots.clear();
      each.remove_if([&](writer& w) { return w.waiting() == 0; });
      out.take().clear();
    }
    tasks.clear();
  }
}

}  // namespace
}  // namespace catenet::bus::testing
