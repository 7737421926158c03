// The HTTP server hands a connection over: what came along, when the upgrade is late, and the peer's FIN
// meanwhile.
#include <catenet/engine/core.hpp>
#include <catenet/engine/stream.hpp>

#include "support/http_server_fixture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

namespace catenet::test {
namespace {

using http::request;
using http::response;
using http_upgrade = http_server;

class line_echo final : public protocol {
 public:
  void received(stream& s, chain&& bytes) override { s.send(std::move(bytes)); }
};

TEST_F(http_upgrade, hands_over_the_connection_and_what_came_along) {
  static line_echo echo;
  start([](http::server& web) {
    web.get("/up", [](request&, response& rs) {
      rs.header("X-Hello", "1").upgrade("lines", [](stream& s, chain&& left) {
        s.hand_to(echo, nullptr);
        s.send(std::move(left));
      });
    });
    web.get("/later", [](request&, response& rs) -> task<> {
      co_await catenet::sleep(5);
      rs.upgrade("lines", [](stream& s, chain&& left) {
        s.hand_to(echo, nullptr);
        s.send(std::move(left));
      });
    });
  });
  for (const char* target : {"/up", "/later"}) {
    http_test_client client{server_->port()};
    client.send(get(target, "Connection: Upgrade\r\nUpgrade: lines\r\n") + "first ");
    const http_answer a = client.read();
    EXPECT_EQ(a.status, 101);
    EXPECT_EQ(a.field("Connection"), "Upgrade");
    EXPECT_EQ(a.field("Upgrade"), "lines");
    EXPECT_EQ(a.field("Content-Length"), std::nullopt) << "row 53";
    client.send("second");
    EXPECT_EQ(client.read_some(12), "first second");
    client.reset();
  }
  EXPECT_EQ(ask(get("/up", "Connection: Upgrade\r\nUpgrade: lines\r\nContent-Length: 1\r\n") + "x").status,
            400)
      << "row 68";
  EXPECT_EQ(ask("POST /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n").status, 405);
  EXPECT_EQ(ask("GET /up HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n").status, 400) << "row 69";
}

// Sends back what comes, and closes at the peer's FIN.
class told_echo final : public protocol {
 public:
  void received(stream& s, chain&& bytes) override { s.send(std::move(bytes)); }
  void ended(stream& s) override {
    ++ends;
    s.close();
  }
  std::atomic<int> ends{0};
};

// Routes whose upgrade comes late: behind a handler that waits, or behind an answer longer than a socket
// holds.
void add_late_upgrades(http::server& web, protocol& to) {
  const auto take = [&to](stream& s, chain&& left) {
    s.hand_to(to, nullptr);
    s.send(std::move(left));
  };
  web.get("/up", [take](request&, response& rs) { rs.upgrade("lines", take); });
  web.get("/later", [take](request&, response& rs) -> task<> {
    co_await catenet::sleep(100);
    rs.upgrade("lines", take);
  });
  web.get("/slow", [](request&, response& rs) -> task<> {
    co_await catenet::sleep(100);
    rs.text("slow");
  });
  web.get("/large", [](request&, response& rs) { rs.body(chain::of_size(16_MiB)); });
}

const std::string upgrade_lines = "Connection: Upgrade\r\nUpgrade: lines\r\n";
const std::string ahead_of_upgrade[] = {get("/later", upgrade_lines),
                                        get("/slow") + get("/up", upgrade_lines),
                                        get("/large") + get("/up", upgrade_lines)};

TEST_F(http_upgrade, a_fin_during_an_upgrade_is_told_to_who_took_over) {
  told_echo echo;
  start([&](http::server& web) { add_late_upgrades(web, echo); });
  int told = 0;
  for (const std::string& request : ahead_of_upgrade)
    for (const std::string behind : {"", "some bytes"}) {
      http_test_client client{server_->port()};
      client.send(request + behind);
      client.finish_sending();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      const std::string all = client.read_all();
      EXPECT_NE(all.find("HTTP/1.1 101 "), std::string::npos);
      EXPECT_TRUE(all.ends_with("\r\n\r\n" + behind)) << request;
      EXPECT_TRUE(eventually([&] { return server_->net().statistics().connections == 0; })) << request;
      EXPECT_EQ(echo.ends, ++told) << request;
    }
  EXPECT_EQ(server_->wait_until_idle(), "");
  server_.reset();
}

TEST_F(http_upgrade, reading_goes_on_behind_an_upgrade_that_held_it_back) {
  told_echo echo;
  start([&](http::server& web) { add_late_upgrades(web, echo); });
  const std::string lines(1'000'000, 'z');
  for (const std::string& request : ahead_of_upgrade) {
    http_test_client client{server_->port()};
    std::thread speaker{[&] {
      client.send(request + lines);
      client.finish_sending();
    }};
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const std::string all = client.read_all();
    speaker.join();
    EXPECT_NE(all.find("HTTP/1.1 101 "), std::string::npos);
    EXPECT_TRUE(all.ends_with("\r\n\r\n" + lines)) << request << ": only " << all.size() << " bytes came";
  }
  EXPECT_EQ(echo.ends, 3);
  EXPECT_EQ(server_->wait_until_idle(), "");
  server_.reset();
}

}  // namespace
}  // namespace catenet::test
