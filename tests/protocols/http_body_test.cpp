// Bodies of requests over a real socket: streaming, limits, faults, and the deadlines of all that may be
// slow.
#include <catenet/engine/core.hpp>

#include "support/http_server_fixture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

namespace catenet::test {
namespace {

using http::request;
using http::response;
using namespace std::chrono_literals;

using http_body_server = http_server;

TEST_F(http_body_server, streams_bodies_both_ways) {
  start(body_routes);
  http_test_client client{server_->port()};
  std::string body;
  for (int i = 0; body.size() < 700'000; ++i) body += std::to_string(i) + " ";
  std::string chunked;
  for (std::size_t at = 0; at < body.size(); at += 9999) {
    const std::string part = body.substr(at, 9999);
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", part.size());
    chunked += size + part + "\r\n";
  }
  for (int i = 0; i != 3; ++i) {
    std::thread writer{[&] {
      client.send(with_length("/echo", body) +
                  post("/echo", "Transfer-Encoding: chunked\r\n", chunked + "0\r\n\r\n"));
    }};
    EXPECT_EQ(client.read().body, body);
    EXPECT_EQ(client.read().body, body);
    writer.join();
  }
  client.send(with_length("/text", "hello") + with_length("/text", ""));
  EXPECT_EQ(client.read().body, "hello");
  EXPECT_EQ(client.read().body, "");
}

TEST_F(http_body_server, a_fault_in_a_body_that_is_being_answered_cuts_the_answer_off) {
  start(body_routes);
  http_test_client client{server_->port()};
  client.send(post("/echo", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"));
  EXPECT_TRUE(client.read_some(90).ends_with("5\r\nhello\r\n"));
  client.send("5\r\nhello!\r\n" + get("/"));
  EXPECT_EQ(client.read_all(), "");
}

TEST_F(http_body_server, row_34_limits_hold_for_routes_and_for_collecting) {
  start([](http::server& web) {
    web.post("/small", [](request& rq, response& rs) -> task<> { rs.text(co_await rq.body().text(1000)); },
             {.max_body = 100});
    web.post("/collect", [](request& rq, response& rs) -> task<> { rs.text(co_await rq.body().text(100)); });
  });
  EXPECT_EQ(ask(with_length("/small", std::string(100, 'a'))).status, 200);
  for (const char* target : {"/small", "/collect"}) {
    const http_answer a = ask(with_length(target, std::string(101, 'a')));
    EXPECT_EQ(a.status, 413) << target;
    EXPECT_EQ(a.field("Connection"), "close");
    EXPECT_EQ(ask(post(target, "Transfer-Encoding: chunked\r\n",
                       "65\r\n" + std::string(101, 'a') + "\r\n0\r\n\r\n"))
                  .status,
              413);
  }
}

TEST_F(http_body_server, row_45_a_body_cut_short_is_an_abort_for_its_handler) {
  std::atomic<int> begun{0};
  std::atomic<int> aborts{0};
  std::atomic<int> complete{0};
  start([&](http::server& web) {
    web.post("/", [&](request& rq, response& rs) -> task<> {
      ++begun;
      try {
        while (co_await rq.body().next()) {
        }
        ++complete;
      } catch (const http::aborted&) {
        ++aborts;
        throw;
      }
      rs.status(204);
    });
  });
  const auto cut = [&](const std::string& bytes, bool reset) {
    const int before = begun;
    http_test_client client{server_->port()};
    client.send(bytes);
    ASSERT_TRUE(eventually([&] { return begun != before; }));
    if (reset) return client.reset();
    client.finish_sending();
    EXPECT_EQ(client.read().status, 400);
    EXPECT_TRUE(client.at_end());
  };
  int expected = 0;
  for (const bool reset : {false, true}) {
    cut(post("/", "Content-Length: 10\r\n", "hello"), reset);
    cut(post("/", "Content-Length: 10\r\n", ""), reset);
    cut(post("/", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"), reset);
    cut(post("/", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n"), reset);
    expected += 4;
    EXPECT_TRUE(eventually([&] { return aborts == expected; })) << aborts << " of " << expected;
  }
  EXPECT_EQ(complete, 0);
}

TEST_F(http_body_server, fin_right_behind_a_whole_body_is_no_abort) {
  start([](http::server& web) {
    web.post("/", [](request& rq, response& rs) -> task<> {
      co_await catenet::sleep(30);
      std::uint64_t bytes = 0;
      while (auto part = co_await rq.body().next()) {
        bytes += part->bytes();
        co_await catenet::sleep(1);
      }
      rs.text(bytes);
    });
  });
  for (const std::string& bytes : {with_length("/", std::string(20'000, 'x')),
                                   post("/", "Transfer-Encoding: chunked\r\n",
                                        "4e20\r\n" + std::string(20'000, 'x') + "\r\n0\r\n\r\n")}) {
    http_test_client client{server_->port()};
    client.send(bytes);
    client.finish_sending();
    EXPECT_EQ(client.read().body, "20000");
    EXPECT_TRUE(client.at_end());
  }
}

TEST_F(http_body_server, rows_46_and_47_trailers_are_delivered_without_those_that_are_forbidden) {
  start(body_routes);
  EXPECT_EQ(ask(post("/trailer", "Transfer-Encoding: chunked\r\n",
                     "5\r\nhello\r\n0\r\nDigest: abc\r\nContent-Length: 7\r\n\r\n"))
                .body,
            "abc|none");
  EXPECT_EQ(ask(with_length("/trailer", "hello")).body, "none|none");
}

TEST_F(http_body_server, row_48_100_is_sent_when_the_body_is_read) {
  start(body_routes);
  http_test_client client{server_->port()};
  client.send(post("/text", "Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
  EXPECT_EQ(client.read().status, 100);
  client.send("hello");
  EXPECT_EQ(client.read().body, "hello");
  client.send(post("/text", "Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"));
  EXPECT_EQ(client.read().body, "hello") << "the body came along: no 100 is needed";
  client.send(post("/ignore", "Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
  const http_answer early = client.read();
  EXPECT_EQ(early.status, 200);
  EXPECT_EQ(early.field("Connection"), "close");
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(ask(post("/text", "Expect: 200-ok\r\nContent-Length: 5\r\n", "")).status, 417) << "row 49";
}

TEST_F(http_body_server, row_48_no_100_is_sent_inside_an_answer) {
  start([](http::server& web) {
    web.post("/", [](request& rq, response& rs) -> task<> {
      rs.length(4);
      co_await rs.write("ab");
      while (co_await rq.body().next()) {
      }
      co_await rs.write("cd");
    });
  });
  http_test_client client{server_->port()};
  client.send(post("/", "Expect: 100-continue\r\nContent-Length: 3\r\n", ""));
  std::string got;
  while (!got.ends_with("\r\n\r\nab")) {
    const std::string more = client.read_some(1);
    ASSERT_FALSE(more.empty()) << got;
    got += more;
  }
  client.send("xyz");
  got += client.read_all();
  EXPECT_TRUE(got.ends_with("\r\n\r\nabcd")) << got;
  EXPECT_EQ(got.find("100 Continue"), std::string::npos);
  EXPECT_NE(got.find("Connection: close\r\n"), std::string::npos) << "the body may come, or not";
}

TEST_F(http_body_server, row_51_an_unread_body_is_taken_in_up_to_a_limit) {
  http_test_server::settings of;
  of.http.discard_max = 10'000;
  of.http.max_body = 1 << 30;
  start(body_routes, of);
  http_test_client client{server_->port()};
  client.send(with_length("/ignore", std::string(10'000, 'x')) + with_length("/text", "hello"));
  EXPECT_EQ(client.read().body, "ignored");
  EXPECT_EQ(client.read().body, "hello");
  client.send(with_length("/nowhere", std::string(100, 'x')) + with_length("/text", "hello"));
  EXPECT_EQ(client.read().status, 404);
  EXPECT_EQ(client.read().body, "hello");
  client.send(post("/ignore", "Content-Length: 20000\r\n", ""));
  EXPECT_EQ(client.read().field("Connection"), "close");
  EXPECT_TRUE(client.at_end());

  http_test_client chunked{server_->port()};
  chunked.send(post("/ignore", "Transfer-Encoding: chunked\r\n", ""));
  EXPECT_EQ(chunked.read().body, "ignored");
  chunked.send("4e20\r\n" + std::string(20'000, 'x') + "\r\n0\r\n\r\n" + get("/"));
  EXPECT_TRUE(chunked.at_end());
}

// Each of these answers is given already when it turns out that the connection has to end.
TEST_F(http_body_server, an_unread_body_that_ends_the_connection_takes_no_answer_along) {
  http_test_server::settings of;
  of.http.discard_max = 10'000;
  start(
      [](http::server& web) {
        body_routes(web);
        web.post("/slow", [](request&, response& rs) -> task<> {
          co_await catenet::sleep(50);
          rs.text("slow");
        });
      },
      of);
  const std::string coding = "Transfer-Encoding: chunked\r\n";
  const std::string good = with_length("/ignore", "one") + with_length("/ignore", "two");
  const std::string too_much = "4e20\r\n" + std::string(20'000, 'x') + "\r\n0\r\n\r\n";
  for (const std::string& body : {std::string{"zz\r\n"}, std::string{"0\r\nno colon\r\n\r\n"}, too_much}) {
    http_test_client client{server_->port()};
    client.send(good + post("/ignore", coding, body) + get("/"));
    for (int i = 0; i != 3; ++i) EXPECT_EQ(client.read().body, "ignored") << i << ' ' << body.substr(0, 20);
    EXPECT_TRUE(client.at_end());
    http_test_client waits{server_->port()};
    waits.send(post("/slow", coding, body) + get("/"));
    EXPECT_EQ(waits.read().body, "slow") << body.substr(0, 20);
    EXPECT_TRUE(waits.at_end());
  }
  http_test_client client{server_->port()};
  client.send(post("/slow", "Content-Length: 100\r\n", "half"));
  client.finish_sending();
  EXPECT_EQ(client.read().body, "slow");
  EXPECT_TRUE(client.at_end());
}

TEST_F(http_body_server, a_handler_that_does_not_read_holds_its_peer_back) {
  const auto read = std::make_shared<std::atomic<bool>>(false);  // with the handler, to the server's end
  http_test_server::settings of;
  of.http.max_body = 1 << 30;
  start(
      [&](http::server& web) {
        web.post("/", [read](request& rq, response& rs) -> task<> {
          while (!*read) co_await catenet::sleep(5);
          std::uint64_t bytes = 0;
          while (auto part = co_await rq.body().next()) bytes += part->bytes();
          rs.text(bytes);
        });
      },
      of);
  constexpr std::size_t bytes = 64 << 20;
  http_test_client client{server_->port()};
  std::thread writer{[&] { client.send(with_length("/", std::string(bytes, 'x'))); }};
  std::this_thread::sleep_for(200ms);
  std::uint64_t held = 0;
  for (const class_statistics& c : server_->net().slab().statistics().classes) held += c.rented * c.size;
  EXPECT_LT(held, 4u << 20) << "what the handler has not asked for waits with the peer";
  *read = true;
  EXPECT_EQ(client.read().body, std::to_string(bytes));
  writer.join();
}

// ---- deadlines

http_test_server::settings hasty() {
  http_test_server::settings of;
  of.http.deadlines.head_ms = 200;
  of.http.deadlines.idle_ms = 150;
  of.http.deadlines.body_ms = 100;
  of.http.deadlines.body_rate_min = 1000;
  return of;
}

TEST_F(http_body_server, row_56_a_head_has_an_absolute_deadline) {
  start(add_table_routes, hasty());
  http_test_client client{server_->port()};
  const auto begin = std::chrono::steady_clock::now();
  std::thread writer{[&] {
    for (const char c : get("/hello/a-name-that-takes-more-than-a-second-like-this")) {
      if (!client.send({&c, 1})) return;
      std::this_thread::sleep_for(20ms);
    }
  }};
  const http_answer a = client.read();
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(a.status, 408);
  EXPECT_EQ(a.field("Connection"), "close");
  EXPECT_GE(took, 190ms) << "and before the head was complete: bytes that come do not put it off";
  writer.join();
}

TEST_F(http_body_server, rows_35_and_57_a_body_below_the_rate_ends_in_408) {
  start(body_routes, hasty());
  EXPECT_EQ(ask(post("/text", "Content-Length: 900\r\n", "")).status, 408);
  http_test_client client{server_->port()};
  client.send(post("/text", "Content-Length: 900\r\n", ""));
  std::thread writer{[&] {
    for (int i = 0; i != 100 && client.send("x"); ++i) std::this_thread::sleep_for(10ms);
  }};
  EXPECT_EQ(client.read().status, 408);
  writer.join();
}

TEST_F(http_body_server, row_57_a_body_above_the_rate_may_take_its_time) {
  http_test_server::settings of;
  of.http.deadlines.body_ms = 1000;
  of.http.deadlines.body_rate_min = 50;
  start(body_routes, of);
  http_test_client good{server_->port()};
  good.send(post("/text", "Content-Length: 900\r\n", ""));
  for (int i = 0; i != 9; ++i) {
    good.send(std::string(100, 'x'));
    std::this_thread::sleep_for(150ms);
  }
  EXPECT_EQ(good.read().body, std::string(900, 'x'));
}

TEST_F(http_body_server, row_35_a_huge_length_allocates_nothing_ahead) {
  http_test_server::settings of;
  of.http.max_body = std::uint64_t{1} << 62;
  start(body_routes, of);
  http_test_client client{server_->port()};
  client.send(post("/text", "Content-Length: 4611686018427387904\r\n", "x"));
  std::this_thread::sleep_for(50ms);
  std::uint64_t held = 0;
  for (const class_statistics& c : server_->net().slab().statistics().classes) held += c.rented * c.size;
  EXPECT_LE(held, 300'000u);
}

TEST_F(http_body_server, row_59_an_idle_connection_is_closed) {
  start(add_table_routes, hasty());
  http_test_client never{server_->port()};
  http_test_client once{server_->port()};
  http_test_client lines{server_->port()};
  once.send(get("/"));
  EXPECT_EQ(once.read().status, 200);
  lines.send("\r\n");
  EXPECT_TRUE(never.at_end());
  EXPECT_TRUE(once.at_end());
  EXPECT_TRUE(lines.at_end());
}

TEST_F(http_body_server, a_handler_has_a_deadline_where_one_is_set) {
  http_test_server::settings of;
  of.http.deadlines.handler_ms = 50;
  start(
      [](http::server& web) {
        web.get("/", [](request&, response& rs) -> task<> {
          co_await catenet::sleep(300);
          rs.text("too late");
        });
      },
      of);
  const http_answer a = ask(get("/"));
  EXPECT_EQ(a.status, 503);
  EXPECT_EQ(a.field("Connection"), "close");
}

TEST_F(http_body_server, the_deadline_of_a_handler_ends_where_its_answer_begins) {
  http_test_server::settings of;
  of.http.deadlines.handler_ms = 50;
  start(
      [](http::server& web) {
        web.get("/", [](request&, response& rs) -> task<> {
          for (int i = 0; i != 10; ++i) {
            if (!co_await rs.write("x")) co_return;
            co_await catenet::sleep(20);
          }
        });
      },
      of);
  const http_answer a = ask(get("/"));
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(a.body, "xxxxxxxxxx");
}

TEST_F(http_body_server, a_route_has_a_deadline_of_its_own_for_its_handler) {
  const auto slow = [](request&, response& rs) -> task<> {
    co_await catenet::sleep(300);
    rs.text("late");
  };
  const auto routes = [&](http::server& web) {
    web.get("/hurried", slow, {.handler_ms = 50});
    web.get("/patient", slow, {.handler_ms = 0});
    web.get("/", slow);
  };
  http_test_server::settings of;
  start(routes, of);
  EXPECT_EQ(ask(get("/hurried")).status, 503);
  EXPECT_EQ(ask(get("/")).body, "late");
  of.http.deadlines.handler_ms = 50;
  start(routes, of);
  EXPECT_EQ(ask(get("/patient")).body, "late");
  EXPECT_EQ(ask(get("/")).status, 503);
}

// Its head is out, so no status can tell; a body with a length would just stop, and one without would look
// whole.
TEST_F(http_body_server, a_handler_that_hangs_behind_its_head_is_ended) {
  std::atomic<int> told{0};
  const auto hangs = [&](request& rq, response& rs) -> task<> {
    bool gone = false;
    rq.on_gone([&] {
      gone = true;
      ++told;
    });
    co_await rs.write("beginning");
    while (!gone) co_await catenet::sleep(10);
  };
  http_test_server::settings of;
  of.http.deadlines.piece_ms = 600'000;
  start(
      [&](http::server& web) {
        web.get("/", hangs, {.piece_ms = 100});
        web.post("/", hangs, {.piece_ms = 100});
      },
      of);
  for (const char* request : {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
                              "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nall"}) {
    told = 0;
    http_test_client c{server_->port()};
    ASSERT_TRUE(c.send(request));
    c.read_all();  // up to the end of the connection, or ten seconds
    EXPECT_TRUE(eventually([&] { return told == 1; })) << request;
  }
}

TEST_F(http_body_server, who_waits_for_its_client_does_not_hang) {
  constexpr int pieces = 200;
  http_test_server::settings of;
  of.http.deadlines.piece_ms = 50;
  start(
      [&](http::server& web) {
        web.get("/", [](request&, response& rs) -> task<> {
          const std::string piece(64 << 10, 'x');
          for (int i = 0; i != pieces; ++i)
            if (!co_await rs.write(piece)) co_return;
        });
        web.post("/", [](request& rq, response& rs) -> task<> {
          while (auto part = co_await rq.body().next())
            if (!co_await rs.write(std::move(*part))) co_return;
        });
      },
      of);
  http_test_client reader{server_->port()};
  http_test_client writer{server_->port()};
  reader.send(get("/"));
  writer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na");
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  writer.send("b");
  EXPECT_EQ(writer.read().body, "ab");
  EXPECT_EQ(reader.read().body.size(), std::size_t{pieces} << 16);
}

}  // namespace
}  // namespace catenet::test
