// http::server::websocket with an upgrade handler: who is let in, what goes along, and what happens when the
// peer leaves while it is decided.
#include "ws_clients.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

namespace catenet::ws::testing {
namespace {

std::string request(const std::string& path, const std::string& fields = "") {
  return "GET " + path +
         " HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
         fields + "\r\n";
}

options guarded(auto handler) {
  options o;
  o.upgrade = handler;
  o.open = [](connection& c) { c.send("open"); };
  o.message = [](connection& c, message m) { c.send(std::move(m)); };
  return o;
}

TEST(ws_upgrade_session, a_plain_handler_lets_in_or_refuses) {
  web_host w(guarded([](http::request& rq, upgrade& u) {
    if (rq.header("Authorization") != "Bearer secret") return u.refuse(401, "who are you?");
    u.answer.header("Set-Cookie", "seen=1");
    u.opened = [room = std::string(rq.param("room"))](connection& c) { c.send("welcome to " + room); };
  }));
  peer bad(w.port), good(w.port);
  bad.send(request("/red"));
  EXPECT_TRUE(bad.head().starts_with("HTTP/1.1 401 "));
  good.send(request("/red", "Authorization: Bearer secret\r\n") + frame(0x81, "early"));
  const std::string head = good.head();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 101 ")) << head;
  EXPECT_NE(head.find("\r\nSet-Cookie: seen=1\r\n"), std::string::npos);
  EXPECT_EQ(good.next(), "81 welcome to red");
  EXPECT_EQ(good.next(), "81 open");
  EXPECT_EQ(good.next(), "81 early");
}

task<> decide_slowly(http::request& rq, upgrade& u) {
  co_await sleep(50);
  if (rq.param("room") == "closed") u.refuse(403, "closed");
  if (rq.param("room") == "broken") throw std::runtime_error("on purpose");
}

TEST(ws_upgrade_session, a_coroutine_decides_later) {
  web_host w(guarded(decide_slowly));
  peer good(w.port), closed(w.port), broken(w.port);
  good.send(request("/open") + frame(0x81, "early"));
  closed.send(request("/closed"));
  broken.send(request("/broken"));
  EXPECT_TRUE(good.head().starts_with("HTTP/1.1 101 "));
  EXPECT_EQ(good.next(), "81 open");
  EXPECT_EQ(good.next(), "81 early");
  EXPECT_TRUE(closed.head().starts_with("HTTP/1.1 403 "));
  EXPECT_TRUE(broken.head().starts_with("HTTP/1.1 500 "));
}

TEST(ws_upgrade_session, a_peer_that_leaves_meanwhile_leaves_nothing_behind) {
  const auto guest = std::make_shared<int>(1);
  std::atomic<int> asked{0};
  web_host w(guarded([&](http::request&, upgrade& u) -> task<> {
    u.opened = [guest](connection&) {};
    ++asked;
    co_await sleep(100);
  }));
  {
    peer leaving(w.port);
    leaving.send(request("/open"));
    EXPECT_TRUE(server::eventually([&] { return asked == 1; }));
    leaving.reset();
  }
  EXPECT_TRUE(server::eventually([&] { return guest.use_count() == 1; }));
  EXPECT_EQ(w.statistics().opened, 0u);
}

TEST(ws_upgrade_session, a_bad_handshake_is_not_asked_about) {
  std::atomic<int> asked{0};
  web_host w(guarded([&](http::request&, upgrade&) { ++asked; }));
  peer p(w.port);
  p.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string head = p.head();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 426 ")) << head;
  EXPECT_NE(head.find("\r\nSec-WebSocket-Version: 13\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nUpgrade: websocket\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nConnection: Upgrade\r\n"), std::string::npos) << head;
  EXPECT_EQ(asked, 0);
  peer old(w.port);
  old.send("GET /a HTTP/1.0\r\nHost: a\r\n\r\n");
  const std::string last = old.head();
  EXPECT_NE(last.find("\r\nConnection: Upgrade\r\n"), std::string::npos) << last;
  EXPECT_NE(last.find("\r\nConnection: close\r\n"), std::string::npos) << last;
}

}  // namespace
}  // namespace catenet::ws::testing
