// Slow subscribers: what each policy keeps, byte-exact budgets, and what is told about it.
#include <catenet/engine/core.hpp>
#include <catenet/ws/connection.hpp>

#include "ws/outbox.hpp"
#include "ws/publication.hpp"
#include "ws_peer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

using namespace std::string_literals;

constexpr unsigned text = 0x81;

class ws_outbox : public slab_test {};

std::string contents(outbox& o) {
  std::string all;
  while (!o.empty()) all += o.take_next().to_string() + " ";
  EXPECT_EQ(o.bytes(), 0u);
  return all;
}

TEST_F(ws_outbox, drops_the_oldest_published_frame_and_no_other) {
  outbox o;
  o.add(chain::copy_of("direct"));
  o.add_published(chain::copy_of("p1"), "t", false);
  o.add(chain::copy_of("direct2"));
  o.add_published(chain::copy_of("p2"), "t", false);
  EXPECT_EQ(o.bytes(), 17u);
  EXPECT_TRUE(o.drop_oldest());
  EXPECT_EQ(o.bytes(), 15u);
  EXPECT_TRUE(o.drop_oldest());
  EXPECT_FALSE(o.drop_oldest());
  EXPECT_EQ(contents(o), "direct direct2 ");
}

TEST_F(ws_outbox, keeps_the_latest_of_each_topic) {
  outbox o;
  const auto publish = [&](std::string_view what, std::string_view topic) {
    chain frame = chain::copy_of(what);
    if (!o.replace(frame, topic)) o.add_published(std::move(frame), topic, true);
  };
  publish("a1", "a");
  publish("b1", "b");
  o.add(chain::copy_of("direct"));
  publish("a22", "a");
  publish("c1", "c");
  publish("b333", "b");
  EXPECT_EQ(o.bytes(), 3u + 4 + 6 + 2);
  EXPECT_TRUE(o.drop_oldest());
  publish("a4", "a");
  EXPECT_EQ(contents(o), "b333 direct c1 a4 ");
}

// It may wait long for somebody slow, and so must not keep the wide block that it was received into.
TEST_F(ws_outbox, what_is_published_leaves_a_block_that_it_uses_little_of) {
  const std::string body(3000, 'b');
  for (const std::size_t came_in : {64_KiB, 256_KiB}) {
    lease block = lease::of(came_in);
    ASSERT_TRUE(block);
    std::memcpy(block.bytes().data(), body.data(), body.size());
    publication p{"t", message{chain{std::move(block), 0, body.size()}, true}};
    ASSERT_TRUE(p);
    const std::string frame = p.plain().to_string();
    EXPECT_EQ(frame.substr(frame.size() - body.size()), body);
    for (const segment* s = p.plain().head(); s != nullptr; s = s->next)
      EXPECT_LE(s->blk->capacity(), 4_KiB) << "a body of 3000 bytes that came in a block of " << came_in;
  }
}

// A room whose first member reads nothing until the end; the others must not be slowed.
class slow {
 public:
  slow(slow_policy policy, std::uint64_t budget)
      : server_(make_options(policy, budget, &missed_)),
        deaf_(server_, 4096),
        speaker_(server_),
        reader_(server_) {
    EXPECT_TRUE(server::eventually([&] { return server_.hub().statistics().opened == 3; }));
  }

  void say(const std::string& topic, const std::string& what) {
    speaker_.send(frame(text, topic + " " + what));
    ASSERT_EQ(reader_.next(), "81 " + what);
  }
  peer& deaf() { return deaf_; }
  ws::statistics statistics() { return server_.hub().statistics(); }
  std::uint64_t missed() { return missed_; }

  // What the deaf one gets when it reads at last, up to the answer to a question of its own.
  std::vector<std::string> all_it_gets() {
    deaf_.send(frame(text, "? question"));
    std::vector<std::string> all;
    for (std::string got = deaf_.next(); got != "81 answer"; got = deaf_.next()) {
      if (got == "silence" || got == "end") break;
      all.push_back(got.substr(3));
    }
    return all;
  }

 private:
  static options make_options(slow_policy policy, std::uint64_t budget, std::atomic<std::uint64_t>* missed) {
    options o;
    o.max_queued = budget;
    o.when_slow = policy;
    o.open = [](connection& c) { c.subscribe("#"); };
    o.message = [](connection& c, message m) {
      const std::string what = m.to_string();
      if (what == "? question") {
        c.send("answer");
      } else {
        const std::size_t space = what.find(' ');
        c.publish(what.substr(0, space), message::text(what.substr(space + 1)));
      }
    };
    o.missed = [missed](connection&, std::uint64_t dropped) { *missed += dropped; };
    return o;
  }

  std::atomic<std::uint64_t> missed_{0};
  server server_;
  peer deaf_, speaker_, reader_;
};

std::string body(int i) { return std::to_string(i) + ":" + std::string(20'000, 'b'); }
int number_of(const std::string& what) { return std::stoi(what.substr(0, what.find(':'))); }

constexpr int messages = 200;

TEST(ws_slow_session, drop_newest_keeps_the_beginning) {
  slow s(slow_policy::drop_newest, 400'000);
  for (int i = 0; i != messages; ++i) s.say("t", body(i));
  const std::vector<std::string> got = s.all_it_gets();
  ASSERT_GT(got.size(), 10u);
  for (std::size_t i = 0; i != got.size(); ++i) EXPECT_EQ(number_of(got[i]), static_cast<int>(i));
  EXPECT_EQ(got.size() + s.statistics().dropped, static_cast<unsigned>(messages));
  EXPECT_TRUE(server::eventually([&] { return s.missed() == s.statistics().dropped; }));
}

TEST(ws_slow_session, drop_oldest_keeps_what_began_to_leave_and_the_end) {
  slow s(slow_policy::drop_oldest, 400'000);
  for (int i = 0; i != messages; ++i) s.say("t", body(i));
  const std::vector<std::string> got = s.all_it_gets();
  ASSERT_GT(got.size(), 10u);
  int before = -1, gaps = 0;
  for (const std::string& one : got) {
    EXPECT_GT(number_of(one), before);
    gaps += number_of(one) != before + 1 ? 1 : 0;
    before = number_of(one);
  }
  EXPECT_EQ(before, messages - 1);
  EXPECT_EQ(gaps, 1);
  EXPECT_EQ(got.size() + s.statistics().dropped, static_cast<unsigned>(messages));
}

// Nothing is dropped for what would not fit even then.
TEST(ws_slow_session, drop_oldest_drops_nothing_for_what_cannot_fit) {
  slow s(slow_policy::drop_oldest, 400'000);
  for (int i = 0; i != messages; ++i) s.say("t", body(i));
  const std::uint64_t dropped = s.statistics().dropped;
  ASSERT_GT(dropped, 0u) << "it is not slow";
  s.say("t", std::string(400'000, 'x'));
  EXPECT_EQ(s.statistics().dropped, dropped + 1);
  const std::vector<std::string> got = s.all_it_gets();
  EXPECT_EQ(number_of(got.back()), messages - 1);
}

// What lies in the stream has begun to leave and cannot be replaced, so little lies there.
TEST(ws_slow_session, conflate_leaves_few_old_values_waiting) {
  std::atomic<std::uint64_t> unsent{0};
  std::atomic<int> asked{0};
  options o;
  o.when_slow = slow_policy::conflate;
  o.open = [](connection& c) { c.subscribe("t"); };
  o.message = [&](connection& c, message m) {
    if (m.size() > 1) return static_cast<void>(c.publish("t", std::move(m)));
    unsent = c.unsent();
    ++asked;
  };
  server s(std::move(o));
  peer deaf(s, 4096), speaker(s);
  ASSERT_TRUE(server::eventually([&] { return s.hub().statistics().opened == 2; }));
  const std::string value = frame(text, std::string(900, 'v'));
  for (int i = 0; i != 200; ++i) {
    std::string many;
    for (int k = 0; k != 50; ++k) many += value;
    speaker.send(many);
  }
  ASSERT_TRUE(server::eventually([&] { return s.hub().statistics().published == 10'000; }));
  deaf.send(frame(text, "?"));
  ASSERT_TRUE(server::eventually([&] { return asked != 0; }));
  EXPECT_GT(s.hub().statistics().dropped, 0u) << "it is not slow";
  EXPECT_LE(unsent, 20'000u);
}

TEST(ws_slow_session, conflate_keeps_the_latest_of_each_topic) {
  slow s(slow_policy::conflate, 400'000);
  for (int i = 0; i != messages; ++i) s.say("t" + std::to_string(i % 3), body(i));
  const std::vector<std::string> got = s.all_it_gets();
  ASSERT_GT(got.size(), 3u);
  std::vector<int> last;
  for (std::size_t i = got.size() - 3; i != got.size(); ++i) last.push_back(number_of(got[i]));
  std::sort(last.begin(), last.end());
  EXPECT_EQ(last, (std::vector<int>{messages - 3, messages - 2, messages - 1}));
  EXPECT_EQ(got.size() + s.statistics().dropped, static_cast<unsigned>(messages));
}

TEST(ws_slow_session, close_says_1008_behind_what_began_to_leave) {
  slow s(slow_policy::close, 400'000);
  for (int i = 0; i != messages; ++i) s.say("t", body(i));
  EXPECT_EQ(s.statistics().slow_closed, 1u);
  std::string got;
  int i = 0;
  for (got = s.deaf().next(); got.starts_with("81"); got = s.deaf().next())
    EXPECT_EQ(number_of(got.substr(3)), i++);
  EXPECT_EQ(got.substr(0, 5), "88 " + close_body(1008)) << ::testing::PrintToString(got);
}

// Four budgets' worth, published within one turn of the loop to a peer that reads: the socket has room for
// it, and nobody had offered it anything yet.
class ws_burst : public ::testing::TestWithParam<slow_policy> {};

TEST_P(ws_burst, within_one_turn_makes_no_reader_slow) {
  constexpr int burst = 400;
  options o;
  o.max_queued = 100'000;
  o.when_slow = GetParam();
  o.open = [](connection& c) { c.subscribe("#"); };
  o.message = [](connection& c, message) {
    for (int i = 0; i != burst; ++i)
      c.publish_to_all("t/" + std::to_string(i % 5),
                       message::text(std::to_string(i) + std::string(1000, 'p')));
  };
  server s(std::move(o));
  peer reader(s), speaker(s);
  EXPECT_TRUE(server::eventually([&] { return s.hub().statistics().opened == 2; }));
  for (int round = 0; round != 3; ++round) {
    speaker.send(frame(text, "go"));
    for (peer* one : {&reader, &speaker})
      for (int i = 0; i != burst; ++i)
        ASSERT_EQ(one->next(), "81 " + std::to_string(i) + std::string(1000, 'p')) << "round " << round;
  }
  EXPECT_EQ(s.hub().statistics().dropped, 0u);
  EXPECT_EQ(s.hub().statistics().slow_closed, 0u);
}

INSTANTIATE_TEST_SUITE_P(policies, ws_burst,
                         ::testing::Values(slow_policy::drop_newest, slow_policy::drop_oldest,
                                           slow_policy::conflate, slow_policy::close));

TEST(ws_slow_session, direct_sends_within_one_turn_are_offered_before_they_are_refused) {
  options o;
  o.max_queued = 100'000;
  o.message = [](connection& c, message) {
    for (int i = 0; i != 80; ++i) EXPECT_LE(c.send(std::string(5000, 's')), send_result::queued) << i;
  };
  server s(std::move(o));
  peer p(s);
  p.send(frame(text, "go"));
  for (int i = 0; i != 80; ++i) ASSERT_EQ(p.next(), "81 " + std::string(5000, 's')) << i;
}

// What is queued for one peer never exceeds its budget, directly sent messages included.
TEST(ws_slow_session, budgets_are_exact_and_direct_sends_are_refused_beyond) {
  constexpr std::uint64_t budget = 100'000;
  constexpr int sends = 4000;  // more than a socket holds
  std::atomic<std::uint64_t> most{0};
  std::atomic<int> sent{0}, over{0};
  options o;
  o.max_queued = budget;
  o.message = [&](connection& c, message) {
    for (int i = 0; i != sends; ++i) {
      const send_result r = c.send(std::string(5000, 's'));
      (r == send_result::over_limit ? over : sent) += 1;
      most = std::max<std::uint64_t>(most, c.unsent());
    }
  };
  server s(std::move(o));
  peer p(s, 4096);
  p.send(frame(text, "go"));
  ASSERT_TRUE(server::eventually([&] { return sent + over == sends; }));
  for (int i = 0; i < sent; ++i) ASSERT_EQ(p.next(), "81 " + std::string(5000, 's')) << i << " of " << sent;
  EXPECT_GT(over, 1000);
  EXPECT_LE(most, budget);
  EXPECT_GT(most, budget - 5004);
  EXPECT_EQ(p.next(100), "silence");
}

TEST(ws_slow_session, a_close_comes_behind_what_was_sent_before) {
  options o;
  o.max_queued = 4_MiB;
  o.message = [](connection& c, message) {
    for (int i = 0; i != 30; ++i) EXPECT_LE(c.send(std::string(100'000, 's')), send_result::queued);
    c.close(close_code{4000}, "that was all");
  };
  server s(std::move(o));
  peer p(s, 4096);
  p.send(frame(text, "go"));
  for (int i = 0; i != 30; ++i) ASSERT_EQ(p.next(), "81 " + std::string(100'000, 's'));
  EXPECT_EQ(p.next(), "88 " + close_body(4000, "that was all"));
  p.send(frame(0x88, close_body(4000)));
  EXPECT_EQ(p.next(), "end");
}

TEST(ws_slow_session, writable_is_told_when_the_queue_is_all_but_gone) {
  std::atomic<int> told{0};
  options o;
  o.max_queued = 8_MiB;
  o.message = [](connection& c, message) {
    while (c.send(std::string(50'000, 's')) == send_result::sent) {
    }
  };
  o.writable = [&](connection& c) {
    EXPECT_LT(c.unsent(), 300'000u);
    if (++told < 5) {
      while (c.send(std::string(50'000, 's')) == send_result::sent) {
      }
    } else {
      c.send("done");
    }
  };
  server s(std::move(o));
  peer p(s, 4096);
  p.send(frame(text, "go"));
  std::string got = p.next();
  while (got == "81 " + std::string(50'000, 's')) got = p.next();
  EXPECT_EQ(got, "81 done");
  EXPECT_EQ(told, 5);
}

}  // namespace
}  // namespace catenet::ws::testing
