// ws::client: what it asks for, which answers it refuses, its masks, how it tries again, and how it ends;
// with our own server and with servers played by hand.
#include <catenet/engine/log.hpp>
#include <catenet/ws/handshake.hpp>

#include "support/raw_listener.hpp"
#include "ws_clients.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace catenet::ws::testing {
namespace {

using namespace std::string_literals;

// The answer to a request as RFC 6455 §4.2.2 wants it, with `more` fields.
std::string accepting(const std::string& request, const std::string& more = "") {
  constexpr std::string_view name = "Sec-WebSocket-Key: ";
  const std::size_t at = request.find(name) + name.size();
  const accept_value accept = accept_of(request.substr(at, request.find("\r\n", at) - at));
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
         "Upgrade\r\nSec-WebSocket-Accept: " +
         std::string(accept.data(), accept.size()) + "\r\n" + more + "\r\n";
}

// An unmasked frame, as a server sends it.
std::string from_server(unsigned first, std::string payload) {
  return raw_frame{first, std::move(payload), false}.bytes();
}

// A client on its way to a server that is played by hand: what it asked lies in `request`.
struct stage {
  explicit stage(client_options o = {}) {
    o.url = "ws://" + listener.at().text() + "/chat?a=b";
    starting = std::async(std::launch::async, [o = std::move(o)]() mutable {
      return std::make_unique<client_host>(0, std::move(o));
    });
    server = listener.accept();
    request = test::read_head(server);
  }
  client_host& host() {
    if (!it) it = starting.get();
    return *it;
  }
  test::raw_listener listener;
  std::future<std::unique_ptr<client_host>> starting;
  test::client server;
  std::string request;
  std::unique_ptr<client_host> it;
};

// The next frame of a client: its first byte and its unmasked payload (of less than 126 bytes), and its mask.
std::pair<std::string, std::string> masked_frame(test::client& from) {
  const std::string head = from.receive(6);
  if (head.size() != 6) return {"end", ""};
  EXPECT_NE(static_cast<unsigned char>(head[1]) & 0x80, 0) << "a client must mask";
  std::string payload = from.receive(static_cast<unsigned char>(head[1]) & 0x7f);
  for (std::size_t i = 0; i != payload.size(); ++i)
    payload[i] = static_cast<char>(payload[i] ^ head[2 + i % 4]);
  return {head.substr(0, 1) + payload, head.substr(2)};
}

TEST(ws_client_session, asks_as_the_rfc_wants_it) {
  client_options o;
  o.fields = {{"Origin", "https://example.org"}, {"Authorization", "Bearer x"}};
  o.connection.subprotocols = {"chat", "superchat"};
  o.connection.deflate.enabled = true;
  stage s(std::move(o));
  EXPECT_TRUE(s.request.starts_with("GET /chat?a=b HTTP/1.1\r\nHost: " + s.listener.at().text() + "\r\n"));
  for (const char* field :
       {"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Origin: https://example.org", "Authorization: Bearer x", "Sec-WebSocket-Protocol: chat, superchat",
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
        "client_no_context_takeover"})
    EXPECT_NE(s.request.find("\r\n"s + field), std::string::npos) << field << " in " << s.request;
  s.server.send(accepting(s.request, "Sec-WebSocket-Protocol: superchat\r\n") + from_server(0x81, "early"));
  EXPECT_EQ(s.host().first(), "open");
  EXPECT_EQ(s.host().next(), "early");
  s.host().on_core([&] { EXPECT_EQ(s.host().it().subprotocol(), "superchat"); });
}

struct bad_answer {
  const char* name;
  std::string head;  // ACCEPT stands for the good value
  const char* why;
};
void PrintTo(const bad_answer& a, std::ostream* out) { *out << a.name; }
class ws_client_session_answers : public ::testing::TestWithParam<bad_answer> {};
TEST_P(ws_client_session_answers, are_refused) {
  client_options o;
  o.connection.subprotocols = {"chat"};
  stage s(std::move(o));
  std::string answer = GetParam().head;
  const std::string good = accepting(s.request);
  const std::size_t value = good.find("Accept: ") + 8;
  if (const std::size_t at = answer.find("ACCEPT"); at != std::string::npos)
    answer.replace(at, 6, good.substr(value, accept_size));
  s.server.send(answer);
  if (!answer.ends_with("\r\n\r\n")) s.server.finish();
  EXPECT_EQ(s.host().first(), "failed: "s + GetParam().why);
  EXPECT_EQ(s.server.receive_all(), "");
}
const std::string up = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
const std::string good = up + "Sec-WebSocket-Accept: ACCEPT\r\n";
INSTANTIATE_TEST_SUITE_P(
    rows, ws_client_session_answers,
    ::testing::Values(
        bad_answer{"not_101", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                   "the server answered with 200 instead of 101"},
        bad_answer{"forbidden", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
                   "the server answered with 403 instead of 101"},
        bad_answer{"elsewhere", "HTTP/1.1 301 M\r\nLocation: ws://127.0.0.1:1/\r\n\r\n",
                   "the server answered with 301 instead of 101; redirections are not followed"},
        bad_answer{"http_1_0",
                   "HTTP/1.0 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: ACCEPT\r\n\r\n",
                   "the server answered in HTTP/1.0, which has no WebSockets"},
        bad_answer{"only_interim_ones",
                   [] {
                     std::string all;
                     for (int i = 0; i != 9; ++i) all += "HTTP/1.1 103 Early Hints\r\n\r\n";
                     return all;
                   }(),
                   "the server sent too many interim answers"},
        bad_answer{"no_upgrade",
                   "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
                   "the answer upgrades to something else"},
        bad_answer{"no_connection",
                   "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
                   "the answer's Connection lacks upgrade"},
        bad_answer{"no_accept", up + "\r\n", "the answer's Sec-WebSocket-Accept is wrong"},
        bad_answer{"wrong_accept", up + "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                   "the answer's Sec-WebSocket-Accept is wrong"},
        bad_answer{"another_subprotocol", good + "Sec-WebSocket-Protocol: other\r\n\r\n",
                   "the server chose a subprotocol that was not offered"},
        bad_answer{"two_subprotocols",
                   good + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
                   "the server chose a subprotocol that was not offered"},
        bad_answer{"an_extension", good + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
                   "the server chose an extension that was not offered"},
        bad_answer{"nothing", "HTTP/1.1 101", "the server ended the connection instead of answering"}),
    [](const ::testing::TestParamInfo<bad_answer>& one) { return std::string(one.param.name); });

TEST(ws_client_session, interim_answers_are_passed_over) {
  stage s;
  s.server.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" +
                accepting(s.request) + from_server(0x81, "early"));
  EXPECT_EQ(s.host().first(), "open");
  EXPECT_EQ(s.host().next(), "early");
}

TEST(ws_client_session, an_extension_that_cannot_be_kept_to_is_named) {
  for (const auto& [answer, why] :
       {std::pair{"permessage-deflate; server_no_context_takeover; client_max_window_bits=8",
                  "the server wants client_max_window_bits=8, but zlib compresses with 9 at least"},
        std::pair{"permessage-deflate", "the server does not grant what was asked of permessage-deflate"},
        std::pair{"x-snappy", "the server chose an extension that was not offered"},
        std::pair{"permessage-deflate;", "the answer's Sec-WebSocket-Extensions is malformed"}}) {
    client_options o;
    o.connection.deflate.enabled = true;
    stage s(std::move(o));
    s.server.send(accepting(s.request, "Sec-WebSocket-Extensions: "s + answer + "\r\n"));
    EXPECT_EQ(s.host().first(), "failed: "s + why);
  }
}

// Once, and not when the client itself gave up.
TEST(ws_client_session, a_reset_instead_of_an_answer_is_told) {
  for (const char* before : {"", "HTTP/1.1 101 Switching Prot"}) {
    stage s;
    s.server.send(before);
    s.server.reset();
    EXPECT_EQ(s.host().first(), "failed: the connection broke before the server answered");
    EXPECT_EQ(s.host().next(50), "silence");
  }
}

TEST(ws_client_session, row_103_frames_are_masked_each_with_a_key_of_its_own) {
  stage s;
  s.server.send(accepting(s.request));
  EXPECT_EQ(s.host().first(), "open");
  std::set<std::string> masks;
  constexpr int count = 200;
  for (int i = 0; i != count; ++i) s.host().send("same text");
  for (int i = 0; i != count; ++i) {
    const auto [what, mask] = masked_frame(s.server);
    ASSERT_EQ(what, "\x81same text");
    masks.insert(mask);
  }
  EXPECT_EQ(masks.size(), static_cast<unsigned>(count));
  s.server.send(from_server(0x89, "are you there"));
  EXPECT_EQ(masked_frame(s.server).first,
            "\x8a"
            "are you there");
}

TEST(ws_client_session, a_server_that_masks_is_refused) {
  stage s;
  s.server.send(accepting(s.request) + frame(0x81, "masked"));
  EXPECT_EQ(s.host().first(), "open");
  EXPECT_TRUE(s.host().next().starts_with("close 1002 "));
  EXPECT_EQ(masked_frame(s.server).first.substr(0, 3), "\x88" + close_body(1002));
}

TEST(ws_client_session, a_server_that_does_not_answer_is_given_up) {
  client_options o;
  o.handshake_timeout_ms = 100;
  stage s(std::move(o));
  EXPECT_EQ(s.host().first(), "failed: the server did not answer in time");
  EXPECT_EQ(s.host().next(50), "silence");
}

TEST(ws_client_session, closes_in_both_directions) {
  options o = echo_options();
  o.message = [](connection& c, message m) {
    if (m.to_string() == "bye") return c.close(close_code{4001}, "as you wish");
    c.send(std::move(m));
  };
  web_host s(std::move(o));
  {
    client_host h(s.port);
    h.send("bye");
    EXPECT_EQ(h.next(), "close 4001 as you wish");
  }
  client_host h(s.port);
  h.send("hello");
  EXPECT_EQ(h.next(), "hello");
  h.on_core([&] { h.it().stop(close_code{4002}, "enough"); });
  EXPECT_EQ(h.next(), "close 4002 ");
  h.on_core([&] { EXPECT_EQ(h.it().connected(), nullptr); });
}

TEST(ws_client_session, urls_that_are_not_understood) {
  for (const char* url : {"http://127.0.0.1/", "wss://127.0.0.1/", "ws://", "ws://127.0.0.1:0x50/",
                          "ws://127.0.0.1/a b", "ws://127.0.0.1/#part", "ws://user@127.0.0.1/"}) {
    client_options o;
    o.url = url;
    client_host h(0, std::move(o));
    EXPECT_TRUE(h.first().starts_with("failed: ")) << url << ": " << h.first();
  }
  client_options o;
  o.url = "ws://127.0.0.1:1/";
  o.fields = {{"X", "a\r\nInjected: b"}};
  EXPECT_EQ(client_host(0, std::move(o)).first(),
            "failed: a field of the request has a character that may not stand there");
}

TEST(ws_client_session, what_is_asked_for_cannot_add_lines) {
  using names = std::vector<std::string>;
  for (const names& bad : {names{"a b\r\nX: y"}, names{""}, names{"a", "b", "a"}, names{"a,b"}}) {
    client_options o;
    o.url = "ws://127.0.0.1:1/";
    o.connection.subprotocols = bad;
    EXPECT_EQ(client_host(0, std::move(o)).first(),
              "failed: a subprotocol to offer is no token, or is named twice");
  }
  for (const char* name : {"", "a b", "a:", "a\r\nb", "\xc3\xa4"}) {
    client_options o;
    o.url = "ws://127.0.0.1:1/";
    o.fields = {{name, "c"}};
    EXPECT_EQ(client_host(0, std::move(o)).first(),
              "failed: a field of the request has a character that may not stand there");
  }
}

TEST(ws_client_session, schemes_ignore_case) {
  web_host w(echo_options());
  client_options o;
  o.url = "WS://127.0.0.1:" + std::to_string(w.port) + "/a";
  EXPECT_EQ(client_host(0, std::move(o)).first(), "open");
}

TEST(ws_client_session, nobody_listens) {
  client_options o;
  {
    const test::raw_listener gone;
    o.url = "ws://" + gone.at().text() + "/";
  }
  const std::string why = client_host(0, std::move(o)).first();
  EXPECT_NE(why.find("ECONNREFUSED"), std::string::npos) << why;
}

// Ended by the server, refused by it, and at last taken in: each time it comes again by itself.
TEST(ws_client_session, what_failed_throws_ends_nothing_else) {
  set_log_sink(nullptr);
  client_options o;
  {
    const test::raw_listener gone;
    o.url = "ws://" + gone.at().text() + "/";
  }
  o.reconnect_first_ms = 1;
  o.failed = [](std::string_view) { throw std::runtime_error("on purpose"); };
  client_host c(0, std::move(o));
  EXPECT_TRUE(c.first().starts_with("failed: ")) << c.first();
  EXPECT_TRUE(c.next().starts_with("failed: ")) << "it does not come again";
}

TEST(ws_client_session, connects_again_until_it_is_stopped) {
  client_options o;
  o.reconnect_first_ms = 10;
  o.reconnect_max_ms = 50;
  stage s(std::move(o));
  s.server.send(accepting(s.request));
  EXPECT_EQ(s.host().first(), "open");
  s.server.reset();
  EXPECT_EQ(s.host().next(), "close 1006 ");
  for (int i = 0; i != 5; ++i) {
    test::client refusing = s.listener.accept();
    test::read_head(refusing);
    refusing.send("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(s.host().next(), "failed: the server answered with 503 instead of 101");
  }
  test::client last = s.listener.accept();
  last.send(accepting(test::read_head(last)));
  EXPECT_EQ(s.host().next(), "open");
  s.host().send("again");
  EXPECT_EQ(masked_frame(last).first,
            "\x81"
            "again");
  s.host().on_core([&] { s.host().it().stop(); });
  EXPECT_EQ(masked_frame(last).first, "\x88" + close_body(1000));
  last.send(from_server(0x88, close_body(1000)));
  EXPECT_EQ(s.host().next(), "close 1000 ");
  EXPECT_FALSE(s.listener.asked(300));
}

TEST(ws_client_session, nobody_is_tried_again_where_that_was_not_asked_for) {
  stage s;
  s.server.send(accepting(s.request));
  EXPECT_EQ(s.host().first(), "open");
  s.server.reset();
  EXPECT_EQ(s.host().next(), "close 1006 ");
  EXPECT_FALSE(s.listener.asked(200));
}

// A client may be ended by whatever it tells.
TEST(ws_client_session, ends_inside_its_own_handlers) {
  web_host s(echo_options());
  test::raw_listener silent;
  engine_thread e;
  e.start();
  const std::string there = "ws://127.0.0.1:" + std::to_string(s.port) + "/a";
  for (const std::string when : {"open", "message", "failed", "url"}) {
    std::promise<void> ended;
    std::unique_ptr<client> it;
    const auto end = [&](const char* now) {
      if (when != now) return;
      it.reset();
      ended.set_value();
    };
    client_options o;
    o.url = when == "failed" ? "ws://127.0.0.1:1/" : when == "url" ? "nonsense" : there;
    o.reconnect_first_ms = 1;
    o.connection.open = [&](connection& c) {
      c.send("a");
      end("open");
    };
    o.connection.message = [&](connection&, message) { end("message"); };
    o.failed = [&](std::string_view) { end(when == "url" ? "url" : "failed"); };
    e.net.at(0).post([&] {
      it = std::make_unique<client>(e.net.at(0), std::move(o));
      it->start();
    });
    ASSERT_EQ(ended.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready) << when;
  }
}

TEST(ws_client_session, does_not_start_but_on_its_core) {
  static std::atomic<int> complaints{0};
  complaints = 0;
  set_log_sink([](log_level level, std::string_view line) {
    if (level == log_level::error && line.find("start()") != std::string_view::npos) ++complaints;
  });
  web_host s{echo_options()};
  engine_thread e;
  client_options o;
  o.url = "ws://127.0.0.1:" + std::to_string(s.port) + "/a";
  o.connection.open = [](connection&) { ADD_FAILURE() << "it has started"; };
  client it{e.net.at(0), std::move(o)};
  EXPECT_FALSE(it.start()) << "before the engine runs";
  e.start();
  EXPECT_FALSE(it.start()) << "on another thread";
  e.stop();
  EXPECT_FALSE(it.start()) << "after the engine";
  EXPECT_EQ(complaints, 3);
  set_log_sink(nullptr);
}

}  // namespace
}  // namespace catenet::ws::testing
