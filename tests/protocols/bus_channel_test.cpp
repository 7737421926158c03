// Channels between threads: nothing is lost, doubled or out of order, waiting on both ends ends, and every
// block is home at the end.
#include <catenet/bus/channel.hpp>
#include <catenet/bus/topic.hpp>
#include <catenet/engine/task.hpp>

#include "bus_slab.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace catenet;
using namespace std::chrono_literals;
using bus::packet;
using bus::producers;
using bus::push_result;
using bus::send_packet;
using bus::station;

send_packet letter(std::string_view text) { return *packet::copy_of(text)->clone().send(); }
std::string text_of(send_packet&& p) { return std::move(p).take().to_string(); }

class bus_channels : public testing::TestWithParam<producers> {};

TEST_P(bus_channels, bounded_and_in_order) {
  bus_slab memory;
  auto [tx, rx] = bus::make_channel(4, GetParam());
  for (int round = 0; round != 10; ++round) {
    for (int i = 0; i != 4; ++i) {
      send_packet p = letter(std::to_string(i));
      ASSERT_EQ(tx.try_send(p), push_result::sent);
    }
    send_packet fifth = letter("five");
    ASSERT_EQ(tx.try_send(fifth), push_result::full);
    ASSERT_EQ(fifth.size(), 4u) << "the packet is the caller's still";
    for (int i = 0; i != 4; ++i) ASSERT_EQ(text_of(*rx.try_receive()), std::to_string(i));
    ASSERT_FALSE(rx.try_receive());
  }
}

TEST_P(bus_channels, the_end_is_seen_on_both_sides) {
  bus_slab memory;
  {
    auto [tx, rx] = bus::make_channel(4, GetParam());
    send_packet p = letter("last");
    ASSERT_EQ(tx.try_send(p), push_result::sent);
    tx.close();
    EXPECT_FALSE(rx.ended()) << "something is left";
    EXPECT_EQ(text_of(*rx.try_receive()), "last");
    EXPECT_TRUE(rx.ended());
  }
  auto [tx, rx] = bus::make_channel(4, GetParam());
  send_packet p = letter("dropped in the channel");
  ASSERT_EQ(tx.try_send(p), push_result::sent);
  rx.close();
  send_packet q = letter("kept");
  EXPECT_EQ(tx.try_send(q), push_result::closed);
  EXPECT_EQ(text_of(std::move(q)), "kept");
}

task<> send_all(bus::sender& tx, int count, std::atomic<int>& sent) {
  for (int i = 0; i != count; ++i) {
    if (!co_await tx.send(letter(std::to_string(i)))) co_return;
    ++sent;
  }
}
task<> receive_all(bus::receiver& rx, std::vector<std::string>& got) {
  while (auto p = co_await rx.receive()) got.push_back(text_of(std::move(*p)));
}

task<> send_one(bus::sender& tx, std::optional<bool>& told) { told = co_await tx.send(letter("late")); }

// Batched: who waits for room is rung when half of it is free, and when the receiver ends.
TEST_P(bus_channels, a_waiting_sender_is_rung_at_half_and_at_the_end) {
  bus_slab memory;
  station here;
  auto [tx, rx] = bus::make_channel(4, GetParam());
  const auto fill = [&, &out = tx] {
    for (send_packet p = letter("early"); out.try_send(p) == push_result::sent;) p = letter("early");
  };
  fill();
  std::optional<bool> told;
  task<> first = send_one(tx, told);
  ASSERT_TRUE(rx.try_receive());
  here.turn();
  EXPECT_FALSE(told) << "a place is free, and three packets are to be had";
  ASSERT_TRUE(rx.try_receive());
  here.turn();
  EXPECT_EQ(told, true);
  fill();
  told.reset();
  task<> second = send_one(tx, told);
  rx.close();
  here.turn();
  EXPECT_EQ(told, false) << "nobody will ever receive it";
}

TEST_P(bus_channels, coroutines_wait_on_both_ends_across_threads) {
  bus_slab memory;
  for (const std::size_t capacity : {1u, 3u, 64u}) {
    constexpr int count = 5000;
    auto [tx, rx] = bus::make_channel(capacity, GetParam());
    std::thread producer([&, out = std::move(tx)]() mutable {
      pool mine{memory.blocks};
      station here;
      std::atomic<int> sent{0};
      task<> work = send_all(out, count, sent);
      EXPECT_TRUE(here.wait_until([&] { return work.done(); }, 60s));
      EXPECT_EQ(sent, count);
      out.close();
    });
    station here;
    std::vector<std::string> got;
    task<> work = receive_all(rx, got);
    EXPECT_TRUE(here.wait_until([&] { return work.done(); }, 60s));
    producer.join();
    ASSERT_EQ(got.size(), static_cast<std::size_t>(count));
    for (int i = 0; i != count; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], std::to_string(i));
  }
}

TEST_P(bus_channels, plain_threads_wait_without_coroutines) {
  bus_slab memory;
  constexpr int count = 5000;
  auto [tx, rx] = bus::make_channel(8, GetParam());
  std::thread producer([&, out = std::move(tx)]() mutable {
    pool mine{memory.blocks};
    station here;
    for (int i = 0; i != count; ++i) {
      send_packet p = letter(std::to_string(i));
      ASSERT_EQ(out.send_for(p, 60s), push_result::sent);
    }
  });
  station here;
  int next = 0;
  while (rx.wait_for(60s))
    while (auto p = rx.try_receive()) ASSERT_EQ(text_of(std::move(*p)), std::to_string(next++));
  EXPECT_TRUE(rx.ended());
  EXPECT_EQ(next, count);
  producer.join();
}

TEST_P(bus_channels, waiting_may_be_given_up_at_any_moment) {
  bus_slab memory;
  station here;
  for (unsigned seed = 0; seed != 200; ++seed) {
    std::mt19937 random(seed);
    auto [tx, rx] = bus::make_channel(2, GetParam());
    std::vector<std::string> got;
    std::atomic<int> sent{0};
    std::vector<std::unique_ptr<task<>>> all;
    for (int i = 0; i != 30; ++i) {
      switch (random() % 5) {
        case 0:
          all.push_back(std::make_unique<task<>>(send_all(tx, 3, sent)));
          break;
        case 1:
          all.push_back(std::make_unique<task<>>(receive_all(rx, got)));
          break;
        case 2:
          if (!all.empty()) all.erase(all.begin() + static_cast<std::ptrdiff_t>(random() % all.size()));
          break;
        case 3:
          here.turn();
          break;
        case 4:
          if (auto p = rx.try_receive()) got.push_back(text_of(std::move(*p)));
          break;
      }
    }
    here.turn();
    // What was sent and not received lies in the channel, unless a withdrawn receiver took it along.
    EXPECT_LE(got.size(), static_cast<std::size_t>(sent.load()));
    EXPECT_GE(got.size() + rx.size() + 60, static_cast<std::size_t>(sent.load()));
    all.clear();
  }
}

INSTANTIATE_TEST_SUITE_P(all, bus_channels, testing::Values(producers::one, producers::many),
                         [](const auto& of) { return of.param == producers::one ? "one" : "many"; });

TEST(bus_channel_many, producers_keep_their_own_order) {
  bus_slab memory;
  constexpr int threads = 3;
  constexpr int each = 4000;
  auto [tx, rx] = bus::make_channel(16, producers::many);
  std::vector<std::thread> running;
  for (int t = 0; t != threads; ++t)
    running.emplace_back([&memory, t, out = tx.another()]() mutable {
      pool mine{memory.blocks};
      station here;
      for (int i = 0; i != each; ++i) {
        send_packet p = letter(std::to_string(t) + "/" + std::to_string(i));
        ASSERT_EQ(out.send_for(p, 60s), push_result::sent);
      }
    });
  tx.close();
  station here;
  std::vector<std::string> got;
  task<> work = receive_all(rx, got);
  EXPECT_TRUE(here.wait_until([&] { return work.done(); }, 60s));
  for (auto& t : running) t.join();
  ASSERT_EQ(got.size(), static_cast<std::size_t>(threads * each));
  std::array<int, threads> next{};
  for (const std::string& g : got)
    ASSERT_EQ(std::stoi(g.substr(2)), next[static_cast<std::size_t>(g[0] - '0')]++);
}

TEST(bus_topic, one_body_for_all_and_a_slow_one_is_counted_not_waited_for) {
  bus_slab memory;
  bus::topic topic;
  std::vector<bus::receiver> ends;
  for (int i = 0; i != 5; ++i) {
    auto [tx, rx] = bus::make_channel(i == 0 ? 2 : 16, producers::one);
    topic.subscribe(std::move(tx));
    ends.push_back(std::move(rx));
  }
  for (int i = 0; i != 10; ++i) {
    packet p = *packet::copy_of("message " + std::to_string(i));
    const auto told = topic.publish(p);
    EXPECT_EQ(told.sent, i < 2 ? 5u : 4u);
    EXPECT_EQ(told.dropped, i < 2 ? 0u : 1u);
  }
  EXPECT_EQ(topic.dropped(), 8u);
  const std::byte* body = nullptr;
  for (auto& rx : ends) {
    auto first = rx.try_receive();
    ASSERT_TRUE(first);
    packet p = *std::move(*first).receive();
    EXPECT_EQ(p.to_string(), "message 0");
    if (body == nullptr) body = p.bytes().data();
    EXPECT_EQ(p.bytes().data(), body) << "one body";
  }
  ends[3].close();
  packet p = *packet::copy_of("after one left");
  EXPECT_EQ(topic.publish(p).sent, 4u) << "the one that was full has room by now, the one that ended is gone";
  EXPECT_EQ(topic.subscribers(), 4u);
}

}  // namespace
