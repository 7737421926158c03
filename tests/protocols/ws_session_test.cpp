// Connections on a real engine over TCP: echoes, violations, the closing handshake, pings, limits.
#include <catenet/ws/connection.hpp>

#include "ws_ends.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace catenet::ws::testing {
namespace {

using namespace std::string_literals;
using frames = std::vector<std::string>;

constexpr unsigned text = 0x81, close_ = 0x88, ping = 0x89, pong = 0x8a;

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
void PrintTo(const violation& v, std::ostream* out) { *out << v.name; }
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
  std::atomic<std::uint64_t> most{0};
  std::uint64_t bytes = 0;
  o.part = [&](connection& c, message_part p) {
    if (p.first) bytes = 0;
    bytes += p.bytes.bytes();
    most = std::max(most.load(), p.bytes.bytes());
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

}  // namespace
}  // namespace catenet::ws::testing
