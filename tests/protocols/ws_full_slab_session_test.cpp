// What becomes of a text that the slab has no room for: it is refused, and nothing goes out in its place.
#include <catenet/engine/core.hpp>
#include <catenet/ws/connection.hpp>

#include "ws_clients.hpp"
#include "ws_ends.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

constexpr unsigned text = 0x81;

// All that a core's slab has, but some of the smallest blocks, while it lives. On the core's thread.
class full_slab {
 public:
  full_slab() {
    std::vector<chain> spare;
    for (int i = 0; i != 20; ++i) spare.push_back(chain::of_size(512));
    for (const std::size_t size : {1_MiB, 64_KiB, 4_KiB, std::size_t{512}})
      while (chain c = chain::of_size(size)) held_.push_back(std::move(c));
  }

 private:
  std::vector<chain> held_;
};

const std::string& long_text() {
  static const std::string made(100'000, 'x');
  return made;
}

TEST(ws_full_slab, a_clients_text_that_cannot_be_copied_is_refused) {
  web_host web{echo_options()};
  client_host client{web.port};
  ASSERT_EQ(client.first(), "open");
  client.on_core([&] {
    connection& c = *client.it().connected();
    const full_slab full;
    EXPECT_EQ(c.send(long_text()), send_result::over_limit);
    EXPECT_EQ(c.send(as_bytes(long_text())), send_result::over_limit);
  });
  client.send("short");
  EXPECT_EQ(client.next(), "short") << "an empty message went out before it";
}

// Others see its bytes, so they would be masked in a copy.
TEST(ws_full_slab, a_clients_message_that_cannot_be_masked_is_refused) {
  web_host web{echo_options()};
  client_host client{web.port};
  ASSERT_EQ(client.first(), "open");
  client.on_core([&] {
    message m = message::text(long_text());
    const std::optional<message> twin = m.share();
    EXPECT_TRUE(twin);
    const full_slab full;
    EXPECT_EQ(client.it().connected()->send(std::move(m)), send_result::over_limit);
  });
  client.send("short");
  EXPECT_EQ(client.next(), "short") << "a frame without a mask went out before it";
}

TEST(ws_full_slab, a_text_to_be_compressed_that_cannot_be_copied_is_refused) {
  options o;
  o.deflate.enabled = true;
  o.message = [](connection& c, message m) {
    {
      const full_slab full;
      EXPECT_EQ(c.send(long_text()), send_result::over_limit);
    }
    c.send(std::move(m));
  };
  web_host web{std::move(o)};
  client_options offering;
  offering.connection.deflate.enabled = true;
  client_host client{web.port, std::move(offering)};
  ASSERT_EQ(client.first(), "open");
  client.send("short");
  EXPECT_EQ(client.next(), "short");
}

TEST(ws_full_slab, a_connection_that_is_closing_is_gone_all_the_same) {
  web_host web{echo_options()};
  client_host client{web.port};
  client.on_core([&] {
    connection& c = *client.it().connected();
    c.close();
    const full_slab full;
    EXPECT_EQ(c.send(long_text()), send_result::gone);
  });
}

TEST(ws_full_slab, what_cannot_be_copied_to_be_published_is_dropped) {
  options o;
  o.open = [](connection& c) { c.subscribe("room"); };
  o.message = [](connection& c, message) {
    {
      const full_slab full;
      EXPECT_EQ(c.publish("room", long_text()), 0u);
    }
    EXPECT_EQ(c.publish("room", "after"), 1u);
  };
  server s(std::move(o));
  std::vector<peer> all = room_of(s, 2);
  all[0].send(frame(text, "now"));
  EXPECT_EQ(all[1].next(), "81 after");
  EXPECT_EQ(s.hub().statistics().published, 2u);
  EXPECT_EQ(s.hub().statistics().dropped, 1u);
}

TEST(ws_full_slab, what_the_hub_cannot_copy_is_dropped) {
  options o;
  o.open = [](connection& c) { c.subscribe("room"); };
  server s(std::move(o));
  std::vector<peer> all = room_of(s, 1);
  std::optional<full_slab> full;
  s.net().at(0).post([&] {
    full.emplace();
    s.hub().publish("room", long_text());
    s.hub().publish("room", long_text(), false);
    s.net().at(0).post([&] { full.reset(); });
  });
  ASSERT_TRUE(server::eventually([&] { return s.hub().statistics().published == 2; }));
  EXPECT_EQ(s.hub().statistics().dropped, 2u);
  s.hub().publish("room", "after");
  EXPECT_EQ(all[0].next(), "81 after");
}

}  // namespace
}  // namespace catenet::ws::testing
