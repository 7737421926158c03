// Writers on several threads, whose flusher is on one more: each writer's order is kept, and nothing is lost.
#include <catenet/bus/flusher.hpp>
#include <catenet/bus/station.hpp>
#include <catenet/bus/writer.hpp>
#include <catenet/engine/task.hpp>

#include "bus_slab.hpp"
#include "bus_writers.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace catenet::bus::testing {
namespace {

using namespace std::chrono_literals;

// N threads write, one flushes whenever; half of the writers share blocks.
void write_on_many_threads(flush_policy policy, unsigned threads, bool share, std::uint64_t each) {
  bus_slab memory;
  bus::station here;
  reader in;
  std::atomic<unsigned> working{threads};
  flusher out{here, policy, [&](chain&& c) { in.feed(std::move(c)); }};
  shared_blocks blocks;
  const auto work = [&](unsigned self) {
    {
      pool mine{memory.blocks};
      std::optional<bus::station> station;
      if (policy.end_of_turn) station.emplace();
      std::mt19937 random(self);
      {
        std::optional<writer> w;
        const writer_options options{.format = &frame::length_u32, .block_bytes = 4096};
        if (share)
          w.emplace(out, blocks, options);
        else
          w.emplace(out, options);
        std::deque<packet> kept;
        for (std::uint64_t n = 0; n != each;) {
          const std::string text = message(self, n, 16 + random() % 200);
          slot abandoned;
          if (random() % 16 == 0) abandoned = w->try_reserve(random() % 300);
          slot s = w->try_reserve(text.size());
          if (!s) {
            mine.turn();
            std::this_thread::yield();
            continue;
          }
          s.write(text);
          if (n % 3 == 0) {
            kept.push_back(*s.commit_as_packet());
            ASSERT_EQ(kept.back().to_string(), text);
          } else {
            s.commit();
          }
          if (kept.size() > 8) kept.pop_front();
          if (++n % 64 == 0) {
            if (station)
              station->turn();
            else
              mine.turn();
          }
        }
      }
      if (station) station->turn();
    }
    --working;
  };
  std::vector<std::thread> running;
  for (unsigned i = 0; i != threads; ++i) running.emplace_back(work, i);
  EXPECT_TRUE(here.wait_until(
      [&] {
        if (in.messages() % 7 == 0) out.request();
        return working == 0 && in.messages() == threads * each;
      },
      100s))
      << in.messages();
  for (auto& t : running) t.join();
}

TEST(bus_writer_threads, each_writers_order_is_kept_under_load) {
  write_on_many_threads({.count = 20, .end_of_turn = false}, 3, false, 20'000);
}
TEST(bus_writer_threads, each_writers_order_is_kept_in_shared_blocks) {
  write_on_many_threads({.count = 20, .end_of_turn = false}, 3, true, 20'000);
}
TEST(bus_writer_threads, flush_by_time_alone_misses_nothing) {
  write_on_many_threads({.bytes = 0, .count = 0, .after = 200us, .end_of_turn = false}, 2, true, 10'000);
}
TEST(bus_writer_threads, flush_at_the_end_of_each_turn) {
  write_on_many_threads({.bytes = 0, .count = 0, .end_of_turn = true}, 2, true, 10'000);
}

TEST(bus_writer_threads, any_thread_may_ask_for_a_flush_of_what_all_committed) {
  bus_slab memory;
  flusher out{{.bytes = 0, .count = 0, .end_of_turn = false}};
  std::atomic<int> stage{0};
  std::thread other([&] {
    pool mine{memory.blocks};
    writer w{out};
    ASSERT_TRUE(w.write("idle writer"));
    stage = 1;
    while (stage != 2) std::this_thread::yield();
  });
  while (stage != 1) std::this_thread::yield();
  EXPECT_TRUE(out.take().empty()) << "no policy has said so";
  std::thread{[&] { out.request(); }}.join();
  EXPECT_EQ(out.take().to_string(), "idle writer");
  stage = 2;
  other.join();
}

TEST(bus_writer_threads, neighbours_in_a_shared_block_leave_as_one_segment) {
  bus_slab memory;
  flusher out;
  shared_blocks blocks;
  writer a{out, blocks, {.block_bytes = 4096}};
  writer b{out, blocks, {.block_bytes = 4096}};
  for (int i = 0; i != 10; ++i) {
    ASSERT_TRUE(a.write("a"));
    ASSERT_TRUE(b.write("b"));
  }
  a.flush();
  b.flush();
  const chain bytes = out.take();
  EXPECT_EQ(bytes.segment_count(), 1u);
  EXPECT_EQ(bytes.to_string(), "abababababababababab");
}

task<> write_when_there_is_room(writer& w, unsigned who, int count, std::uint64_t bytes_max) {
  std::mt19937_64 random(who);
  for (int n = 0; n != count; ++n) {
    const std::string text = message(who, static_cast<std::uint64_t>(n), 20 + random() % bytes_max);
    slot s = co_await w.reserve(text.size());
    EXPECT_TRUE(s);
    s.write(text);
    s.commit();
  }
}

// Six blocks for three threads that fill them together, with messages of up to three blocks: all of them go
// out, each writer's in order.
TEST(bus_writer_threads, few_blocks_are_enough_for_writers_that_share_them) {
  bus_slab memory{2_MiB};
  bus::station here;
  constexpr unsigned threads = 3;
  constexpr int each = 100;
  std::vector<lease> all = every_block();
  all.resize(all.size() - 6);
  memory.mine.spill_all();
  reader in;
  flusher out{here, {.count = 1}, [&](chain&& c) { in.feed(std::move(c)); }};
  shared_blocks blocks;
  std::vector<std::thread> running;
  std::atomic<unsigned> working{threads};
  for (unsigned who = 0; who != threads; ++who)
    running.emplace_back([&, who] {
      pool mine{memory.blocks};
      bus::station there;
      writer w{out, blocks, {.format = &frame::length_u32, .block_bytes = 64_KiB}};
      const task<> work = write_when_there_is_room(w, who, each, 150'000);
      EXPECT_TRUE(there.wait_until([&] { return work.done(); }, 100s)) << who;
      --working;
    });
  EXPECT_TRUE(here.wait_until([&] { return working == 0; }, 100s));
  for (std::thread& t : running) t.join();
  out.request();
  EXPECT_TRUE(here.wait_until([&] { return in.messages() == threads * each; }, 20s)) << in.messages();
}

}  // namespace
}  // namespace catenet::bus::testing
