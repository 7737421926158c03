// Stations on an engine's core: alarms finer than the core's timers, flushes by time, channels with plain
// threads, and a core that goes on as before when its station has ended.
#include <catenet/bus/channel.hpp>
#include <catenet/bus/flusher.hpp>
#include <catenet/bus/station.hpp>
#include <catenet/bus/writer.hpp>
#include <catenet/engine/task.hpp>
#include <catenet/slab/waiter.hpp>

#include "support/engine_host.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace catenet::test {
namespace {

using namespace std::chrono_literals;

// Sets itself anew each time, `count` times.
struct alarms_in_a_row {
  alarms_in_a_row(bus::station& at, unsigned count) : left(count), one(at, [this] { again(); }) { again(); }
  void again() {
    if (left-- == 0)
      over.set_value();
    else
      one.set(bus::alarm::clock::now() + 50us);
  }
  unsigned left;
  bus::alarm one;
  std::promise<void> over;
};

TEST(bus_station_session, alarms_on_a_core_are_not_counted_in_its_milliseconds) {
  engine_host host({}, {}, "");
  host.start();
  std::optional<bus::station> here;
  host.on_core([&] { here.emplace(*core::current()); });
  // By a timer of milliseconds a hundred in a row take a hundred milliseconds. The machine may be busy: one
  // try has to be faster.
  auto best = std::chrono::nanoseconds::max();
  for (int tries = 0; tries != 50 && best > 60ms; ++tries) {
    std::unique_ptr<alarms_in_a_row> row;
    const auto begun = std::chrono::steady_clock::now();
    host.on_core([&] { row = std::make_unique<alarms_in_a_row>(*here, 100); });
    row->over.get_future().get();
    best = std::min<std::chrono::nanoseconds>(best, std::chrono::steady_clock::now() - begun);
    host.on_core([&] { row.reset(); });
  }
  EXPECT_LT(best, 60ms);
  EXPECT_GE(best, 100 * 50us) << "none may come before its time";
  host.on_core([&] { here.reset(); });
  host.stop();
}

TEST(bus_station_session, flushes_by_time_to_a_core) {
  engine_host host({}, {}, "");
  host.start();
  std::optional<bus::station> here;
  std::optional<bus::flusher> out;
  std::atomic<std::uint64_t> got{0};
  host.on_core([&] {
    here.emplace(*core::current());
    out.emplace(*here, bus::flush_policy{.bytes = 0, .count = 0, .after = 300us, .end_of_turn = false},
                [&](chain&& all) { got += all.bytes(); });
  });
  {
    pool mine{host.net().slab()};
    bus::writer w{*out};
    for (std::uint64_t i = 1; i <= 50; ++i) {
      ASSERT_TRUE(w.write("sixteen bytes ab"));
      ASSERT_TRUE(eventually([&] { return got == i * 16; })) << i;
    }
  }
  host.on_core([&] {
    out.reset();
    here.reset();
  });
  host.stop();
}

task<> receive_all(bus::receiver& rx, std::vector<std::string>& got, std::promise<void>& over) {
  while (auto p = co_await rx.receive()) got.push_back(std::move(*p).take().to_string());
  over.set_value();
}

TEST(bus_station_session, receives_on_a_core_what_a_plain_thread_sends) {
  engine_host host({}, {}, "");
  host.start();
  auto [tx, rx] = bus::make_channel(8, bus::producers::one);
  std::optional<bus::station> here;
  std::optional<task<>> receiving;
  std::vector<std::string> got;
  std::promise<void> over;
  host.on_core([&] {
    here.emplace(*core::current());
    receiving.emplace(receive_all(rx, got, over));
  });
  {
    pool mine{host.net().slab()};
    bus::station there;
    for (int i = 0; i != 1000; ++i) {
      bus::send_packet p = *bus::packet::copy_of(std::to_string(i))->clone().send();
      ASSERT_EQ(tx.send_for(p, 60s), bus::push_result::sent);
    }
    tx.close();
    over.get_future().get();
  }
  host.on_core([&] {
    receiving.reset();
    rx.close();
    here.reset();
  });
  ASSERT_EQ(got.size(), 1000u);
  for (int i = 0; i != 1000; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], std::to_string(i));
  host.stop();
}

struct counted_waiter : waiter {
  explicit counted_waiter(size_class c)
      : waiter(c, priority::read, [](waiter& w, lease) { ++static_cast<counted_waiter&>(w).served; }) {}
  std::atomic<int> served{0};
};

// Memory that another thread gives back wakes the core also when a station has been there.
TEST(bus_station_session, its_end_leaves_the_core_to_be_woken_for_blocks) {
  // So little memory that the core never wakes to look after it.
  engine_options little;
  little.slab.capacity = 4_MiB;
  engine_host host({}, little, "");
  host.start();
  host.on_core([] { const bus::station was_here{*core::current()}; });
  pool mine{host.net().slab()};
  const size_class largest = mine.classes().fitting(block_size_max);
  std::vector<lease> all;
  while (lease l{mine.rent(largest)}) all.push_back(std::move(l));
  counted_waiter who{largest};
  host.on_core([&] { EXPECT_EQ(pool::current()->rent_or_wait(who), nullptr); });
  // Until the core sleeps for good.
  std::uint64_t turns = 0;
  int still = 0;
  ASSERT_TRUE(eventually(
      [&] {
        sleep_ms(100);
        const std::uint64_t before = std::exchange(turns, host.statistics().turns);
        still = turns == before ? still + 1 : 0;
        return still == 5;
      },
      60'000));
  EXPECT_EQ(who.served, 0);
  all.pop_back();
  mine.turn();
  EXPECT_TRUE(eventually([&] { return who.served == 1; }, 20'000));
  host.on_core([&] { who.cancel(); });
  all.clear();
  mine.turn();
  host.on_core([] {});
  host.stop();
}

}  // namespace
}  // namespace catenet::test
