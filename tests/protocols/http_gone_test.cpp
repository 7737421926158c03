// What a handler learns when nobody waits for its answer any more, and when.
#include <catenet/engine/core.hpp>

#include "support/http_server_fixture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

namespace catenet::test {
namespace {

using http::request;
using http::response;
using namespace std::chrono_literals;

using http_gone_server = http_server;

// Waits for nothing but the end of the connection.
struct until_gone {
  request& rq;
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> who) {
    rq.on_gone([who] { who.resume(); });
  }
  void await_resume() {}
};

template <class T>
bool comes(std::future<T>& f) {
  return f.wait_for(10s) == std::future_status::ready;
}

// A handler that is told at the end of its connection, and never otherwise.
struct waiting_routes {
  std::promise<bool> told;
  std::promise<void> begun;
  void operator()(http::server& web) {
    web.get("/", [this](request& rq, response&) -> task<> {
      begun.set_value();
      co_await until_gone{rq};
      told.set_value(rq.aborted());
    });
  }
};

TEST_F(http_gone_server, row_70_a_reset_is_told_at_once_to_a_handler_that_waits_for_something_else) {
  waiting_routes routes;
  auto told = routes.told.get_future();
  start(std::ref(routes));
  http_test_client client{server_->port()};
  client.send(get("/"));
  routes.begun.get_future().wait();
  client.reset();
  ASSERT_TRUE(comes(told));
  EXPECT_TRUE(told.get());
}

TEST_F(http_gone_server, fin_counts_as_the_end_only_where_that_is_asked_for) {
  http_test_server::settings of;
  of.http.answer_after_fin = false;
  waiting_routes routes;
  auto told = routes.told.get_future();
  start(
      [&](http::server& web) {
        routes(web);
        body_routes(web);
      },
      of);
  http_test_client client{server_->port()};
  client.send(get("/"));
  client.finish_sending();
  ASSERT_TRUE(comes(told));
  EXPECT_TRUE(client.at_end());
  http_test_client whole{server_->port()};
  whole.send(with_length("/text", "hello"));
  EXPECT_EQ(whole.read().body, "hello");
}

TEST_F(http_gone_server, the_deadlines_of_handler_and_client_tell_all_that_wait) {
  http_test_server::settings of;
  of.http.deadlines.handler_ms = 50;
  of.http.deadlines.send_ms = 300;
  waiting_routes routes;
  auto told = routes.told.get_future();
  std::promise<bool> written;
  auto wrote = written.get_future();
  start(
      [&](http::server& web) {
        routes(web);
        web.get("/flood", [&](request&, response& rs) -> task<> {
          const std::string piece(1 << 20, 'x');
          while (co_await rs.write(piece)) {
          }
          written.set_value(true);
        });
      },
      of);
  EXPECT_EQ(ask(get("/")).status, 503);
  EXPECT_TRUE(comes(told));
  http_test_client slow{server_->port(), 4096};
  slow.send(get("/flood"));
  EXPECT_TRUE(comes(wrote)) << "write() is false once the client has taken nothing for that long";
}

TEST_F(http_gone_server, nobody_is_told_after_the_handler_has_answered) {
  std::atomic<int> told{0};
  start([&](http::server& web) {
    web.get("/", [&](request& rq, response& rs) -> task<> {
      rq.on_gone([&told] { ++told; });
      co_await catenet::sleep(1);
      rs.text("answer");
    });
    web.get("/at-once", [&](request& rq, response& rs) {
      rq.on_gone([&told] { ++told; });
      rs.text("answer");
    });
  });
  for (const char* target : {"/", "/at-once"}) {
    http_test_client client{server_->port()};
    client.send(get(target));
    EXPECT_EQ(client.read().body, "answer");
    client.reset();
  }
  EXPECT_EQ(server_->wait_until_idle(), "");
  EXPECT_EQ(told, 0);
}

TEST_F(http_gone_server, all_that_wait_are_told_and_those_that_ended_are_not) {
  std::promise<std::string> told;
  auto saw = told.get_future();
  start([&](http::server& web) {
    web.post("/", [&](request& rq, response& rs) -> task<> {
      std::string log;
      {
        const task<> dropped = [](request& of) -> task<> { co_await of.body().next(); }(rq);
        co_await catenet::sleep(1);
      }  // whoever waited in it is not there any more
      const task<> reader = [](request& of, std::string& into) -> task<> {
        try {
          while (co_await of.body().next()) {
          }
        } catch (const http::aborted&) {
          into += "body ";
        }
      }(rq, log);
      rq.on_gone([&log] { log += "gone "; });
      const std::string piece(1 << 20, 'x');
      while (co_await rs.write(piece)) {
      }
      log += "write ";
      co_await catenet::sleep(1);
      told.set_value(log);
    });
  });
  http_test_client client{server_->port(), 4096};
  client.send(post("/", "Content-Length: 100\r\n", ""));
  EXPECT_FALSE(client.read_some(1000).empty());
  client.reset();
  ASSERT_TRUE(comes(saw));
  // Who is told first depends on whether reading or writing meets the reset.
  const std::string all = saw.get();
  EXPECT_EQ(all.size(), std::string_view("gone write body ").size()) << all;
  for (const char* one : {"gone ", "write ", "body "}) EXPECT_NE(all.find(one), std::string::npos) << all;
}

TEST_F(http_gone_server, row_58_a_reader_that_takes_nothing_is_reset_at_the_deadline_of_its_listener) {
  http_test_server::settings of;
  of.http.deadlines.send_ms = 200;
  std::promise<bool> written;
  auto wrote = written.get_future();
  start(
      [&](http::server& web) {
        web.get("/flood", [&](request&, response& rs) -> task<> {
          const std::string piece(1 << 20, 'x');
          while (co_await rs.write(piece)) {
          }
          written.set_value(true);
        });
      },
      of);
  http_test_client slow{server_->port(), 4096};
  slow.send(get("/flood"));
  EXPECT_TRUE(comes(wrote)) << "the engine itself would wait for half a minute";
}

}  // namespace
}  // namespace catenet::test
