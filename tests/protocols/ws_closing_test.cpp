// How connections end where something else is under way: deadlines, a Close that was held back, a reset by a
// handler, and what a handler throws.
#include <catenet/engine/core.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/ws/connection.hpp>

#include "ws_clients.hpp"
#include "ws_ends.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>

namespace catenet::ws::testing {
namespace {

constexpr unsigned text = 0x81;
using clock = std::chrono::steady_clock;

// What else has a deadline must not put off the one of our Close.
TEST(ws_closing_session, the_peers_time_to_answer_is_kept_where_messages_are_counted) {
  ends told;
  options o;
  o.close_timeout_ms = 200;
  o.max_messages_per_second = 100;
  o.message = [](connection& c, message) { c.close(); };
  told.watch(o);
  server s(std::move(o));
  peer mute(s);
  const auto begin = clock::now();
  mute.send(frame(text, "a"));
  EXPECT_EQ(told.seen(1), std::vector<std::string>{"1006 "});
  EXPECT_LT(clock::now() - begin, std::chrono::seconds(8)) << "idle contexts are kept for 10 s";
}

// The peer's Close is there already, behind what we do not read as long as the peer does not.
TEST(ws_closing_session, a_close_that_was_held_back_is_seen_after_ours) {
  ends told;
  options o;
  o.max_queued = 64_MiB;
  o.close_timeout_ms = 60'000;
  std::atomic<connection*> busy{nullptr};
  o.message = [&](connection& c, message) {
    c.send(std::string(12'000'000, 'x'));
    busy = &c;
  };
  told.watch(o);
  server s(std::move(o));
  peer p(s, 4096);
  p.send(frame(text, "get") + frame(text, "more") + frame(0x88, close_body(4000)));
  ASSERT_TRUE(server::eventually([&] { return busy != nullptr; }));
  s.net().at(0).post([&] { busy.load()->close(); });
  EXPECT_EQ(told.seen(1), std::vector<std::string>{"4000 "});
  EXPECT_EQ(p.next().size(), 12'000'003u);
  EXPECT_EQ(s.hub().statistics().messages_in, 1u);
}

TEST(ws_closing_session, nothing_is_told_of_a_connection_that_was_aborted) {
  ends told;
  std::atomic<int> messages{0};
  options o;
  o.message = [&](connection& c, message) {
    ++messages;
    c.abort();
    EXPECT_FALSE(c.is_open());
    EXPECT_FALSE(c.subscribe("room"));
    EXPECT_EQ(c.send("late"), send_result::gone);
  };
  told.watch(o);
  server s(std::move(o));
  peer p(s);
  std::string many;
  for (int i = 0; i != 100; ++i) many += frame(text, "a");
  p.send(many + frame(0x88, close_body(1000)));
  EXPECT_EQ(told.seen(1), std::vector<std::string>{"1006 "});
  EXPECT_EQ(messages, 1);
}

TEST(ws_closing_session, what_work_from_another_thread_throws_closes_the_connection) {
  set_log_sink(nullptr);
  std::atomic<bool> opened{false};
  remote name;
  ends told;
  options o;
  o.open = [&](connection& c) {
    name = c.remote();
    opened = true;
  };
  told.watch(o);
  {
    server s(std::move(o));
    peer p(s);
    ASSERT_TRUE(server::eventually([&] { return opened.load(); }));
    EXPECT_TRUE(name.run([](connection*) { throw std::runtime_error("on purpose"); }));
    EXPECT_EQ(p.next(), closed_with(1011));
    p.send(frame(0x88, close_body(1011)));
    EXPECT_EQ(told.seen(1), std::vector<std::string>{"1011 "});
    EXPECT_TRUE(name.send("late", true, [](send_result) { throw 1; }));
    peer another(s);
    EXPECT_TRUE(server::eventually([&] { return s.hub().statistics().opened == 2; })) << "the server lives";
  }
}

// Both have much under way to the other, and the server reads on only when its client does.
TEST(ws_closing_session, a_client_reads_on_while_its_server_does_not) {
  constexpr int count = 64;
  const std::string body(500'000, 'b');
  options o;
  o.max_queued = 1_GiB;
  o.message = [](connection& c, message m) {
    std::optional<message> twin = m.share();
    c.send(std::move(m));
    if (twin) c.send(std::move(*twin));
  };
  web_host host(std::move(o));
  client_options c;
  c.connection.max_queued = 1_GiB;
  client_host client(host.port, std::move(c));
  ASSERT_EQ(client.first(), "open");
  for (int i = 0; i != count; ++i) client.send(body);
  for (int i = 0; i != 2 * count; ++i) ASSERT_EQ(client.next(), body) << i;
}

}  // namespace
}  // namespace catenet::ws::testing
