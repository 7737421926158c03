// Automatic pings, in simulated time: connections that came together are not pinged together.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/simulation.hpp>
#include <catenet/ws/hub.hpp>
#include <catenet/ws/options.hpp>

#include "ws/service.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

constexpr std::uint32_t period_ms = 8000;
constexpr std::uint32_t half_ms = period_ms / 2;

// Says nothing and notes when it was pinged.
class listener final : public simulated_peer {
 public:
  void received(std::span<const std::byte> bytes) override {
    in_ += as_text(bytes);
    const std::string ping{"\x89\0", 2};
    for (; in_.starts_with(ping); in_.erase(0, ping.size())) pinged_ms.push_back(home().now_us() / 1000);
  }
  std::vector<std::uint64_t> pinged_ms;

 private:
  std::string in_;
};

// Answers each ping at once, and notes when the server says Close.
class answerer final : public simulated_peer {
 public:
  void received(std::span<const std::byte> bytes) override {
    in_ += as_text(bytes);
    const std::string ping{"\x89\0", 2};
    for (; in_.starts_with(ping); in_.erase(0, ping.size())) {
      ++pings;
      send(std::string("\x8a\x80\0\0\0\0", 6));
    }
    closed = closed || in_.starts_with("\x88");
  }
  int pings = 0;
  bool closed = false;

 private:
  std::string in_;
};

// A quiet peer is pinged before it has been quiet for longer than the period, whatever its phase.
TEST(ws_pings, come_early_enough_for_who_answers_them) {
  simulation world{{.seed = 1}};
  engine net{world.settings()};
  hub topics{net};
  const auto shared = std::make_shared<const options>(
      options{.ping_every_ms = period_ms, .idle_timeout_ms = period_ms + period_ms / 4});
  endpoint at;
  ASSERT_FALSE(net.listen(
      "127.0.0.1:80", [&](core& c) { return std::make_unique<service>(c, shared, topics); }, &at));
  std::array<answerer, 64> all;
  ASSERT_FALSE(world.start(net));
  for (answerer& one : all) world.connect(one, at);
  const std::uint64_t end_us = world.now_us() + 10'000ULL * period_ms;
  while (world.now_us() < end_us) ASSERT_TRUE(world.step());
  for (const answerer& one : all) {
    EXPECT_FALSE(one.closed) << "after " << one.pings << " pings";
    EXPECT_GE(one.pings, 8);
  }
  net.stop();
  while (!world.finished()) ASSERT_TRUE(world.step());
  world.release();
  EXPECT_EQ(world.violation(), "");
}

TEST(ws_pings, are_spread_over_half_their_period) {
  simulation world{{.seed = 1}};
  engine net{world.settings()};
  hub topics{net};
  const auto shared = std::make_shared<const options>(options{.ping_every_ms = period_ms});
  endpoint at;
  ASSERT_FALSE(net.listen(
      "127.0.0.1:80", [&](core& c) { return std::make_unique<service>(c, shared, topics); }, &at));
  std::array<listener, 64> all;
  ASSERT_FALSE(world.start(net));
  for (listener& one : all) world.connect(one, at);  // all at once
  const std::uint64_t end_us = world.now_us() + 4000ULL * period_ms;
  while (world.now_us() < end_us) ASSERT_TRUE(world.step());

  std::array<int, 8> eighths{};  // of that half, and how many are pinged within each
  for (const listener& one : all) {
    ASSERT_GE(one.pinged_ms.size(), 2u);
    ASSERT_GE(one.pinged_ms[0], half_ms);
    const std::uint64_t eighth = (one.pinged_ms[0] - half_ms) * eighths.size() / half_ms;
    ASSERT_LT(eighth, eighths.size());
    ++eighths[eighth];
    const std::uint64_t apart_ms = one.pinged_ms[1] - one.pinged_ms[0];
    EXPECT_GE(apart_ms, period_ms - 100);  // each keeps its phase
    EXPECT_LE(apart_ms, period_ms + 100);
  }
  for (const int count : eighths) {
    EXPECT_GE(count, 4);
    EXPECT_LE(count, 16);
  }
  net.stop();
  while (!world.finished()) ASSERT_TRUE(world.step());
  world.release();
  EXPECT_EQ(world.violation(), "");
}

}  // namespace
}  // namespace catenet::ws::testing
