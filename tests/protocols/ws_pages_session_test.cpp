// Long messages for many go by page reference: whose bytes they are when a peer reads late, and when not.
#include <catenet/engine/core.hpp>
#include <catenet/engine/page_body.hpp>
#include <catenet/ws/connection.hpp>

#include "ws_ends.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

constexpr unsigned text = 0x81;
constexpr std::size_t long_bytes = 100'000;

engine_options by_reference_from_16_KiB() {
  engine_options e;
  e.page_reference_bytes_min = 16_KiB;
  return e;
}

std::uint64_t by_reference(server& s) {
  return s.net().statistics().tiers[static_cast<std::size_t>(tier::page_reference)].bytes;
}

std::string words(char what, std::size_t bytes) {
  std::string made;
  while (made.size() < bytes) made += what + std::to_string(made.size());
  made.resize(bytes);
  return made;
}

options publishing() {
  options o;
  o.max_queued = 16_MiB;
  o.open = [](connection& c) { c.subscribe("all"); };
  o.message = [](connection& c, message m) { c.publish_to_all("all", std::move(m)); };
  return o;
}

// The kernel has the first message whole when its pages are given back, and others lie there; one peer has
// read nothing by then.
TEST(ws_pages_session, a_late_reader_gets_the_old_bytes) {
  server s(publishing(), by_reference_from_16_KiB());
  std::vector<peer> peers = room_of(s, 10);
  const std::string first = words('a', long_bytes);
  const std::string second = words('b', long_bytes);
  for (const std::string& message : {first, second}) {
    peers[0].send(frame(text, message));
    for (std::size_t i = 0; i + 1 != peers.size(); ++i) ASSERT_EQ(peers[i].next(), "81 " + message) << i;
    ASSERT_TRUE(server::eventually([] { return page_bodies().bodies == 0; })) << "pages are not given back";
  }
  EXPECT_GE(by_reference(s), 2 * peers.size() * (long_bytes - 16_KiB)) << "so this shows nothing";
  EXPECT_EQ(peers.back().next(), "81 " + first);
  EXPECT_EQ(peers.back().next(), "81 " + second);
}

TEST(ws_pages_session, pages_cross_cores) {
  engine_options e = by_reference_from_16_KiB();
  e.cores = 2;
  server s(publishing(), e);
  std::vector<peer> peers = room_of(s, 40);  // so that one core has enough of them
  for (const char what : {'a', 'b', 'c'})
    for (std::size_t from : {0u, 1u, 2u, 3u}) {
      peers[from].send(frame(text, words(what, long_bytes)));
      for (peer& p : peers) ASSERT_EQ(p.next(), "81 " + words(what, long_bytes));
    }
  EXPECT_GT(by_reference(s), peers.size() * long_bytes);
  EXPECT_TRUE(server::eventually([] { return page_bodies().bodies == 0; }));
}

TEST(ws_pages_session, short_ones_and_those_for_few_are_copied) {
  for (const auto& [receivers, bytes] : {std::pair<std::size_t, std::size_t>{10, 60'000}, {3, long_bytes}}) {
    server s(publishing(), by_reference_from_16_KiB());
    std::vector<peer> peers = room_of(s, receivers);
    peers[0].send(frame(text, words('a', bytes)));
    for (peer& p : peers) ASSERT_EQ(p.next(), "81 " + words('a', bytes));
    EXPECT_EQ(by_reference(s), 0u) << receivers << " of " << bytes;
  }
}

TEST(ws_pages_session, below_the_engines_threshold_they_are_copied) {
  engine_options e;
  e.page_reference_bytes_min = 2 * long_bytes;
  server s(publishing(), e);
  std::vector<peer> peers = room_of(s, 10);
  peers[0].send(frame(text, words('a', long_bytes)));
  for (peer& p : peers) ASSERT_EQ(p.next(), "81 " + words('a', long_bytes));
  EXPECT_EQ(by_reference(s), 0u);
}

TEST(ws_pages_session, pages_of_others_leave_no_room_for_them) {
  const page_body others = page_body::copy_of(as_bytes(std::string(64_MiB, 'x')));
  server s(publishing(), by_reference_from_16_KiB());
  std::vector<peer> peers = room_of(s, 10);
  peers[0].send(frame(text, words('a', long_bytes)));
  for (peer& p : peers) ASSERT_EQ(p.next(), "81 " + words('a', long_bytes));
  EXPECT_EQ(by_reference(s), 0u);
}

TEST(ws_pages_session, prepared_messages_lie_in_pages) {
  options o;
  o.max_queued = 16_MiB;
  o.message = [](connection& c, message m) {
    prepared once = prepare(std::move(m));
    for (int i = 0; i != 3; ++i) EXPECT_LE(c.send(once), send_result::queued);
    const std::optional<message> again = once.unframed();
    EXPECT_TRUE(again);
    if (again) {
      EXPECT_EQ(again->to_string(), words('p', long_bytes));
    }
  };
  server s(std::move(o), by_reference_from_16_KiB());
  peer p(s);
  p.send(frame(text, words('p', long_bytes)));
  for (int i = 0; i != 3; ++i) ASSERT_EQ(p.next(), "81 " + words('p', long_bytes));
  EXPECT_GE(by_reference(s), 3 * (long_bytes - 16_KiB));
}

}  // namespace
}  // namespace catenet::ws::testing
