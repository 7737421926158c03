// Zero-copy sends: the bytes, who counts them, when memory comes home, and when the engine goes back to plain
// sends.
#include "zero_copy.hpp"

#include <catenet/engine/simulation.hpp>

#include "support/client.hpp"
#include "support/engine_host.hpp"
#include "support/two_hosts.hpp"

#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <deque>
#include <optional>

namespace {

using namespace catenet;
using namespace catenet::test;

constexpr std::size_t answer_bytes = 1_MiB;

std::uint64_t by(const core_statistics& s, tier t) { return s.tiers[static_cast<std::size_t>(t)].bytes; }

// Sends so much of the pattern, from memory, for each byte that comes.
handlers answering() {
  return {.received = [](stream& s, chain&& asked) {
    for (std::uint64_t i = 0; i != asked.bytes(); ++i) s.send(chain::copy_of(pattern(0, answer_bytes)));
  }};
}

void expect_answers(client& c, int count) {
  for (int i = 0; i != count; ++i) {
    const std::string got = c.receive(answer_bytes);
    ASSERT_EQ(got.size(), answer_bytes);
    ASSERT_EQ(off_pattern(0, got), std::string::npos);
  }
}

bool has_zero_copy(engine_host& host) { return host.net().io_name() == "io_uring"; }

TEST(route, rests_after_several_copies_and_is_tried_again_rarely) {
  route way;
  for (int i = 0; i != 3; ++i) {
    EXPECT_TRUE(way.take(1000));
    EXPECT_FALSE(way.observe(true, 1000));
  }
  EXPECT_TRUE(way.take(1000));
  EXPECT_FALSE(way.observe(false, 1000)) << "one that was not copied, and counting begins anew";
  for (int i = 0; i != 4; ++i) EXPECT_EQ(way.observe(true, 1000), i == 3);
  EXPECT_FALSE(way.take(1000));
  EXPECT_FALSE(way.observe(false, 1000)) << "sent before";
  EXPECT_FALSE(way.take(1000 + 9'999));
  EXPECT_TRUE(way.take(1000 + 10'000));
  EXPECT_FALSE(way.take(1000 + 10'000)) << "one at a time";
  EXPECT_TRUE(way.observe(true, 20'000));
  EXPECT_FALSE(way.take(20'000 + 19'999)) << "the second rest is twice as long";
  EXPECT_TRUE(way.take(20'000 + 20'000));
  EXPECT_FALSE(way.observe(false, 40'000));
  EXPECT_TRUE(way.take(40'000));
  EXPECT_FALSE(way.observe(false, 40'000));
  EXPECT_EQ(way.now, route::state::open);
  EXPECT_TRUE(way.take(40'000));
  EXPECT_TRUE(way.take(40'000));
}

TEST(route, never_rests_for_longer_than_ten_minutes) {
  route way;
  std::uint32_t now_ms = 4'294'000'000;  // the clock wraps
  for (int i = 0; i != 4; ++i) way.observe(true, now_ms);
  for (int i = 0; i != 12; ++i) {
    now_ms += 600'000;
    ASSERT_TRUE(way.take(now_ms)) << i;
    way.observe(true, now_ms);
  }
  EXPECT_EQ(way.rest_ms, 600'000u);
}

TEST(zero_copy, every_byte_arrives_and_is_counted_once) {
  engine_options o;
  o.zero_copy = zero_copy_use::always;
  engine_host host(answering(), o);
  host.start();
  client c(host.at());
  ASSERT_TRUE(c.send("????????"));
  expect_answers(c, 8);
  // Loopback copies, and says so once the peer has acknowledged.
  EXPECT_TRUE(eventually([&] { return host.statistics().zero_copy.pinned_bytes == 0; }));
  EXPECT_TRUE(eventually([&] { return host.rented() == 0; }));
  host.stop();
  const core_statistics s = host.statistics();
  EXPECT_EQ(s.bytes_out, 8 * answer_bytes);
  EXPECT_EQ(by(s, tier::zero_copy), 0u);
  EXPECT_EQ(by(s, tier::zero_copy_copied) + by(s, tier::copied), 8 * answer_bytes);
  if (!has_zero_copy(host)) {
    EXPECT_EQ(by(s, tier::copied), 8 * answer_bytes);
    return;
  }
  // What a full socket left over, when that is short, goes plainly.
  EXPECT_LT(by(s, tier::copied), answer_bytes);
}

std::size_t lockable_bytes() {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  return limit.rlim_cur;
}

// Registered extents cannot be given back to the system until every ring has let go of them.
TEST(zero_copy, names_registered_memory_and_lets_go_of_it) {
  static std::atomic<bool> can{false};
  can = false;
  set_log_sink([](log_level, std::string_view line) {
    if (line.find("in use are") != std::string_view::npos && line.find("fixed") != std::string_view::npos)
      can = true;
  });
  engine_options o;
  o.zero_copy = zero_copy_use::always;
  engine_host host(answering(), o);
  host.start();
  set_log_sink(nullptr);
  if (!can || lockable_bytes() < 8_MiB) GTEST_SKIP() << "no such io_uring, or nothing may be locked";
  const std::size_t before = host.net().slab().statistics().committed_bytes;
  std::deque<client> all;
  for (int i = 0; i != 4; ++i) {
    all.emplace_back(host.at());
    ASSERT_TRUE(all.back().send("?"));
  }
  ASSERT_TRUE(eventually([&] { return host.statistics().sends >= 4; }));
  for (client& c : all) expect_answers(c, 1);
  EXPECT_GE(host.statistics().zero_copy.registered, 1u);
  EXPECT_TRUE(
      eventually([&] { return host.net().slab().statistics().committed_bytes <= before + 2_MiB; }, 30'000))
      << "before " << before << ", now " << host.net().slab().statistics().committed_bytes;
  host.stop();
}

// The kernel copies always then, and has the receiver's window pay for whole pages.
TEST(zero_copy, is_not_tried_within_the_host) {
  engine_host host(answering());
  host.start();
  client c(host.at(), 4096);
  ASSERT_TRUE(c.send("????"));
  expect_answers(c, 4);
  host.stop();
  EXPECT_EQ(by(host.statistics(), tier::copied), 4 * answer_bytes);
}

/// Asks for one answer after the other.
class asking_peer final : public simulated_peer {
 public:
  explicit asking_peer(std::uint64_t answers) : left_(answers) {}
  void connected() override { ask(); }
  void received(std::span<const std::byte> bytes) override {
    got += bytes.size();
    if (got % answer_bytes == 0 && left_ != 0) after(1'000'000);  // notifications take a while too
  }
  void expired() override { ask(); }
  std::uint64_t got = 0;

 private:
  void ask() {
    --left_;
    send("?");
  }
  std::uint64_t left_;
};

// No network here copies but those within the host; the simulated one says what the kernel did.
TEST(zero_copy, a_route_that_copies_goes_back_to_plain_sends) {
  static std::atomic<int> lines{0};
  lines = 0;
  set_log_sink([](log_level, std::string_view line) {
    if (line.find("zero-copy send: the kernel copied") != std::string_view::npos) ++lines;
  });
  simulation world{{.short_send = 0, .zero_copy_copies = 1000}};
  engine net{world.settings()};
  const handlers h = answering();
  endpoint at;
  ASSERT_FALSE(net.listen(
      "10.9.9.9:80", [&](core&) { return std::make_unique<scripted>(h); }, &at));
  ASSERT_FALSE(world.start(net));
  asking_peer peer{8};
  world.connect(peer, at);
  int steps = 0;
  while (peer.got != 8 * answer_bytes && ++steps < 1'000'000) ASSERT_TRUE(world.step());
  net.stop();
  while (!world.finished() && ++steps < 2'000'000 && world.step()) {
  }
  const core_statistics s = net.statistics();
  world.release();
  set_log_sink(nullptr);
  EXPECT_EQ(world.violation(), "");
  EXPECT_EQ(s.bytes_out, 8 * answer_bytes);
  EXPECT_EQ(by(s, tier::zero_copy_copied), 4 * answer_bytes);
  EXPECT_EQ(by(s, tier::copied), 4 * answer_bytes);
  EXPECT_EQ(s.zero_copy.stepped_down, 1u);
  EXPECT_EQ(s.zero_copy.routes_resting, 1u);
  EXPECT_EQ(s.zero_copy.last, downgrade::route_copies);
  EXPECT_EQ(lines, 1);
}

void expect_a_plain_answer(zero_copy_use use, const std::string& where) {
  engine_options o;
  o.zero_copy = use;
  engine_host host(answering(), o, where);
  host.start();
  client c(host.at());
  ASSERT_TRUE(c.send("?"));
  expect_answers(c, 1);
  host.stop();
  EXPECT_EQ(by(host.statistics(), tier::copied), answer_bytes);
}

TEST(zero_copy, never_means_never) { expect_a_plain_answer(zero_copy_use::never, "127.0.0.1:0"); }

// UNIX sockets have none: that must not be asked, nor end the connection.
TEST(zero_copy, unix_sockets_are_sent_plainly) {
  const temp_folder folder;
  expect_a_plain_answer(zero_copy_use::always, "unix:" + folder.path("s"));
}

TEST(zero_copy, memory_that_waits_is_capped) {
  engine_options o;
  o.zero_copy = zero_copy_use::always;
  o.io_without = "fixed";  // within the host, a receiver is charged for the whole extent and its window shuts
  o.zero_copy_pinned_max = 2 * answer_bytes;
  engine_host host(answering(), o);
  host.start();
  if (!has_zero_copy(host)) GTEST_SKIP() << "only io_uring has it";
  std::vector<client> all;
  for (int i = 0; i != 6; ++i) {
    all.emplace_back(host.at(), 16384);
    ASSERT_TRUE(all.back().send("?"));
    ASSERT_TRUE(eventually([&] { return host.statistics().sends == static_cast<std::uint64_t>(i) + 1; }));
  }
  // A socket may have taken in all of one meanwhile, and let go of it.
  EXPECT_LE(host.statistics().zero_copy.pinned_bytes, 2 * answer_bytes);
  EXPECT_GE(host.statistics().zero_copy.over_cap, 1u);
  EXPECT_EQ(host.statistics().zero_copy.last, downgrade::over_cap);
  for (client& c : all) expect_answers(c, 1);
  EXPECT_TRUE(eventually([&] { return host.statistics().zero_copy.pinned_bytes == 0; }));
  host.stop();
}

// Memory comes home from peers that take nothing, and from those that reset.
TEST(zero_copy, a_peer_that_never_acknowledges_is_ended) {
  engine_options o;
  o.zero_copy = zero_copy_use::always;
  o.io_without = "fixed";  // within the host, a receiver is charged for the whole extent and its window shuts
  o.send_stall_ms = 600;
  std::atomic<int> time_limit{-1};
  handlers h = answering();
  const auto answer = h.received;
  std::atomic<stream*> last{nullptr};
  h.received = [&](stream& s, chain&& asked) {
    last = &s;
    answer(s, std::move(asked));
  };
  engine_host host(h, o);
  host.start();
  if (!has_zero_copy(host)) GTEST_SKIP() << "only io_uring has it";
  client silent(host.at(), 16384);
  client gone(host.at(), 16384);
  ASSERT_TRUE(gone.send("????????"));
  ASSERT_TRUE(eventually([&] { return host.statistics().zero_copy.pinned_bytes != 0; }));
  gone.reset();
  EXPECT_TRUE(eventually([&] { return host.statistics().zero_copy.pinned_bytes == 0; }));
  ASSERT_TRUE(silent.send("????????"));
  ASSERT_TRUE(eventually([&] { return host.statistics().zero_copy.pinned_bytes != 0; }));
  host.on_core([&] {
    unsigned ms = 0;
    socklen_t length = sizeof ms;
    getsockopt(last.load()->descriptor(), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &length);
    time_limit = static_cast<int>(ms);
  });
  EXPECT_EQ(time_limit, 600);
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 0; }, 20'000));
  EXPECT_TRUE(
      eventually([&] { return host.statistics().zero_copy.pinned_bytes == 0 && host.rented() == 0; }));
  host.stop();
}

// What an engine asked from afar had counted by the end, or what is missing here for that.
struct from_afar {
  core_statistics seen;
  std::string missing;
};

// An engine on one host, asked from another so many times, one answer after the other.
from_afar asked_from_afar(far_device device, int times) {
  two_hosts hosts(device);
  if (!hosts.missing().empty()) return {{}, hosts.missing()};
  engine_host host(answering(), {}, two_hosts::here);
  host.start();
  client c;
  hosts.there([&] { c = client(host.at()); });
  EXPECT_TRUE(c) << "connecting from host to host: " << strerrorname_np(c.error());
  for (int i = 0; i != times; ++i) {
    EXPECT_TRUE(c.send("?"));
    expect_answers(c, 1);
    EXPECT_TRUE(eventually([&] { return host.statistics().zero_copy.pinned_bytes == 0; }))
        << "the peer has all of it, and memory is still held";
  }
  EXPECT_TRUE(eventually([&] { return host.rented() == 0; }));
  const bool told = has_zero_copy(host);
  host.stop();
  return {host.statistics(), told ? "" : "only io_uring has it"};
}

TEST(zero_copy, goes_on_where_the_device_takes_the_pages) {
  const auto [s, missing] = asked_from_afar(far_device::takes_pages, 12);
  if (!missing.empty()) GTEST_SKIP() << missing;
  EXPECT_EQ(by(s, tier::zero_copy_copied), 0u);
  EXPECT_GT(by(s, tier::zero_copy), 11 * answer_bytes) << "but for short tails of full sockets";
  EXPECT_EQ(by(s, tier::zero_copy) + by(s, tier::copied), 12 * answer_bytes);
  EXPECT_EQ(s.zero_copy.routes_resting, 0u);
  EXPECT_EQ(s.zero_copy.last, downgrade::none);
}

TEST(zero_copy, rests_where_the_device_copies) {
  const auto [s, missing] = asked_from_afar(far_device::plain, 12);
  if (!missing.empty()) GTEST_SKIP() << missing;
  EXPECT_EQ(by(s, tier::zero_copy), 0u);
  EXPECT_GT(by(s, tier::zero_copy_copied), 0u);
  EXPECT_GT(by(s, tier::copied), 6 * answer_bytes) << "four in a row, and then plain ones";
  EXPECT_EQ(s.zero_copy.routes_resting, 1u);
  EXPECT_EQ(s.zero_copy.last, downgrade::route_copies);
}

}  // namespace
