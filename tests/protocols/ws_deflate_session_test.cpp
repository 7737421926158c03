// permessage-deflate between our client and our server: both ways of taking contexts over, windows, memory
// budgets, and what is published to peers that agreed on different things.
#include "ws_clients.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

deflate_options deflate(bool server_takeover, bool client_takeover) {
  deflate_options d;
  d.enabled = true;
  d.server_context_takeover = server_takeover;
  d.client_context_takeover = client_takeover;
  return d;
}

std::string words(int seed, std::size_t bytes) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::string out;
  while (out.size() < bytes) out += "word " + std::to_string(random() % 1000) + ", ";
  return out.substr(0, bytes);
}

struct agreement {
  const char* name;
  deflate_options server, client;
};
void PrintTo(const agreement& a, std::ostream* out) { *out << a.name; }
class ws_deflate_session : public ::testing::TestWithParam<agreement> {};

TEST_P(ws_deflate_session, carries_everything_there_and_back) {
  options o = echo_options();
  o.max_message = 4_MiB;
  o.max_queued = 64_MiB;
  o.deflate = GetParam().server;
  web_host s(std::move(o));
  client_options c;
  c.connection.max_message = 4_MiB;
  c.connection.max_queued = 64_MiB;
  c.connection.deflate = GetParam().client;
  client_host peer(s.port, std::move(c));
  int seed = 0;
  for (const std::size_t bytes : {0u, 1u, 255u, 256u, 300u, 5000u, 70'000u, 3'000'000u, 300u, 5000u}) {
    const std::string what = words(++seed, bytes);
    peer.send(what);
    ASSERT_EQ(peer.next(), what) << bytes;
  }
  for (int i = 0; i != 100; ++i) peer.send(words(i, 2000));
  for (int i = 0; i != 100; ++i) ASSERT_EQ(peer.next(), words(i, 2000)) << i;
}
deflate_options narrow(deflate_options d, std::uint8_t server_bits, std::uint8_t client_bits) {
  d.server_window_bits = server_bits;
  d.client_window_bits = client_bits;
  return d;
}
INSTANTIATE_TEST_SUITE_P(
    agreements, ws_deflate_session,
    ::testing::Values(
        agreement{"none_taken_over", deflate(false, false), deflate(false, false)},
        agreement{"servers_taken_over", deflate(true, false), deflate(true, true)},
        agreement{"clients_taken_over", deflate(false, true), deflate(true, true)},
        agreement{"both_taken_over", deflate(true, true), deflate(true, true)},
        agreement{"narrow_windows", narrow(deflate(true, true), 9, 10), deflate(true, true)},
        agreement{"windows_too_narrow", narrow(deflate(true, true), 0, 0), deflate(true, true)},
        agreement{"windows_too_wide", narrow(deflate(false, false), 255, 16),
                  narrow(deflate(true, true), 16, 255)},
        agreement{"windows_too_narrow_of_the_client", deflate(true, true), narrow(deflate(true, true), 8, 1)},
        agreement{"narrow_without_contexts", narrow(deflate(false, false), 10, 9), deflate(false, false)},
        agreement{"asked_by_the_client", deflate(true, true), narrow(deflate(true, true), 11, 15)},
        agreement{"only_one_side_speaks_it", deflate(true, true), {}}),
    [](const ::testing::TestParamInfo<agreement>& one) { return std::string(one.param.name); });

// What contexts cost is counted, never beyond the budget, and given back.
TEST(ws_deflate_budget, bounds_what_contexts_take) {
  options o = echo_options();
  o.deflate = deflate(true, true);
  o.deflate.memory_max = 2 * (inflater::bytes + deflater::bytes_of(window_bits_max));
  web_host s(std::move(o));
  {
    std::vector<std::unique_ptr<client_host>> peers;
    for (int i = 0; i != 6; ++i) {
      client_options c;
      c.connection.deflate = deflate(true, true);
      peers.push_back(std::make_unique<client_host>(s.port, std::move(c)));
      for (int round = 0; round != 3; ++round)
        for (const auto& p : peers) {
          p->send(words(i, 3000));
          ASSERT_EQ(p->next(), words(i, 3000));
        }
      EXPECT_LE(s.statistics().context_bytes, 2 * (inflater::bytes + deflater::bytes_of(window_bits_max)));
    }
    EXPECT_GE(s.statistics().context_bytes, inflater::bytes + deflater::bytes_of(window_bits_max));
  }
  EXPECT_TRUE(server::eventually([&] { return s.statistics().context_bytes == 0; }));
}

// Peers with a context, without, with another window, and without compression, in one room.
TEST(ws_deflate_topics, reach_peers_that_agreed_on_different_things) {
  options o;
  o.max_queued = 16_MiB;
  o.open = [](connection& c) { c.subscribe("room"); };
  o.message = [](connection& c, message m) { c.publish_to_all("room", m); };
  o.deflate = deflate(true, true);
  web_host s(std::move(o), 2);
  const deflate_options spoken[] = {
      deflate(true, true), deflate(false, false), {}, narrow(deflate(true, true), 9, 15)};
  std::vector<std::unique_ptr<client_host>> peers;
  for (int i = 0; i != 12; ++i) {
    client_options c;
    c.connection.deflate = spoken[i % 4];
    peers.push_back(std::make_unique<client_host>(s.port, std::move(c)));
  }
  EXPECT_TRUE(server::eventually([&] { return s.statistics().opened == peers.size(); }));
  for (int round = 0; round != 20; ++round) {
    const std::string what = words(round, round % 3 == 0 ? 100 : 9000);
    peers[static_cast<std::size_t>(round) % peers.size()]->send(what);
    for (std::size_t i = 0; i != peers.size(); ++i) ASSERT_EQ(peers[i]->next(), what) << round << " " << i;
  }
}

// Row 102: what is refused was not compressed into the context either, or the peer could not read on.
TEST(ws_deflate_topics, row_102_a_message_that_is_dropped_leaves_no_trace_in_the_context) {
  std::atomic<int> sent{0};
  std::atomic<bool> done{false};
  options o;
  o.max_queued = 100'000;
  o.deflate = deflate(true, true);
  o.message = [&](connection& c, message m) {
    const std::string what = m.to_string();
    if (what != "flood") return static_cast<void>(c.send(std::move(m)));
    std::mt19937 random(1);
    for (int refused = 0; refused < 50;) {
      std::string body = words(sent, 300);
      for (int i = 0; i != 6000; ++i) body += static_cast<char>(' ' + random() % 90);
      if (c.send(body) <= send_result::queued)
        ++sent;
      else
        ++refused;
    }
    done = true;
  };
  web_host s(std::move(o));
  client_options c;
  c.connection.deflate = deflate(true, true);
  client_host peer(s.port, std::move(c));
  peer.send("flood");
  peer.on_core(
      [&] { EXPECT_TRUE(server::eventually([&] { return done.load(); })); });  // it reads nothing meanwhile
  for (int i = 0; i < sent; ++i) ASSERT_TRUE(peer.next().starts_with(words(i, 300))) << i;
  for (int i = 0; i != 5; ++i) peer.send(words(1000 + i, 4000));
  for (int i = 0; i != 5; ++i) ASSERT_EQ(peer.next(), words(1000 + i, 4000));
}

class ws_shelf : public slab_test {};
TEST_F(ws_shelf, gives_back_what_nobody_needed_since_the_last_look) {
  int filled = 0;
  deflate_shelf shelf([&] { ++filled; });
  EXPECT_TRUE(shelf.empty());
  shelf.give(shelf.take_inflater());
  shelf.give(shelf.take_deflater(15, 6));
  EXPECT_EQ(filled, 1);
  EXPECT_FALSE(shelf.trim());
  shelf.give(shelf.take_deflater(15, 6));
  EXPECT_FALSE(shelf.trim());
  EXPECT_TRUE(shelf.trim());
  shelf.give(shelf.take_inflater());
  EXPECT_EQ(filled, 2);
}

}  // namespace
}  // namespace catenet::ws::testing
