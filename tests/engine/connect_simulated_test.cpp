// Outgoing connections in the simulation: whatever comes late, short or not at all, each is told once how it
// ended.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/simulation.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace catenet::test {
namespace {

/// Sends back what comes.
class echoing_peer final : public simulated_peer {
 public:
  void received(std::span<const std::byte> bytes) override { send(as_text(bytes)); }
  void ended() override { finish(); }
};

/// Sends one line on each connection, and closes once it came back.
class dialler final : public protocol {
 public:
  void opened(stream&) override { ++stood; }
  void refused(stream&, const error&) override { ++refusals; }
  void received(stream& s, chain&& bytes) override {
    received_bytes += bytes.bytes();
    if (received_bytes % 5 == 0) s.close();
  }
  void closed(stream&) override { ++ends; }
  int stood = 0, refusals = 0, ends = 0;
  std::uint64_t received_bytes = 0;
};

struct outcome {
  int stood, refusals, ends;
  std::string violation;
  bool finished;
};

outcome run_one(std::uint64_t seed) {
  simulation world{{.seed = seed}};
  engine net{world.settings()};
  endpoint there;
  endpoint nowhere;
  EXPECT_FALSE(endpoint::parse("10.9.9.9:80", there));
  EXPECT_FALSE(endpoint::parse("10.9.9.9:81", nowhere));
  std::vector<std::unique_ptr<echoing_peer>> peers;
  world.answer(there, [&] { return peers.emplace_back(std::make_unique<echoing_peer>()).get(); });
  dialler caller;
  net.on_start([&] {
    error why;
    core& c = *core::current();
    c.connect(there, caller, why)->send(chain::copy_of("hello"));
    c.connect(nowhere, caller, why)->send(chain::copy_of("hello"));
    c.connect(there, caller, why)->abort();
    c.connect(there, caller, why)->close();
    EXPECT_FALSE(why);
  });
  EXPECT_FALSE(world.start(net));
  int steps = 0;
  while (caller.ends != 4 && ++steps < 100'000 && world.step()) {
  }
  net.stop();
  while (!world.finished() && ++steps < 200'000 && world.step()) {
  }
  const outcome got{caller.stood, caller.refusals, caller.ends, world.violation(), world.finished()};
  world.release();
  return got;
}

TEST(connect_simulated, every_end_is_told_once) {
  for (std::uint64_t seed = 1; seed != 300; ++seed) {
    const outcome got = run_one(seed);
    ASSERT_EQ(got.violation, "") << "seed " << seed;
    ASSERT_TRUE(got.finished) << "seed " << seed;
    ASSERT_EQ(got.stood, 1) << "seed " << seed;
    ASSERT_EQ(got.refusals, 1) << "seed " << seed;
    ASSERT_EQ(got.ends, 4) << "seed " << seed;
  }
}

}  // namespace
}  // namespace catenet::test
