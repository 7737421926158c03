// Links between engines: order, budget, reconnecting, what is lost and dropped is counted, bad frames, no
// memory.
#include <catenet/bus/flusher.hpp>
#include <catenet/bus/link.hpp>
#include <catenet/bus/writer.hpp>
#include <catenet/engine/task.hpp>
#include <catenet/frame/decoder.hpp>

#include "bus_link_host.hpp"
#include "frame_formats.hpp"
#include "support/client.hpp"
#include "support/raw_listener.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace catenet::test {
namespace {

using bus::link;
using bus::link_options;
using bus::link_result;
using bus::link_statistics;
using bus::overflow;

constexpr int patience_ms = 30'000;

std::string letter(int number, std::size_t bytes) {
  std::string text = std::to_string(number) + ":";
  text.resize(std::max(text.size(), bytes), static_cast<char>('a' + number % 26));
  return text;
}
std::size_t size_of(int number) {
  return static_cast<std::size_t>(number * 7919 % 3000) + (number % 50 == 0 ? 90'000 : 0);
}

class bus_link_session : public testing::TestWithParam<const frame::format*> {};

TEST_P(bus_link_session, messages_of_every_size_arrive_in_order_both_ways) {
  const link_options how{.format = GetParam()};
  const std::string path = "unix:/tmp/catenet-bus-link-" + std::to_string(getpid());
  for (const std::string& where : {std::string("127.0.0.1:0"), path}) {
    link_host server;
    const endpoint at = server.accept(where, how);
    server.start();
    link_host dialler;
    dialler.start();
    dialler.dial(at, how);
    ASSERT_TRUE(eventually([&] { return server.connected() && dialler.connected(); }, patience_ms));
    constexpr int count = 600;
    for (int i = 0; i != count; ++i) {
      for (link_host* from : {&server, &dialler}) {
        link_result r = link_result::full;
        ASSERT_TRUE(eventually([&] { return (r = from->send(letter(i, size_of(i)))) != link_result::full; }));
        ASSERT_EQ(r, link_result::accepted) << bus::text(r);
      }
    }
    for (link_host* to : {&server, &dialler}) {
      ASSERT_TRUE(eventually([&] { return to->got_count() == count; }, patience_ms)) << to->got_count();
      const std::vector<std::string> got = to->got();
      for (int i = 0; i != count; ++i)
        ASSERT_EQ(got[static_cast<std::size_t>(i)], letter(i, size_of(i))) << i;
      ASSERT_TRUE(eventually([&] { return to->statistics().unsent_messages == 0; }));
      const link_statistics s = to->statistics();
      expect_accounted(s);
      EXPECT_EQ(s.sent_messages, static_cast<std::uint64_t>(count));
      EXPECT_EQ(s.received_messages, static_cast<std::uint64_t>(count));
      EXPECT_EQ(s.connects, 1u);
    }
    dialler.with([](link& l) { l.close(); });
    EXPECT_TRUE(eventually([&] { return server.overs().size() == 1 && dialler.overs().size() == 1; }));
    EXPECT_EQ(server.overs()[0], "");
    EXPECT_EQ(dialler.overs()[0], "");
    EXPECT_EQ(dialler.send("late"), link_result::over);
    EXPECT_EQ(dialler.statistics().lost_messages, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(formats, bus_link_session,
                         testing::Values(&frame::length_u32, &frame::magic_u32, &frame::varint),
                         [](const auto& of) { return std::string(of.param->name); });

TEST(bus_link_client_session,
     what_waits_goes_to_the_next_connection_and_what_was_handed_over_is_not_sent_twice) {
  auto server = std::make_unique<link_host>();
  const endpoint at = server->accept("127.0.0.1:0");
  server->start();
  link_host dialler;
  dialler.start();
  dialler.dial(at, {.retry_ms_min = 5, .retry_ms_max = 20});
  ASSERT_TRUE(eventually([&] { return dialler.connected(); }, patience_ms));
  std::vector<std::string> seen;
  int next = 0;
  for (int round = 0; round != 3; ++round) {
    for (int i = 0; i != 50; ++i) ASSERT_EQ(dialler.send(letter(next++, 100)), link_result::accepted);
    ASSERT_TRUE(eventually([&] { return server->got_count() != 0; }, patience_ms));
    const auto part = server->got();
    seen.insert(seen.end(), part.begin(), part.end());
    server.reset();
    ASSERT_TRUE(eventually([&] { return !dialler.connected(); }, patience_ms));
    for (int i = 0; i != 50; ++i) ASSERT_EQ(dialler.send(letter(next++, 100)), link_result::accepted);
    server = std::make_unique<link_host>();
    server->accept(at.text());
    server->start();
    ASSERT_TRUE(eventually([&] { return dialler.connected(); }, patience_ms));
  }
  ASSERT_EQ(dialler.send("last"), link_result::accepted);
  ASSERT_TRUE(
      eventually([&] { return server->got_count() != 0 && server->got().back() == "last"; }, patience_ms));
  const auto part = server->got();
  seen.insert(seen.end(), part.begin(), part.end() - 1);
  int before = -1;
  for (const std::string& text : seen) {
    const int number = std::stoi(text);
    ASSERT_GT(number, before) << "doubled or out of order";
    ASSERT_EQ(text, letter(number, 100));
    before = number;
  }
  // What was accepted while there was no connection has come: 50 in each round, behind whatever was lost.
  EXPECT_GE(seen.size(), 150u);
  const link_statistics s = dialler.statistics();
  expect_accounted(s);
  EXPECT_EQ(s.offered_messages, 301u);
  EXPECT_GE(s.connects, 4u) << "a dial may meet the old listener's backlog";
  EXPECT_EQ(s.disconnects, s.connects - 1);
  EXPECT_EQ(dialler.overs().size(), 0u) << "it would have gone on";
}

TEST(bus_link_client_session, a_refused_connection_is_told_and_tried_again) {
  endpoint nobody;
  {
    raw_listener gone;
    nobody = gone.at();
  }
  link_host dialler;
  dialler.start();
  dialler.dial(nobody, {.retry_ms_min = 1, .retry_ms_max = 2});
  ASSERT_EQ(dialler.send("kept"), link_result::accepted);
  ASSERT_TRUE(eventually([&] { return dialler.downs().size() >= 3; }, patience_ms));
  EXPECT_NE(dialler.downs()[0].find("ECONNREFUSED"), std::string::npos) << dialler.downs()[0];
  dialler.with([](link& l) { l.close(); });
  ASSERT_TRUE(eventually([&] { return dialler.overs().size() == 1; }, patience_ms));
  const link_statistics s = dialler.statistics();
  EXPECT_GE(s.connect_failures, 3u);
  EXPECT_EQ(s.lost_messages, 1u) << "it waited when the link was closed";
  expect_accounted(s);
}

// A peer that takes nothing, then everything: never more than the budget is held, and each policy's promise.
class bus_link_budget_session : public testing::TestWithParam<overflow> {};

TEST_P(bus_link_budget_session, is_never_exceeded_and_what_is_dropped_is_counted) {
  constexpr std::uint64_t budget = 300'000;
  constexpr int count = 12'000;
  raw_listener slow(4096);
  link_host dialler;
  dialler.start();
  dialler.dial(slow.at(), {.budget_bytes = budget, .when_full = GetParam()});
  client peer = slow.accept();
  ASSERT_TRUE(peer);
  ASSERT_TRUE(eventually([&] { return dialler.connected(); }, patience_ms));
  std::vector<int> accepted;
  std::uint64_t dropped = 0;
  std::uint64_t full = 0;
  for (int i = 0; i != count; ++i) {
    switch (dialler.send(letter(i, 1000))) {
      case link_result::accepted:
        accepted.push_back(i);
        break;
      case link_result::dropped:
        ++dropped;
        break;
      case link_result::full:
        ++full;
        break;
      default:
        FAIL();
    }
  }
  link_statistics s = dialler.statistics();
  expect_accounted(s);
  EXPECT_LE(s.unsent_bytes_max, budget);
  EXPECT_GT(s.unsent_bytes_max, budget - 2 * 1004) << "and it is used";
  EXPECT_EQ(s.refused_messages, full);
  if (GetParam() == overflow::refuse) {
    EXPECT_GT(full, 0u);
    EXPECT_EQ(s.dropped_messages, 0u);
  } else {
    EXPECT_EQ(full, 0u);
    EXPECT_GT(s.dropped_messages, 0u);
  }
  if (GetParam() == overflow::drop_newest) {
    EXPECT_EQ(s.dropped_messages, dropped);
  }
  dialler.with([](link& l) { l.close(); });
  const std::string wire = peer.receive_all();
  std::vector<int> got;
  for (std::size_t at = 0; at != wire.size();) {
    ASSERT_LE(at + 4, wire.size());
    const std::uint32_t length =
        frame::detail::load_u32(reinterpret_cast<const std::byte*>(wire.data() + at));
    const std::string text = wire.substr(at + 4, length);
    got.push_back(std::stoi(text));
    ASSERT_EQ(text, letter(got.back(), 1000));
    at += 4 + length;
  }
  peer = {};
  ASSERT_TRUE(eventually([&] { return dialler.overs().size() == 1; }, patience_ms));
  s = dialler.statistics();
  expect_accounted(s);
  EXPECT_EQ(s.lost_messages, 0u);
  EXPECT_EQ(got.size(), s.sent_messages);
  EXPECT_EQ(got.size() + s.dropped_messages + s.refused_messages, static_cast<std::size_t>(count));
  if (GetParam() == overflow::drop_oldest)
    EXPECT_EQ(got.back(), count - 1) << "the newest is kept";
  else
    EXPECT_EQ(got, accepted) << "nothing that was accepted is dropped";
  EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
}

INSTANTIATE_TEST_SUITE_P(policies, bus_link_budget_session,
                         testing::Values(overflow::refuse, overflow::drop_newest, overflow::drop_oldest),
                         [](const auto& of) {
                           return of.param == overflow::refuse        ? "refuse"
                                  : of.param == overflow::drop_newest ? "drop_newest"
                                                                      : "drop_oldest";
                         });

task<> send_one(link& l, std::string text, std::vector<std::string>& done) {
  const link_result r = co_await l.send(chain::copy_of(text));
  done.push_back(text + " " + std::string(bus::text(r)));
}

TEST(bus_link_client_session, who_waits_for_room_is_served_in_order_and_may_give_up) {
  raw_listener slow(4096);
  link_host dialler;
  dialler.start();
  dialler.dial(slow.at(), {.budget_bytes = 200'000});
  client peer = slow.accept();
  ASSERT_TRUE(eventually([&] { return dialler.connected(); }, patience_ms));
  std::vector<std::string> done;
  std::vector<task<>> waiting;
  dialler.with([&](link& l) {
    for (const std::size_t bytes : {50'000u, 1u})
      while (l.try_send(chain::copy_of(std::string(bytes, 'f'))) == link_result::accepted) {
      }
    for (int i = 0; i != 1000; ++i) waiting.push_back(send_one(l, std::to_string(i), done));
    // Small ones that would fit wait behind those that came first; every third gives up.
    for (std::size_t i = 0; i < waiting.size(); i += 3) waiting[i].reset();
    EXPECT_EQ(l.try_send(chain::copy_of("x")), link_result::full);
  });
  std::string wire;
  const auto all_done = [&] { return dialler.host().on_core([&] { return done.size() == 666; }); };
  while (!all_done()) wire += peer.receive_some(1);
  dialler.with([&](link& l) {
    l.close();
    waiting.clear();
  });
  int expected = 0;
  for (const std::string& text : done) {
    if (expected % 3 == 0) ++expected;
    ASSERT_EQ(text, std::to_string(expected++) + " accepted");
  }
}

TEST(bus_link_client_session, who_waits_is_told_when_the_link_is_closed) {
  endpoint nobody;
  {
    raw_listener gone;
    nobody = gone.at();
  }
  link_host dialler;
  dialler.start();
  dialler.dial(nobody, {.budget_bytes = 100});
  std::vector<std::string> done;
  std::optional<task<>> first, second;
  dialler.with([&](link& l) {
    EXPECT_EQ(l.try_send(chain::copy_of(std::string(200, 'l'))), link_result::too_long);
    EXPECT_EQ(l.try_send(chain::copy_of(std::string(90, 'l'))), link_result::accepted);
    first = send_one(l, "first-in-the-line", done);
    second = send_one(l, "second", done);
    EXPECT_TRUE(done.empty());
    l.close();
    EXPECT_EQ(done.size(), 2u);
    first.reset();
    second.reset();
  });
  EXPECT_EQ(done[0], "first-in-the-line the link has ended");
}

TEST(bus_link_server_session, a_slow_receiver_pauses_and_loses_nothing) {
  link_host server;
  const endpoint at = server.accept("127.0.0.1:0");
  server.start();
  link_host dialler;
  dialler.start();
  dialler.dial(at, {.budget_bytes = 1'000'000});
  ASSERT_TRUE(eventually([&] { return server.connected(); }, patience_ms));
  server.with([](link& l) { l.pause(); });
  int sent = 0;
  while (dialler.send(letter(sent, 20'000)) == link_result::accepted) ++sent;
  const std::size_t held = server.got_count();
  EXPECT_LT(held, 5u) << "what was cut before the pause";
  dialler.with([](link& l) { l.close(); });
  server.with([](link& l) { l.resume(); });
  ASSERT_TRUE(eventually([&] { return server.got_count() == static_cast<std::size_t>(sent); }, patience_ms));
  const auto got = server.got();
  for (int i = 0; i != sent; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], letter(i, 20'000));
}

// A wrong byte at each place of three frames: the link ends with a clear error or waits for more, what came
// before is delivered, and a link beside it is not touched.
TEST(bus_link_server_session, garbage_at_every_offset_ends_that_link_alone) {
  link_host server;
  const endpoint at = server.accept("127.0.0.1:0", {.format = &frame::magic_u32, .message_bytes_max = 1000});
  server.start();
  link_host good;
  good.start();
  good.dial(at, {.format = &frame::magic_u32});
  ASSERT_TRUE(eventually([&] { return server.connected(); }, patience_ms));
  std::string wire;
  for (const std::string text : {"one", "", "three"}) {
    std::byte header[8];
    const auto length = frame::magic_u32.write(text.size(), header);
    wire += std::string(as_text({header, length})) + text;
  }
  std::size_t fatal = 0;
  for (std::size_t i = 0; i != wire.size(); ++i) {
    std::string bad = wire;
    bad[i] = static_cast<char>(bad[i] ^ 0xff);
    const std::size_t before = server.overs().size();
    client c{at};
    ASSERT_TRUE(c.send(bad));
    c.finish();
    ASSERT_TRUE(eventually([&] { return server.overs().size() == before + 1; }, patience_ms))
        << "offset " << i;
    const std::string told = server.overs().back();
    const std::size_t in_frame = i < 11 ? i : i < 19 ? i - 11 : i - 19;
    if (in_frame < 4) {
      EXPECT_NE(told.find("magic number"), std::string::npos) << i << ": " << told;
    } else if (in_frame < 7) {
      EXPECT_NE(told.find("longer than the limit"), std::string::npos) << i << ": " << told;
    } else if (in_frame == 7) {
      EXPECT_NE(told, "") << "a length that is wrong ends in the wrong place";
    } else {
      EXPECT_EQ(told, "") << "a payload may be anything";
    }
    fatal += told.empty() ? 0 : 1;
  }
  EXPECT_EQ(fatal, 24u) << "each byte of each header";
  const std::size_t before = server.got_count();
  ASSERT_EQ(good.send("still here"), link_result::accepted);
  ASSERT_TRUE(eventually([&] { return server.got_count() == before + 1; }, patience_ms));
  EXPECT_EQ(server.got().back(), "still here");
}

TEST(bus_link_client_session, two_ends_with_different_formats_end_with_an_error_and_do_not_try_for_ever) {
  raw_listener other;
  link_host dialler;
  dialler.start();
  dialler.dial(other.at(), {.format = &frame::magic_u32, .retry_ms_min = 1});
  client peer = other.accept();
  ASSERT_TRUE(peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"));
  ASSERT_TRUE(eventually([&] { return dialler.overs().size() == 1; }, patience_ms));
  EXPECT_NE(dialler.overs()[0].find("does not begin with the magic number"), std::string::npos)
      << dialler.overs()[0];
  EXPECT_FALSE(other.asked(50)) << "it must not connect again";
}

TEST(bus_link_client_session, a_flushers_chain_goes_out_as_it_is) {
  link_host server;
  const endpoint at = server.accept("127.0.0.1:0");
  server.start();
  link_host dialler;
  dialler.start();
  dialler.dial(at);
  dialler.with([](link& l) {
    bus::flusher out;
    bus::writer w{out, {.format = &frame::length_u32, .block_bytes = 4096}};
    for (int i = 0; i != 1000; ++i) EXPECT_TRUE(w.write(letter(i, 60)));
    w.flush();
    chain ready = out.take();
    auto cut_short = *ready.share(0, ready.bytes() - 1);
    EXPECT_EQ(l.try_send_framed(std::move(cut_short)), link_result::malformed);
    EXPECT_EQ(l.try_send_framed(std::move(ready)), link_result::accepted);
    EXPECT_EQ(l.statistics().offered_messages, 1000u);
  });
  ASSERT_TRUE(eventually([&] { return server.got_count() == 1000; }, patience_ms));
  const auto got = server.got();
  for (int i = 0; i != 1000; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], letter(i, 60));
}

// Every block of the slab is taken: a send is refused with its reason and the message stays, nothing breaks,
// and it goes on when there are blocks again.
TEST(bus_link_client_session, without_a_block_a_send_is_refused_and_later_goes_on) {
  link_host server;
  const endpoint at = server.accept("127.0.0.1:0");
  server.start();
  engine_options small;
  small.slab.capacity = 8 << 20;
  link_host dialler(small);
  dialler.start();
  dialler.dial(at);
  ASSERT_TRUE(eventually([&] { return dialler.connected(); }, patience_ms));
  std::vector<chain> all;
  const link_result starved = dialler.with([&](link& l) {
    chain message = chain::copy_of(std::string(5000, 'm'));
    for (const std::size_t each : {1u << 20, 1u << 16, 1u << 12, 512u})
      for (lease b = lease::of(each); b; b = lease::of(each)) {
        const std::size_t length = b.bytes().size();
        all.emplace_back(std::move(b), 0, length);
      }
    const link_result r = l.try_send(std::move(message));
    EXPECT_EQ(message.bytes(), 5000u) << "the message is the caller's still";
    expect_accounted(l.statistics());
    EXPECT_EQ(l.statistics().unsent_messages, 0u);
    all.clear();
    EXPECT_EQ(l.try_send(std::move(message)), link_result::accepted);
    return r;
  });
  EXPECT_EQ(starved, link_result::no_memory) << bus::text(starved);
  ASSERT_TRUE(eventually([&] { return server.got_count() == 1; }, patience_ms));
}

// docs/bus.md, "Between processes", with a port that is free and an end.
TEST(bus_link_client_session, the_example_of_the_documents) {
  raw_listener there;
  std::string came;
  catenet::engine net{quick()};
  catenet::bus::link out;
  net.on_start([&] {
    out = catenet::bus::link{
        net.at(0), there.at(), {.budget_bytes = 1 << 20}, {.message = [&](catenet::bus::packet&& p) {
          came = p.to_string();
          net.stop();
        }}};
    EXPECT_EQ(out.try_send(catenet::chain::copy_of("hello")), link_result::accepted);
  });
  std::thread peer([&] {
    client c = there.accept();
    const std::string frame = c.receive(9);
    EXPECT_EQ(frame.substr(4), "hello");
    EXPECT_TRUE(c.send(frame));
    EXPECT_EQ(c.receive_some(1), "");
  });
  const error e = net.run();
  EXPECT_FALSE(e) << e.text();
  peer.join();
  EXPECT_EQ(came, "hello");
}

TEST(bus_link_client_session, may_be_ended_from_its_own_events) {
  link_host server;
  const endpoint at = server.accept("127.0.0.1:0");
  server.start();
  link_host dialler;
  dialler.start();
  std::unique_ptr<link> own;
  std::atomic<int> told = 0;
  dialler.host().on_core([&] {
    own = std::make_unique<link>(*core::current(), at, link_options{},
                                 bus::link_events{.message =
                                                      [&](bus::packet&&) {
                                                        own.reset();
                                                        ++told;
                                                      },
                                                  .up = {},
                                                  .down = {},
                                                  .over = [&](const error&) { ++told; }});
  });
  ASSERT_TRUE(eventually([&] { return server.connected(); }, patience_ms));
  server.with([](link& l) {
    for (int i = 0; i != 10; ++i) EXPECT_EQ(l.try_send(chain::copy_of("again")), link_result::accepted);
  });
  ASSERT_TRUE(eventually([&] { return server.overs().size() == 1; }, patience_ms));
  EXPECT_EQ(told, 1) << "nothing is told after it has ended";
}

}  // namespace
}  // namespace catenet::test
