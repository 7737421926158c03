// Topics on a real engine over TCP, with one core and with several: who hears what, in which order, what
// becomes of slow subscribers, names for other threads, and handlers that do anything.
#include <catenet/engine/core.hpp>
#include <catenet/ws/connection.hpp>

#include "ws_ends.hpp"

#include <gtest/gtest.h>

#include <future>
#include <random>
#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

using namespace std::string_literals;

constexpr unsigned text = 0x81, close_ = 0x88;

engine_options on(unsigned cores) {
  engine_options e;
  e.cores = cores;
  return e;
}

options room() {
  options o;
  o.open = [](connection& c) { c.subscribe("room"); };
  o.message = [](connection& c, message m) {
    const std::string what = m.to_string();
    if (what.starts_with("all ")) {
      c.publish_to_all("room", m);
    } else if (what == "leave") {
      c.unsubscribe("room");
      c.send("left");
    } else {
      c.publish("room", m);
      c.send("ok");
    }
  };
  return o;
}

class topics : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(cores, topics, ::testing::Values(1u, 3u));

TEST_P(topics, reach_all_but_the_sender_or_all) {
  server s(room(), on(GetParam()));
  std::vector<peer> all = room_of(s, 12);
  for (const std::string& body : {"hello"s, std::string(3000, 'b'), std::string(200'000, 'c')}) {
    all[3].send(frame(text, body));
    for (std::size_t i = 0; i != all.size(); ++i) EXPECT_EQ(all[i].next(), i == 3 ? "81 ok" : "81 " + body);
    all[4].send(frame(0x82, "all " + body));
    for (peer& p : all) EXPECT_EQ(p.next(), "82 all " + body);
  }
  all[5].send(frame(text, "leave"));
  EXPECT_EQ(all[5].next(), "81 left");
  all[6].send(frame(text, "who"));
  for (std::size_t i = 0; i != all.size(); ++i)
    if (i != 5) {
      EXPECT_EQ(all[i].next(), i == 6 ? "81 ok" : "81 who");
    }
  EXPECT_EQ(all[5].next(100), "silence");
}

TEST_P(topics, keep_the_order_of_each_publisher) {
  server s(room(), on(GetParam()));
  std::vector<peer> all = room_of(s, 8);
  constexpr int count = 300;
  for (int i = 0; i != count; ++i)
    for (std::size_t p = 0; p != 4; ++p)
      all[p].send(frame(text, "all " + std::to_string(p) + " " + std::to_string(i)));
  for (peer& p : all) {
    std::array<int, 4> next{};
    for (int i = 0; i != 4 * count; ++i) {
      const std::string got = p.next();
      ASSERT_EQ(got.substr(0, 7), "81 all ");
      const auto from = static_cast<std::size_t>(got[7] - '0');
      ASSERT_EQ(got.substr(9), std::to_string(next[from]++));
    }
  }
}

TEST_P(topics, are_published_to_from_any_thread) {
  server s(room(), on(GetParam()));
  std::vector<peer> all = room_of(s, 6);
  for (int i = 0; i != 50; ++i) EXPECT_TRUE(s.hub().publish("room", std::to_string(i)));
  for (peer& p : all)
    for (int i = 0; i != 50; ++i) ASSERT_EQ(p.next(), "81 " + std::to_string(i));
  EXPECT_TRUE(s.hub().publish("nobody is here", "x"));
}

TEST_P(topics, share_one_body) {
  server s(room(), on(GetParam()));
  std::vector<peer> all;
  for (int i = 0; i != 20; ++i) all.emplace_back(s, 4096);
  ASSERT_TRUE(server::eventually([&] { return s.hub().statistics().opened == all.size(); }));
  const std::string body(900'000, 'b');
  all[0].send(frame(text, body));
  EXPECT_EQ(all[0].next(), "81 ok");
  // Most of it cannot have left: nobody reads. What is rented is one body, the rest is with the kernel: each
  // core's receives have up to a MiB of large blocks ready.
  const auto rented = [&] {
    std::uint64_t sum = 0;
    for (const class_statistics& c : s.net().slab().statistics().classes) sum += (c.rented + c.lent) * c.size;
    return sum;
  };
  EXPECT_TRUE(server::eventually([&] { return s.hub().statistics().messages_out >= 20; }));
  EXPECT_LT(rented(), 6_MiB) << "20 bodies would be 18 MB";
  for (std::size_t i = 1; i != all.size(); ++i) ASSERT_EQ(all[i].next(), "81 " + body) << i;
}

// Four in the room; the second says 200 long things, the first reads nothing yet, the others get all of it.
std::vector<peer> room_with_a_slow_one(server& s, const std::string& body) {
  std::vector<peer> all;
  for (int i = 0; i != 4; ++i) all.emplace_back(s, i == 0 ? 4096 : 0);
  EXPECT_TRUE(server::eventually([&] { return s.hub().statistics().opened == all.size(); }));
  for (int i = 0; i != 200; ++i) {
    all[1].send(frame(text, body));
    EXPECT_EQ(all[1].next(), "81 ok");
    for (std::size_t r = 2; r != all.size(); ++r) EXPECT_EQ(all[r].next(), "81 " + body);
  }
  return all;
}

TEST_P(topics, row_96_a_slow_subscriber_misses_messages_and_slows_nobody) {
  options o = room();
  o.max_queued = 300_KiB;
  server s(std::move(o), on(GetParam()));
  const std::string body(50'000, 'b');
  std::vector<peer> all = room_with_a_slow_one(s, body);
  EXPECT_GT(s.hub().statistics().dropped, 50u);
  all[0].send(frame(text, "leave"));
  std::string got;
  int delivered = 0;
  while ((got = all[0].next()) == "81 " + body) ++delivered;
  EXPECT_EQ(got, "81 left");
  EXPECT_EQ(delivered + static_cast<int>(s.hub().statistics().dropped), 200);
}

TEST_P(topics, row_96_a_slow_subscriber_is_closed_where_that_is_the_policy) {
  ends told;
  options o = room();
  o.max_queued = 300_KiB;
  o.when_slow = slow_policy::close;
  o.close_timeout_ms = 200;
  told.watch(o);
  server s(std::move(o), on(GetParam()));
  const std::vector<peer> all = room_with_a_slow_one(s, std::string(50'000, 'b'));
  EXPECT_EQ(s.hub().statistics().slow_closed, 1u);
  EXPECT_EQ(told.seen(1), std::vector<std::string>{"1006 "});  // it never answers, as it never reads
}

TEST_P(topics, subscribers_come_and_go_inside_callbacks) {
  options o;
  o.open = [](connection& c) { c.subscribe("room"); };
  o.message = [](connection& c, message m) {
    const std::string what = m.to_string();
    c.unsubscribe("room");
    c.publish("room", m);
    for (int i = 0; i != 50; ++i) EXPECT_TRUE(c.subscribe("topic " + std::to_string(i)));
    EXPECT_FALSE(c.subscribe("topic 7"));
    for (int i = 0; i != 50; i += 2) EXPECT_TRUE(c.unsubscribe("topic " + std::to_string(i)));
    EXPECT_FALSE(c.unsubscribe("topic 8"));
    EXPECT_EQ(c.publish("topic 8", "nobody"), 0u);
    c.publish_to_all("topic 7", m);
    if (what == "bye") c.close();
  };
  o.close = [](connection& c, close_code, std::string_view) {
    EXPECT_FALSE(c.subscribe("room"));
    c.publish("room", "somebody left");
  };
  server s(std::move(o), on(GetParam()));
  std::vector<peer> all = room_of(s, 6);
  for (std::size_t i = 0; i != all.size(); ++i) {
    all[i].send(frame(text, "bye"));
    EXPECT_EQ(all[i].next().substr(0, 6), i == 0 ? "81 bye" : "81 bye");
  }
}

TEST_P(topics, with_wildcards_reach_everybody_once) {
  options o;
  o.message = [](connection& c, message m) {
    const std::string what = m.to_string();
    const std::string topic = what.substr(1);
    const bool changed = what[0] == '+' ? c.subscribe(topic) : what[0] == '-' ? c.unsubscribe(topic) : true;
    EXPECT_TRUE(changed) << what;
    if (what[0] == '!') c.publish_to_all(topic, message::text(topic));
    if (what[0] != '!') c.send("done");
  };
  server s(std::move(o), on(GetParam()));
  std::vector<peer> all = room_of(s, 9);
  const std::string subscriptions[] = {"+a/b", "+a/+", "+a/#", "+#", "+b/b", "++/b", "+a/b/c", "+a", "+a//b"};
  for (std::size_t i = 0; i != all.size(); ++i) {
    all[i].send(frame(text, subscriptions[i]));
    ASSERT_EQ(all[i].next(), "81 done");
  }
  all[0].send(frame(text, "+a/#"));  // two ways to the same message
  ASSERT_EQ(all[0].next(), "81 done");
  const std::pair<std::string, std::string> cases[] = {
      {"a/b", "0123 5   "},   {"a/c", "0123     "}, {"a", "0 23   7 "},   {"b/b", "   345   "},
      {"a/b/c", "0 23  6  "}, {"x", "   3     "},   {"a/b", "0123 5   "}, {"a//b", "0 23    8"}};
  for (const auto& [topic, who] : cases) {
    all[2].send(frame(text, "!" + topic));
    for (std::size_t i = 0; i != all.size(); ++i)
      if (who[i] != ' ') {
        ASSERT_EQ(all[i].next(), "81 " + topic) << i;
      }
  }
  all[3].send(frame(text, "-#"));
  ASSERT_EQ(all[3].next(), "81 done");
  all[2].send(frame(text, "!x"));
  all[2].send(frame(text, "!a/z"));
  EXPECT_EQ(all[1].next(), "81 a/z");
  for (std::size_t i : {3u, 4u, 5u, 6u, 7u, 8u}) EXPECT_EQ(all[i].next(20), "silence") << i;
}

// ---- from other threads

TEST(ws_remote, any_thread_may_send_and_learns_what_became_of_it) {
  std::promise<remote> opened;
  options o = echo();
  o.open = [&](connection& c) { opened.set_value(c.remote()); };
  server s(std::move(o), on(2));
  remote r;
  EXPECT_FALSE(r.send("to nobody"));
  {
    peer p(s);
    r = opened.get_future().get();
    std::promise<send_result> told;
    EXPECT_TRUE(r.send("from afar", true, [&](send_result result) { told.set_value(result); }));
    EXPECT_EQ(told.get_future().get(), send_result::sent);
    EXPECT_EQ(p.next(), "81 from afar");
    r.close(close_code{3001}, "remotely");
    EXPECT_EQ(p.next(), closed_with(3001, "remotely"));
    p.send(frame(close_, close_body(3001)));
    EXPECT_EQ(p.next(), "end");
  }
  ASSERT_TRUE(server::eventually([&] { return s.net().statistics().connections == 0; }));
  std::promise<send_result> gone;
  EXPECT_TRUE(r.send("too late", true, [&](send_result result) { gone.set_value(result); }));
  EXPECT_EQ(gone.get_future().get(), send_result::gone);
  s.stop();
  EXPECT_FALSE(r.send("after the end"));
}

// ---- everything at once

// What the handlers of the next test know of their core.
struct core_of_test {
  std::vector<connection*> live;
  std::mt19937 random{7};
};
thread_local core_of_test here;

// Handlers close, abort, publish to and unsubscribe each other at random while peers come, go and reset.
TEST_P(topics, anything_may_be_closed_at_any_time) {
  options o;
  o.max_queued = 20'000;
  o.when_slow = slow_policy::close;
  o.close_timeout_ms = 50;
  o.open = [](connection& c) {
    here.live.push_back(&c);
    c.subscribe("room");
  };
  o.message = [](connection& c, message m) {
    connection& other = *here.live[here.random() % here.live.size()];
    switch (here.random() % 12) {
      case 0:
        other.close(close_code{3000}, "chosen");
        break;
      case 1:
        other.abort();
        break;
      case 2:
        c.close();
        break;
      case 3:
        c.abort();
        break;
      case 4:
        other.unsubscribe("room");
        break;
      case 5:
        other.subscribe("room");
        break;
      case 6:
        other.send(m);
        break;
      case 7:
        other.ping("p");
        break;
      default:
        c.publish_to_all("room", m);
        break;
    }
  };
  o.close = [](connection& c, close_code, std::string_view) {
    std::erase(here.live, &c);
    c.publish("room", "one left");
    if (!here.live.empty() && here.random() % 4 == 0) here.live.front()->close();
  };
  server s(std::move(o), on(GetParam()));
  std::mt19937 random(11);
  std::vector<peer> peers;
  for (int i = 0; i != 3000; ++i) {
    if (peers.size() < 30) peers.emplace_back(s, random() % 3 == 0 ? 4096 : 0);
    const std::size_t which = random() % peers.size();
    peer& p = peers[which];
    const std::string body(random() % 5 == 0 ? 6000 : 10, 'r');
    switch (random() % 20) {
      case 0:
        p.reset();
        break;
      case 1:
        p.send(frame(close_, close_body(1000)));
        break;
      case 2:
        p.end_sending();
        break;
      case 3:
        p.send(header(text, 500) + "half");
        break;
      case 4:
        p.send("\xff\xff");
        break;
      default:
        p.send(frame(text, body) + frame(text, body));
    }
    if (random() % 10 == 0) {
      std::swap(peers[which], peers.back());
      peers.pop_back();
    }
  }
}

}  // namespace
}  // namespace catenet::ws::testing
