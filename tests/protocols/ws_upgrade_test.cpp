// http::server::websocket with an upgrade handler: who is let in, what goes along, and what happens when the
// peer leaves while it is decided.
#include "ws_clients.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace catenet::ws::testing {
namespace {

using namespace std::string_literals;

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

// 101 by mistake would leave a connection that nobody speaks on; 2xx would say that all went well.
TEST(ws_upgrade_session, a_refusal_with_a_status_that_refuses_nothing_is_an_error) {
  web_host w(guarded([](http::request& rq, upgrade& u) {
    u.refuse(static_cast<std::uint32_t>(std::stoul(std::string(rq.param("room")))), "why");
  }));
  for (const char* status : {"100", "101", "200", "204", "299", "600", "65936"}) {
    peer p(w.port);
    p.send(request("/"s + status));
    EXPECT_TRUE(p.head().starts_with("HTTP/1.1 500 ")) << status;
  }
  peer redirected(w.port);
  redirected.send(request("/302"));
  EXPECT_TRUE(redirected.head().starts_with("HTTP/1.1 302 "));
}

// Its FIN comes while it is decided, behind a message.
// A status that refuses is a refusal, also without refuse().
TEST(ws_upgrade_session, a_status_that_the_handler_sets_is_the_answer) {
  web_host w(guarded([](http::request& rq, upgrade& u) {
    if (rq.param("room") == "closed") u.answer.status(403).text("closed\n");
    if (rq.param("room") == "empty") u.answer.status(404);
  }));
  peer closed(w.port), empty(w.port), open(w.port);
  closed.send(request("/closed"));
  const std::string head = closed.head();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 403 ")) << head;
  EXPECT_NE(head.find("\r\nContent-Length: 7\r\n"), std::string::npos) << head;
  empty.send(request("/empty"));
  EXPECT_TRUE(empty.head().starts_with("HTTP/1.1 404 "));
  open.send(request("/open"));
  EXPECT_TRUE(open.head().starts_with("HTTP/1.1 101 "));
  EXPECT_EQ(w.statistics().opened, 1u);
}

TEST(ws_upgrade_session, a_peer_that_says_fin_meanwhile_is_told_of_and_gone) {
  std::atomic<int> asked{0}, heard{0}, closed{0};
  options o = guarded([&](http::request&, upgrade&) -> task<> {
    ++asked;
    co_await sleep(100);
  });
  o.message = [&](connection&, message) { heard += closed == 0 ? 1 : 0; };
  o.close = [&](connection&, close_code code, std::string_view) {
    closed += code == close_code::abnormal ? 1 : 100;
  };
  web_host w(std::move(o));
  peer leaving(w.port);
  leaving.send(request("/open") + frame(0x81, "early"));
  EXPECT_TRUE(server::eventually([&] { return asked == 1; }));
  leaving.end_sending();
  EXPECT_TRUE(leaving.head().starts_with("HTTP/1.1 101 "));
  EXPECT_EQ(leaving.next(), "81 open");
  EXPECT_EQ(leaving.next(), "end");
  EXPECT_TRUE(server::eventually([&] { return w.statistics().connections == 0; }));
  EXPECT_EQ(heard, 1);
  EXPECT_EQ(closed, 1);
}

// More than may be held back comes behind a handshake that takes its time.
TEST(ws_upgrade_session, frames_held_back_meanwhile_all_come) {
  web_host w(guarded(decide_slowly));
  peer eager(w.port);
  std::string frames;
  for (int i = 0; i != 300; ++i) frames += frame(0x81, std::to_string(i) + std::string(1000, 'f'));
  std::thread speaker{[&] { eager.send(request("/open") + frames); }};
  EXPECT_TRUE(eager.head().starts_with("HTTP/1.1 101 "));
  EXPECT_EQ(eager.next(), "81 open");
  int came = 0;
  while (came != 300 && eager.next() == "81 " + std::to_string(came) + std::string(1000, 'f')) ++came;
  EXPECT_EQ(came, 300);
  eager.end_sending();  // and the speaker's, should it still wait
  speaker.join();
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
