// A link in the simulation: whatever comes late, short, out of order or not at all, messages arrive in order
// and once at most, and what became of each adds up.
#include <catenet/bus/link.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/simulation.hpp>
#include <catenet/engine/task.hpp>
#include <catenet/frame/decoder.hpp>

#include "bus_link_host.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace catenet::test {
namespace {

/// Takes frames, answers each with itself, and hangs up after a while.
class hanging_up final : public simulated_peer {
 public:
  hanging_up(std::vector<std::string>& seen, std::size_t frames) : seen_(seen), left_(frames) {}
  void received(std::span<const std::byte> bytes) override {
    wire_ += as_text(bytes);
    while (wire_.size() >= 4) {
      const std::size_t whole = 4 + frame::detail::load_u32(reinterpret_cast<const std::byte*>(wire_.data()));
      if (wire_.size() < whole) return;
      seen_.push_back(wire_.substr(4, whole - 4));
      send(wire_.substr(0, whole));
      wire_.erase(0, whole);
      if (--left_ == 0) return abort();
    }
  }
  void ended() override { finish(); }

 private:
  std::vector<std::string>& seen_;
  std::string wire_;
  std::size_t left_;
};

class bus_link_world {
 public:
  static constexpr int count = 400;

  explicit bus_link_world(std::uint64_t seed) : world_({.seed = seed}) {
    net_ = std::make_unique<engine>(world_.settings());
    endpoint there;
    EXPECT_FALSE(endpoint::parse("10.9.9.9:80", there));
    world_.answer(there, [this]() -> simulated_peer* {
      if (world_.random().chance(200)) return nullptr;
      const std::size_t frames = 1 + world_.random().below(150);
      return peers_.emplace_back(std::make_unique<hanging_up>(seen_, frames)).get();
    });
    net_->on_start([this, there] {
      link_ = std::make_unique<bus::link>(
          *core::current(), there,
          bus::link_options{.budget_bytes = 20'000, .retry_ms_min = 1, .retry_ms_max = 20}, events());
      producing_ = produce();
    });
  }

  void run() {
    ASSERT_FALSE(world_.start(*net_));
    int steps = 0;
    while (!over_ && ++steps < 2'000'000 && world_.step()) {
    }
    EXPECT_TRUE(over_) << "nothing will ever happen, and " << link_->statistics().offered_messages << " of "
                       << count << " were offered";
    net_->stop();
    while (!world_.finished() && ++steps < 3'000'000 && world_.step()) {
    }
    const bus::link_statistics s = link_->statistics();
    EXPECT_TRUE(world_.finished());
    EXPECT_EQ(world_.violation(), "");
    check(s);
    world_.release();
    producing_.reset();
    link_.reset();
  }

 private:
  bus::link_events events() {
    return {.message = [this](bus::packet&& p) { echoed_.push_back(p.to_string()); },
            .up = {},
            .down = {},
            .over =
                [this](const error& e) {
                  EXPECT_FALSE(e) << e.text();
                  over_ = true;
                }};
  }
  task<> produce() {
    for (int i = 0; i != count; ++i) {
      const std::size_t bytes = 10 + world_.random().below(2000);
      std::string text = std::to_string(i) + ":" + std::string(bytes, static_cast<char>('a' + i % 26));
      for (;;) {
        if (over_) co_return;
        const bus::link_result r = co_await link_->send(chain::copy_of(text));
        if (r == bus::link_result::accepted) break;
        EXPECT_EQ(r, bus::link_result::no_memory) << bus::text(r);
        co_await sleep(1);
      }
      if (world_.random().chance(300)) co_await sleep(1);
    }
    link_->close();
  }
  static void expect_rising(const std::vector<std::string>& all) {
    int before = -1;
    for (const std::string& text : all) {
      const int number = std::stoi(text);
      ASSERT_GT(number, before) << "doubled or out of order";
      ASSERT_EQ(text.find_first_not_of(static_cast<char>('a' + number % 26), text.find(':') + 1),
                std::string::npos);
      before = number;
    }
  }
  void check(const bus::link_statistics& s) {
    expect_accounted(s);
    expect_rising(seen_);
    expect_rising(echoed_);
    EXPECT_EQ(s.offered_messages, static_cast<std::uint64_t>(count));
    EXPECT_EQ(s.dropped_messages, 0u);
    EXPECT_EQ(s.unsent_messages, 0u);
    EXPECT_LE(s.unsent_bytes_max, 20'000u);
    EXPECT_EQ(s.received_messages, echoed_.size());
    EXPECT_LE(seen_.size(), s.sent_messages + s.lost_messages);
  }

  simulation world_;
  std::unique_ptr<engine> net_;
  std::vector<std::unique_ptr<hanging_up>> peers_;
  std::vector<std::string> seen_, echoed_;
  std::unique_ptr<bus::link> link_;
  task<> producing_;
  bool over_ = false;
};

TEST(bus_link_simulated, keeps_order_and_accounts_through_resets_and_refusals) {
  for (std::uint64_t seed = 1; seed != 60; ++seed) {
    bus_link_world(seed).run();
    if (testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
}

}  // namespace
}  // namespace catenet::test
