// Connections on a real engine over TCP: the closing handshake, pings, topics, slow consumers, handlers that
// do anything.
#include <catenet/engine/core.hpp>
#include <catenet/ws/connection.hpp>

#include "ws_peer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

using namespace std::string_literals;
using frames = std::vector<std::string>;

constexpr unsigned text = 0x81, close_ = 0x88, ping = 0x89, pong = 0x8a;

std::string closed_with(unsigned code, std::string_view reason = {}) {
  return "88 " + close_body(code, reason);
}

options echo() {
  options o;
  o.message = [](connection& c, message m) { c.send(std::move(m)); };
  return o;
}

engine_options on(unsigned cores) {
  engine_options e;
  e.cores = cores;
  return e;
}

// Notes what the close handler was told.
struct ends {
  std::mutex mutex;
  std::vector<std::string> told;
  void watch(options& o) {
    o.close = [this](connection&, close_code code, std::string_view reason) {
      const std::lock_guard lock(mutex);
      told.push_back(std::to_string(static_cast<unsigned>(code)) + " " + std::string(reason));
    };
  }
  std::vector<std::string> seen(std::size_t count) {
    server::eventually([&] {
      const std::lock_guard lock(mutex);
      return told.size() >= count;
    });
    const std::lock_guard lock(mutex);
    return told;
  }
};

TEST(ws_session, echoes_messages_of_every_size) {
  server s(echo());
  peer p(s);
  for (std::size_t size : {0u, 1u, 125u, 126u, 508u, 509u, 4000u, 65535u, 65536u, 1u << 20}) {
    const std::string payload(size, 'm');
    p.send(frame(text, payload));
    ASSERT_EQ(p.next(), "81 " + payload) << size;
  }
  p.send(frame(0x02, "frag") + frame(0x00, "men") + frame(0x80, "ted"));
  EXPECT_EQ(p.next(), "82 fragmented");
}

TEST(ws_session, answers_come_in_order_when_frames_come_together) {
  server s(echo());
  peer p(s);
  std::string together;
  for (int i = 0; i != 1000; ++i) together += frame(text, std::to_string(i));
  p.send(together);
  for (int i = 0; i != 1000; ++i) ASSERT_EQ(p.next(), "81 " + std::to_string(i));
}

// Rows that end the connection: Close with the code, then the end of the stream, nothing else.
struct violation {
  const char* name;
  std::string input;
  unsigned code;
};
class violations : public ::testing::TestWithParam<violation> {};
TEST_P(violations, end_this_connection_and_no_other) {
  ends told;
  options o = echo();
  told.watch(o);
  server s(std::move(o));
  peer other(s);
  other.send(frame(text, "before"));
  EXPECT_EQ(other.next(), "81 before");
  {
    peer bad(s);
    bad.send(GetParam().input + frame(text, "after"));
    const std::string last = bad.next();
    EXPECT_EQ(last.substr(0, 5), closed_with(GetParam().code)) << ::testing::PrintToString(last);
    EXPECT_EQ(bad.next(), "end");
  }
  other.send(frame(text, "still here"));
  EXPECT_EQ(other.next(), "81 still here");
  EXPECT_EQ(told.seen(1).at(0).substr(0, 4), std::to_string(GetParam().code));
  EXPECT_EQ(s.hub().statistics().failed, 1u);
}
INSTANTIATE_TEST_SUITE_P(
    rows, violations,
    ::testing::Values(
        violation{"row_77_unmasked", raw_frame{text, "a", false}.bytes(), 1002},
        violation{"row_78_reserved_bit", frame(0xc1, "a"), 1002},
        violation{"row_79_unknown_opcode", frame(0x83, "a"), 1002},
        violation{"row_80_long_ping", frame(ping, std::string(126, 'p')), 1002},
        violation{"row_81_not_the_shortest_length", raw_frame{text, "a", true, 2}.bytes(), 1002},
        violation{"row_82_largest_length", header(text, ~std::uint64_t{0} >> 1), 1009},
        violation{"row_83_continuation_without_a_start", frame(0x80, "a"), 1002},
        violation{"row_85_bad_utf8_mid_frame", header(text, 1000) + "\x37\xfa\x21\xc2"s, 1007},
        violation{"row_87_half_a_close_code", frame(close_, "\x03"), 1002},
        violation{"row_88_close_code_1005", frame(close_, close_body(1005)), 1002},
        violation{"row_90_close_reason_not_utf8", frame(close_, close_body(1000, "\xff")), 1007}),
    [](const ::testing::TestParamInfo<violation>& one) { return std::string(one.param.name); });

TEST(ws_session, row_89_close_is_echoed_and_told) {
  ends told;
  options o = echo();
  told.watch(o);
  server s(std::move(o));
  for (unsigned code : {1000u, 1001u, 1003u, 1014u, 3000u, 4999u}) {
    peer p(s);
    p.send(frame(close_, close_body(code, "because")));
    EXPECT_EQ(p.rest(), (frames{closed_with(code), "end"}));
  }
  peer p(s);
  p.send(frame(close_, ""));
  EXPECT_EQ(p.rest(), (frames{"88 ", "end"}));
  EXPECT_EQ(told.seen(7),
            (std::vector<std::string>{"1000 because", "1001 because", "1003 because", "1014 because",
                                      "3000 because", "4999 because", "1005 "}));
}

TEST(ws_session, row_91_nothing_after_close_is_answered) {
  server s(echo());
  peer p(s);
  p.send(frame(text, "one") + frame(close_, close_body(1000)) + frame(text, "two") + frame(ping, "three"));
  EXPECT_EQ(p.rest(), (frames{"81 one", closed_with(1000), "end"}));
}

TEST(ws_session, row_92_a_peer_that_does_not_answer_our_close_is_closed) {
  ends told;
  options o;
  o.close_timeout_ms = 100;
  o.message = [](connection& c, message) { c.close(close_code::normal, "enough"); };
  told.watch(o);
  server s(std::move(o));
  peer p(s);
  p.send(frame(text, "a"));
  EXPECT_EQ(p.next(), closed_with(1000, "enough"));
  p.send(frame(text, "not heard") + frame(ping, "nor this"));
  EXPECT_EQ(p.next(), "end");
  EXPECT_EQ(told.seen(1), std::vector<std::string>{"1006 "});
}

TEST(ws_session, our_close_and_the_answer_to_it) {
  ends told;
  options o;
  o.message = [](connection& c, message) {
    c.close(close_code{4321}, "done");
    EXPECT_EQ(c.send("more"), send_result::gone);
    c.close(close_code{4322}, "again");
  };
  told.watch(o);
  server s(std::move(o));
  peer p(s);
  p.send(frame(text, "a"));
  EXPECT_EQ(p.next(), closed_with(4321, "done"));
  p.send(frame(text, "not heard") + frame(close_, close_body(4321)));
  EXPECT_EQ(p.next(), "end");
  EXPECT_EQ(told.seen(1), std::vector<std::string>{"4321 "});
}

TEST(ws_session, our_close_says_no_reason_that_is_not_utf8) {
  options o;
  o.message = [](connection& c, message m) { c.close(close_code::normal, m.to_string()); };
  server s(std::move(o));
  for (const std::string& bad : {"\xff"s, "a\xc3"s, "good \xed\xa0\x80"s}) {
    peer p(s);
    p.send(frame(0x82, bad));
    EXPECT_EQ(p.next(), closed_with(1000));
  }
  peer p(s);
  p.send(frame(0x82, "gr\xc3\xbc\xc3\x9f"));
  EXPECT_EQ(p.next(), closed_with(1000, "gr\xc3\xbc\xc3\x9f"));
}

TEST(ws_session, row_93_pings_that_come_together_get_one_pong) {
  server s(echo());
  peer p(s);
  p.send(frame(ping, "1") + frame(ping, "2") + frame(ping, "3") + frame(text, "t") + frame(ping, "4"));
  EXPECT_EQ(p.next(), "8a 3");
  EXPECT_EQ(p.next(), "81 t");
  EXPECT_EQ(p.next(), "8a 4");
}

TEST(ws_session, row_93_a_flood_of_pings_is_ended) {
  server s(echo());
  peer p(s);
  std::string flood;
  for (int i = 0; i != 1000; ++i) flood += frame(ping, "p");
  p.send(flood);
  EXPECT_EQ(p.rest().at(0).substr(0, 5), closed_with(1008));
}

TEST(ws_session, row_94_pongs_are_ignored) {
  server s(echo());
  peer p(s);
  p.send(frame(pong, "nobody asked") + frame(text, "go on"));
  EXPECT_EQ(p.next(), "81 go on");
}

TEST(ws_session, row_95_a_flood_of_empty_fragments_is_ended) {
  server s(echo());
  peer p(s);
  std::string flood = frame(0x01, "");
  for (int i = 0; i != 100; ++i) flood += frame(0x00, "");
  p.send(flood);
  EXPECT_EQ(p.rest().at(0).substr(0, 5), closed_with(1008));
}

TEST(ws_session, the_end_without_a_close_is_told_as_abnormal) {
  ends told;
  options o = echo();
  told.watch(o);
  server s(std::move(o));
  {
    peer p(s);
    p.end_sending();
    EXPECT_EQ(p.next(), "end");
  }
  {
    peer p(s);
    p.send(frame(text, "here"));
    EXPECT_EQ(p.next(), "81 here");
    p.reset();
  }
  {
    peer p(s);
    p.send(header(0x82, 1000) + "half");
    p.reset();
  }
  EXPECT_EQ(told.seen(3), (std::vector<std::string>{"1006 ", "1006 ", "1006 "}));
}

TEST(ws_session, a_handler_that_throws_closes_with_1011) {
  ends told;
  options o;
  o.message = [](connection&, message) { throw std::runtime_error("on purpose"); };
  told.watch(o);
  server s(std::move(o));
  peer p(s);
  p.send(frame(text, "a"));
  EXPECT_EQ(p.next(), closed_with(1011));
  p.send(frame(close_, close_body(1011)));
  EXPECT_EQ(p.next(), "end");
  EXPECT_EQ(told.seen(1), std::vector<std::string>{"1011 "});
}

TEST(ws_session, stopping_the_engine_says_going_away) {
  server s(echo());
  peer p(s);
  p.send(frame(text, "a"));
  EXPECT_EQ(p.next(), "81 a");
  std::thread stopper([&] { s.stop(); });
  EXPECT_EQ(p.next().substr(0, 5), closed_with(1001));
  p.send(frame(close_, close_body(1001)));
  EXPECT_EQ(p.next(), "end");
  stopper.join();
}

TEST(ws_session, a_message_may_be_told_part_by_part) {
  options o;
  o.max_message = 10_MiB;
  std::uint64_t most = 0, bytes = 0;
  o.part = [&](connection& c, message_part p) {
    if (p.first) bytes = 0;
    bytes += p.bytes.bytes();
    most = std::max(most, p.bytes.bytes());
    if (p.last) c.send(std::to_string(bytes) + (p.is_text ? " text" : " binary"));
  };
  server s(std::move(o));
  peer p(s);
  p.send(frame(0x82, std::string(5'000'000, 'x')));
  EXPECT_EQ(p.next(), "81 5000000 binary");
  EXPECT_LE(most, 1_MiB);
  p.send(frame(0x01, "ab") + frame(0x00, "") + frame(0x80, "cde") + frame(text, ""));
  EXPECT_EQ(p.next(), "81 5 text");
  EXPECT_EQ(p.next(), "81 0 text");
  p.send(frame(text, "\xff"));
  EXPECT_EQ(p.next().substr(0, 5), closed_with(1007));
}

TEST(ws_session, messages_a_second_have_a_limit_where_it_is_set) {
  options o = echo();
  o.max_messages_per_second = 50;
  server s(std::move(o));
  peer fast(s), slow(s);
  std::string many;
  for (int i = 0; i != 200; ++i) many += frame(text, "m");
  fast.send(many);
  const frames got = fast.rest();
  EXPECT_GE(got.size(), 52u);
  EXPECT_LE(got.size(), 102u);  // where a second ended meanwhile
  EXPECT_EQ(got.end()[-2].substr(0, 5), closed_with(1008));
  slow.send(frame(text, "m"));
  EXPECT_EQ(slow.next(), "81 m");
}

TEST(ws_session, quiet_peers_are_pinged_and_idle_ones_closed) {
  options o = echo();
  o.ping_every_ms = 100;
  o.idle_timeout_ms = 600;
  server s(std::move(o));
  peer p(s);
  int pings = 0;
  std::string f = p.next();
  for (; f == "89 "; f = p.next()) ++pings;
  EXPECT_GE(pings, 3);
  EXPECT_EQ(f.substr(0, 5), closed_with(1001));
  peer alive(s);
  for (int i = 0; i != 10; ++i) {
    ASSERT_EQ(alive.next(), "89 ");
    alive.send(frame(pong, ""));
  }
}

TEST(ws_session, a_peer_that_does_not_read_is_not_listened_to) {
  std::atomic<int> heard{0};
  options o;
  o.max_queued = 64_MiB;
  o.message = [&](connection& c, message) {
    ++heard;
    c.send(std::string(100'000, 'x'));
  };
  server s(std::move(o));
  peer p(s, 4096);
  std::string many;
  for (int i = 0; i != 500; ++i) many += frame(text, "a");
  p.send(many);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(heard, 100);
  for (int i = 0; i != 500; ++i) ASSERT_EQ(p.next().size(), 100'003u) << i;
  EXPECT_EQ(heard, 500);
}

// ---- topics

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

std::vector<peer> room_of(server& s, std::size_t count) {
  std::vector<peer> all;
  for (std::size_t i = 0; i != count; ++i) all.emplace_back(s);
  EXPECT_TRUE(server::eventually([&] { return s.hub().statistics().opened == count; }));
  return all;
}

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

TEST_P(topics, row_96_a_slow_subscriber_misses_messages_and_slows_nobody) {
  options o = room();
  o.max_queued = 300_KiB;
  server s(std::move(o), on(GetParam()));
  std::vector<peer> all;
  all.emplace_back(s, 4096);  // never reads until the end
  for (int i = 0; i != 3; ++i) all.emplace_back(s);
  ASSERT_TRUE(server::eventually([&] { return s.hub().statistics().opened == all.size(); }));
  const std::string body(50'000, 'b');
  for (int i = 0; i != 200; ++i) {
    all[1].send(frame(text, body));
    EXPECT_EQ(all[1].next(), "81 ok");
    for (std::size_t r = 2; r != all.size(); ++r) ASSERT_EQ(all[r].next(), "81 " + body);
  }
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
  std::vector<peer> all;
  for (int i = 0; i != 4; ++i) all.emplace_back(s, i == 0 ? 4096 : 0);
  ASSERT_TRUE(server::eventually([&] { return s.hub().statistics().opened == all.size(); }));
  const std::string body(50'000, 'b');
  for (int i = 0; i != 200; ++i) {
    all[1].send(frame(text, body));
    EXPECT_EQ(all[1].next(), "81 ok");
    for (std::size_t r = 2; r != all.size(); ++r) ASSERT_EQ(all[r].next(), "81 " + body);
  }
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
