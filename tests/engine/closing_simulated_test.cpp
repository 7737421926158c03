// The state machine of a stream (docs/engine.md, "Closing"), edge by edge, on the simulated back end: each
// edge under a few hundred seeds. What the engine told is held against what the peer saw: closed() comes
// once, at the end of it all, and a close is seen as an end, an abort as a reset. That no operation is told
// twice and nothing is freed while the back end may touch it is what the simulation itself checks.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/simulation.hpp>
#include <catenet/engine/stream.hpp>

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

namespace catenet::test {
namespace {

constexpr std::size_t answer_bytes = 200'000;  // more than both sockets hold

/// A peer that sends one line, and then does what its script says.
class scripted_peer final : public simulated_peer {
 public:
  std::function<void(scripted_peer&)> on_connected = [](scripted_peer& p) { p.send("go\n"); };
  std::function<void(scripted_peer&)> on_bytes = [](scripted_peer&) {};
  std::function<void(scripted_peer&)> on_end = [](scripted_peer& p) { p.finish(); };
  std::function<void(scripted_peer&)> on_time = [](scripted_peer&) {};
  std::uint64_t bytes = 0;
  int ends = 0;
  int resets = 0;

  void connected() override { on_connected(*this); }
  void received(std::span<const std::byte> some) override {
    bytes += some.size();
    on_bytes(*this);
  }
  void ended() override {
    ++ends;
    on_end(*this);
  }
  void reset() override { ++resets; }
  void expired() override { on_time(*this); }
};

/// What an edge is made of: what server and peer do. The server's default is to answer with many bytes and
/// close.
struct edge {
  std::function<void(stream&)> on_opened = [](stream&) {};
  std::function<void(stream&)> on_bytes = [](stream& s) {
    s.send(chain::copy_of(std::string(answer_bytes, 'x')));
    s.close();
  };
  std::function<void(stream&)> on_end = [](stream& s) { s.close(); };
  std::function<void(scripted_peer&)> peer = [](scripted_peer&) {};
  std::uint32_t send_stall_ms = 30'000;
  std::uint32_t park_after_ms = 1000;
  std::uint64_t stop_after_us = 0;  ///< 0: the engine is not stopped before it is over
};

class edge_protocol final : public protocol {
 public:
  explicit edge_protocol(const edge& e) : edge_(e) {}
  void opened(stream& s) override { edge_.on_opened(s); }
  void received(stream& s, chain&&) override { edge_.on_bytes(s); }
  void ended(stream& s) override { edge_.on_end(s); }
  void closed(stream&) override { ++closes; }
  int closes = 0;

 private:
  const edge& edge_;
};

struct seen {
  std::string violation;
  std::uint64_t bytes = 0;
  int closes = 0;
  int ends = 0;
  int resets = 0;
  std::uint64_t virtual_ms = 0;
};

simulation_options unkind(std::uint64_t seed) {
  simulation_options o{.seed = seed};
  o.socket_buffer = 16'384;
  o.cancel_misses = 200;
  o.late = 300;
  o.held_back = 300;
  o.accept_fails = 0;
  return o;
}

seen run_one(const edge& e, std::uint64_t seed) {
  simulation world{unkind(seed)};
  engine_options o = world.settings();
  o.slab.capacity = 16_MiB;
  o.send_stall_ms = e.send_stall_ms;
  o.park_after_ms = e.park_after_ms;
  engine net{o};
  edge_protocol* speaks = nullptr;
  endpoint where;
  EXPECT_FALSE(net.listen(
      "127.0.0.1:0",
      [&](core&) {
        auto made = std::make_unique<edge_protocol>(e);
        speaks = made.get();
        return made;
      },
      &where));
  EXPECT_FALSE(world.start(net));
  scripted_peer peer;
  e.peer(peer);
  world.connect(peer, where);
  const auto stop_due = [&] { return e.stop_after_us != 0 && world.now_us() >= e.stop_after_us; };
  while (speaks->closes == 0 && !stop_due() && world.violation().empty() && world.now_us() < 100'000'000 &&
         world.step()) {
  }
  const std::uint64_t over_ms = world.now_us() / 1000;
  net.stop();
  while (!world.finished() && world.violation().empty() && world.now_us() < 200'000'000 && world.step()) {
  }
  seen got{world.violation(), 0, speaks->closes, 0, 0, over_ms};
  EXPECT_TRUE(world.finished()) << "seed " << seed;
  EXPECT_EQ(net.statistics().connections, 0u);
  world.release();
  for (int i = 0; i != 1000 && world.step(); ++i) {  // what is still on its way to the peer
  }
  got.bytes = peer.bytes;
  got.ends = peer.ends;
  got.resets = peer.resets;
  return got;
}

/// Under many seeds; `holds` says what has to be seen beside closed() once.
void expect_edge(const edge& e, const std::function<void(const seen&)>& holds) {
  for (std::uint64_t seed = 1; seed != 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const seen got = run_one(e, seed);
    ASSERT_EQ(got.violation, "");
    ASSERT_EQ(got.closes, 1) << "closed() has to come once";
    holds(got);
    if (testing::Test::HasFailure()) return;
  }
}

void expect_whole_answer(const seen& got) {
  EXPECT_EQ(got.bytes, answer_bytes);
  EXPECT_EQ(got.ends, 1);
  EXPECT_EQ(got.resets, 0);
}
void expect_reset(const seen& got) {
  EXPECT_EQ(got.ends, 0) << "it could be taken for a proper end";
  EXPECT_EQ(got.resets, 1);
}

TEST(closing_simulated, open_to_finishing_to_lingering_to_gone) { expect_edge({}, expect_whole_answer); }

TEST(closing_simulated, lingering_ends_by_its_timer_when_the_peer_never_does) {
  edge e;
  e.peer = [](scripted_peer& p) { p.on_end = [](scripted_peer&) {}; };
  expect_edge(e, [](const seen& got) {
    EXPECT_EQ(got.bytes, answer_bytes);
    EXPECT_GE(got.virtual_ms, 2000u) << "linger_ms";
  });
}

TEST(closing_simulated, what_comes_while_lingering_is_discarded) {
  edge e;
  e.peer = [](scripted_peer& p) {
    p.on_end = [](scripted_peer& q) {
      q.send(std::string(30'000, 'y'));
      q.finish();
    };
  };
  expect_edge(e, expect_whole_answer);
}

TEST(closing_simulated, the_peers_end_closes_by_default) {
  edge e;
  e.on_bytes = [](stream& s) { s.send(chain::copy_of(std::string(answer_bytes, 'x'))); };
  e.peer = [](scripted_peer& p) {
    p.on_connected = [](scripted_peer& q) {
      q.send("go\n");
      q.finish();
    };
  };
  expect_edge(e, [](const seen& got) {
    EXPECT_EQ(got.bytes % answer_bytes, 0u);
    EXPECT_GE(got.bytes, answer_bytes);
    EXPECT_EQ(got.ends, 1);
    EXPECT_EQ(got.resets, 0);
  });
}

TEST(closing_simulated, open_to_winding_down_by_abort) {
  edge e;
  e.on_bytes = [](stream& s) { s.abort(); };
  expect_edge(e, expect_reset);
  e.on_opened = [](stream& s) { s.abort(); };
  expect_edge(e, expect_reset);
}

TEST(closing_simulated, finishing_to_winding_down_by_abort) {
  edge e;
  e.on_bytes = [](stream& s) {
    s.send(chain::copy_of(std::string(answer_bytes, 'x')));
    s.close();
    s.abort();
  };
  expect_edge(e, expect_reset);
}

TEST(closing_simulated, by_the_peers_reset_while_open_sending_and_lingering) {
  edge e;
  e.on_bytes = [](stream& s) { s.send(chain::copy_of(std::string(answer_bytes, 'x'))); };
  const auto ended_by_it = [](const seen& got) { EXPECT_EQ(got.ends, 0); };
  e.peer = [](scripted_peer& p) { p.on_bytes = [](scripted_peer& q) { q.abort(); }; };
  expect_edge(e, ended_by_it);
  e.peer = [](scripted_peer& p) { p.on_connected = [](scripted_peer& q) { q.abort(); }; };
  expect_edge(e, ended_by_it);
  e = {};
  e.peer = [](scripted_peer& p) { p.on_end = [](scripted_peer& q) { q.abort(); }; };
  expect_edge(e, [](const seen& got) { EXPECT_EQ(got.bytes, answer_bytes); });
}

TEST(closing_simulated, a_send_that_stalls_is_ended_while_open_and_while_finishing) {
  edge e;
  e.send_stall_ms = 500;
  e.peer = [](scripted_peer& p) { p.on_bytes = [](scripted_peer& q) { q.stall(0); }; };
  const auto cut = [](const seen& got) {
    EXPECT_LT(got.bytes, answer_bytes);
    EXPECT_EQ(got.ends, 0);
    EXPECT_LT(got.virtual_ms, 5000u);
  };
  expect_edge(e, cut);
  e.on_bytes = [](stream& s) { s.send(chain::copy_of(std::string(answer_bytes, 'x'))); };
  expect_edge(e, cut);
}

TEST(closing_simulated, the_drains_deadline_ends_what_is_open_and_what_is_parked) {
  edge e;
  e.on_bytes = [](stream&) {};
  e.park_after_ms = 20;
  e.stop_after_us = 200'000;
  expect_edge(e,
              [](const seen& got) { EXPECT_EQ(got.ends, 1) << "nothing was unsent: it is closed in order"; });
  e.on_bytes = [](stream& s) { s.send(chain::copy_of(std::string(answer_bytes, 'x'))); };
  e.peer = [](scripted_peer& p) { p.on_bytes = [](scripted_peer& q) { q.stall(0); }; };
  expect_edge(e, [](const seen& got) { EXPECT_EQ(got.ends, 0) << "cut off, so it is reset"; });
}

TEST(closing_simulated, a_parked_stream_notices_bytes_the_end_and_a_reset) {
  edge e;
  e.park_after_ms = 20;
  const auto after_a_while = [](std::function<void(scripted_peer&)> what) {
    return [what](scripted_peer& p) {
      p.on_connected = [](scripted_peer& q) { q.after(300'000); };
      p.on_time = what;
    };
  };
  e.peer = after_a_while([](scripted_peer& p) { p.send("go\n"); });
  expect_edge(e, expect_whole_answer);
  e.peer = after_a_while([](scripted_peer& p) { p.finish(); });
  expect_edge(e, [](const seen& got) { EXPECT_EQ(got.ends, 1); });
  e.peer = after_a_while([](scripted_peer& p) { p.abort(); });
  expect_edge(e, [](const seen& got) { EXPECT_LT(got.virtual_ms, 5000u); });
}

}  // namespace
}  // namespace catenet::test
