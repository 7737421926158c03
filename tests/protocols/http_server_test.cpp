// The HTTP server over a real socket: routes, handlers, bodies, deadlines, closing.
#include <catenet/engine/core.hpp>

#include "support/http_server_fixture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace catenet::test {
namespace {

using http::request;
using http::response;
using namespace std::chrono_literals;

// ---- routes

void name_routes(http::server& web) {
  const auto says = [](const char* what) {
    return [what](request& rq, response& rs) { rs.text(what, "|", rq.param("a"), "|", rq.param("b")); };
  };
  web.get("/", says("root"));
  web.get("/users", says("users"));
  web.get("/users/{a}", says("user"));
  web.get("/users/me", says("me"));
  web.get("/users/{a}/posts/{b}", says("post"));
  web.get("/use", says("use"));
  web.get("/files/{a...}", says("files"));
  web.get("/files/special/{a}", says("special"));
  web.post("/users/me", says("post me"));
  web.del("/users/{a}", says("delete"));
  web.on(http::method::options, "/own", says("own options"));
  web.on({http::method::get, http::method::put}, "/both", says("both"));
}

TEST_F(http_server, finds_the_most_exact_route) {
  start(name_routes);
  const auto body = [&](const char* target) { return ask(get(target)).body; };
  EXPECT_EQ(body("/"), "root||");
  EXPECT_EQ(body("/?a=b"), "root||");
  EXPECT_EQ(body("/use"), "use||");
  EXPECT_EQ(body("/users"), "users||");
  EXPECT_EQ(body("/users/7"), "user|7|");
  EXPECT_EQ(body("/users/me"), "me||");
  EXPECT_EQ(body("/users/mel"), "user|mel|");
  EXPECT_EQ(body("/users/7/posts/8"), "post|7|8");
  EXPECT_EQ(body("/users/me/posts/8"), "post|me|8");
  EXPECT_EQ(body("/files/"), "files||");
  EXPECT_EQ(body("/files/a/b/c"), "files|a/b/c|");
  EXPECT_EQ(body("/files/special/x"), "special|x|");
  EXPECT_EQ(body("/files/special/x/y"), "files|special/x/y|");
  for (const char* none :
       {"/user", "/users/", "/users/7/posts", "/users/7/posts/", "/files", "//", "/./", "/../", "/U"})
    EXPECT_EQ(ask(get(none)).status, 404) << none;
}

TEST_F(http_server, tells_what_a_path_allows) {
  start(name_routes);
  const auto line = [&](const std::string& first) { return ask(first + " HTTP/1.1\r\nHost: a\r\n\r\n"); };
  EXPECT_EQ(line("PUT /users/7").status, 405);
  EXPECT_EQ(line("PUT /users/7").field("Allow"), "GET, HEAD, DELETE, OPTIONS");
  EXPECT_EQ(line("PUT /users/me").field("Allow"), "GET, HEAD, POST, DELETE, OPTIONS");
  EXPECT_EQ(line("POST /users/me").body, "post me||");
  EXPECT_EQ(line("DELETE /users/me").body, "delete|me|");
  EXPECT_EQ(line("OPTIONS /users/7").status, 204);
  EXPECT_EQ(line("OPTIONS /users/7").field("Allow"), "GET, HEAD, DELETE, OPTIONS");
  EXPECT_EQ(line("OPTIONS /own").body, "own options||");
  EXPECT_EQ(line("PUT /both").body, "both||");
  EXPECT_EQ(line("DELETE /both").field("Allow"), "GET, HEAD, PUT, OPTIONS");
  EXPECT_EQ(line("OPTIONS *").status, 204);
  EXPECT_EQ(line("OPTIONS /none").status, 404);
  EXPECT_EQ(line("TRACE /").status, 405);
  EXPECT_EQ(line("FROB /").status, 501);
}

TEST_F(http_server, trace_is_for_a_route_that_names_it) {
  start([](http::server& web) {
    web.on(http::method::trace, "/loop", [](request& rq, response& rs) {
      rs.type("message/http").text(rq.method_name(), " ", rq.target(), " HTTP/1.1\r\n");
    });
  });
  EXPECT_EQ(ask("TRACE /loop HTTP/1.1\r\nHost: a\r\n\r\n").body, "TRACE /loop HTTP/1.1\r\n");
  EXPECT_EQ(ask("PUT /loop HTTP/1.1\r\nHost: a\r\n\r\n").field("Allow"), "OPTIONS, TRACE");
  EXPECT_EQ(ask("TRACE /none HTTP/1.1\r\nHost: a\r\n\r\n").status, 404);
  for (const char* body : {"Content-Length: 1\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}) {
    const http_answer a = ask(std::string{"TRACE /loop HTTP/1.1\r\nHost: a\r\n"} + body);
    EXPECT_EQ(a.status, 400) << body;
    EXPECT_EQ(a.field("Connection"), "close") << body;
  }
}

TEST_F(http_server, refuses_patterns_that_are_malformed_or_taken) {
  engine net{};
  http::server web{net};
  const auto h = [](request&, response& rs) { rs.status(204); };
  web.get("/a/{b}", h);
  for (const char* bad : {"", "a", "/{", "/{}", "/a{b}", "/{b}c", "/{...}", "/{a...}/b", "/a/{other}"})
    EXPECT_THROW(web.get(bad, h), std::invalid_argument) << bad;
  EXPECT_NO_THROW(web.post("/a/{other}", h));
}

TEST_F(http_server, row_65_decodes_once_and_checks_after_decoding) {
  start([](http::server& web) {
    web.get("/p/{a}", [](request& rq, response& rs) { rs.text(rq.param("a"), "|", rq.path()); });
  });
  EXPECT_EQ(ask(get("/p/a%20b")).body, "a b|/p/a b");
  EXPECT_EQ(ask(get("/%70/x")).body, "x|/p/x");
  EXPECT_EQ(ask(get("/p/%2541")).body, "%41|/p/%41");
  EXPECT_EQ(ask(get("/p/a%2Fb")).body, "a/b|/p/a/b");
  EXPECT_EQ(ask(get("/p/caf%C3%A9")).body, "caf\xc3\xa9|/p/caf\xc3\xa9");
  for (const char* bad : {"/p/%", "/p/%4", "/p/%zz", "/p/%00", "/p/%0d%0aX:y", "/p/%7f", "/p/%01"})
    EXPECT_EQ(ask(get(bad)).status, 400) << bad;
}

// ---- answers

TEST_F(http_server, rows_52_and_53_no_body_for_head_204_and_304) {
  start([](http::server& web) {
    web.get("/text", [](request&, response& rs) { rs.text("Hello"); });
    web.get("/none", [](request&, response& rs) { rs.status(204).header("A", "b"); });
    web.get("/same", [](request&, response& rs) {
      rs.status(304);
      rs.text("never sent");
      rs.status(304);
    });
    web.get("/pieces", [](request&, response& rs) -> task<> { co_await rs.write("Hello"); });
  });
  http_test_client client{server_->port()};
  const auto head = [&](const std::string& target) {
    client.send("HEAD " + target + " HTTP/1.1\r\nHost: a\r\n\r\n");
    return client.read(true);
  };
  EXPECT_EQ(head("/text").field("Content-Length"), "5");
  EXPECT_EQ(head("/pieces").field("Transfer-Encoding"), "chunked");
  client.send(get("/none"));
  const http_answer none = client.read();
  EXPECT_EQ(none.status, 204);
  EXPECT_EQ(none.field("Content-Length"), std::nullopt) << "row 53";
  EXPECT_EQ(none.field("A"), "b");
  client.send(get("/same"));
  EXPECT_EQ(client.read().field("Content-Length"), std::nullopt);
  client.send(get("/text"));
  EXPECT_EQ(client.read().body, "Hello") << "the connection is in step";
}

TEST_F(http_server, answers_carry_a_date_a_type_and_their_length) {
  start([](http::server& web) {
    web.get("/", [](request&, response& rs) { rs.text("n=", 5, " ", -7, " ", std::uint64_t{1} << 63); });
    web.get("/json", [](request&, response& rs) { rs.json("{}"); });
    web.get("/own", [](request&, response& rs) {
      rs.type("text/css").header("X-A", "1").header("X-A", "2").text("a");
    });
  });
  const http_answer a = ask(get("/"));
  EXPECT_EQ(a.body, "n=5 -7 9223372036854775808");
  EXPECT_EQ(a.field("Content-Type"), "text/plain; charset=utf-8");
  ASSERT_TRUE(a.field("Date"));
  EXPECT_EQ(a.field("Date")->size(), 29u);
  EXPECT_TRUE(a.field("Date")->ends_with(" GMT"));
  EXPECT_EQ(ask(get("/json")).field("Content-Type"), "application/json");
  const http_answer own = ask(get("/own"));
  EXPECT_EQ(own.field("Content-Type"), "text/css");
  EXPECT_NE(own.head.find("X-A: 1\r\nX-A: 2\r\n"), std::string::npos);
  EXPECT_EQ(own.head.find("text/plain"), std::string::npos);
}

TEST_F(http_server, row_64_fields_that_would_end_their_line_are_refused) {
  start([](http::server& web) {
    web.get("/value", [](request&, response& rs) { rs.header("A", "b\r\nSet-Cookie: c").text("x"); });
    web.get("/lf", [](request&, response& rs) { rs.header("A", "b\nc").text("x"); });
    web.get("/nul", [](request&, response& rs) { rs.header("A", std::string_view{"b\0c", 3}).text("x"); });
    web.get("/name", [](request&, response& rs) { rs.header("A: b\r\nC", "d").text("x"); });
    web.get("/length", [](request&, response& rs) { rs.header("content-length", "3").text("x"); });
    web.get("/coding", [](request&, response& rs) { rs.header("Transfer-Encoding", "chunked").text("x"); });
    web.get("/type", [](request&, response& rs) { rs.type("a\r\nb").text("x"); });
    web.get("/where", [](request&, response& rs) { rs.redirect("/a\r\nSet-Cookie: c"); });
    web.get("/status", [](request&, response& rs) { rs.status(42).text("x"); });
    web.get("/trailer", [](request&, response& rs) { rs.trailer("A", "b\r\n").text("x"); });
  });
  for (const char* target :
       {"/value", "/lf", "/nul", "/name", "/length", "/coding", "/type", "/where", "/status", "/trailer"}) {
    const http_answer a = ask(get(target));
    EXPECT_EQ(a.status, 500) << target;
    EXPECT_EQ(a.field("Set-Cookie"), std::nullopt) << target;
  }
}

TEST_F(http_server, a_handler_that_fails_is_answered_for_and_the_connection_goes_on) {
  start([](http::server& web) {
    web.get("/throws", [](request&, response&) { throw std::runtime_error("on purpose"); });
    web.get("/throws-late", [](request&, response& rs) {
      rs.header("X-Secret", "1").text("half");
      throw 5;
    });
    web.get("/silent", [](request&, response&) {});
    web.get("/task", [](request&, response&) -> task<> {
      co_await catenet::sleep(1);
      throw std::runtime_error("on purpose");
    });
    web.get("/silent-task", [](request&, response&) -> task<> { co_await catenet::sleep(1); });
    web.get("/ok", [](request&, response& rs) { rs.text("ok"); });
  });
  http_test_client client{server_->port()};
  for (const char* target : {"/throws", "/throws-late", "/silent", "/task", "/silent-task"}) {
    client.send(get(target) + get("/ok"));
    const http_answer a = client.read();
    EXPECT_EQ(a.status, 500) << target;
    EXPECT_EQ(a.field("X-Secret"), std::nullopt);
    EXPECT_EQ(a.body.find("on purpose"), std::string::npos) << "what failed is for the log";
    EXPECT_EQ(client.read().body, "ok") << target;
  }
}

TEST_F(http_server, writes_bodies_piece_by_piece) {
  start([](http::server& web) {
    web.get("/chunks", [](request&, response& rs) -> task<> {
      co_await rs.write("one ");
      co_await catenet::sleep(1);
      co_await rs.write("two ");
      co_await rs.write("");
      rs.trailer("X-Sum", "7");
      co_await rs.write(chain::copy_of("three"));
    });
    web.get("/length", [](request&, response& rs) -> task<> {
      rs.type("text/plain").length(8);
      co_await rs.write("12345");
      co_await rs.write("67890");
    });
    web.get("/short", [](request&, response& rs) -> task<> {
      rs.length(8);
      co_await rs.write("12345");
    });
    web.get("/fails", [](request&, response& rs) -> task<> {
      co_await rs.write("12345");
      throw std::runtime_error("on purpose");
    });
  });
  http_test_client client{server_->port()};
  client.send(get("/chunks") + get("/length"));
  const http_answer chunks = client.read();
  EXPECT_EQ(chunks.body, "one two three");
  EXPECT_EQ(chunks.field("X-Sum"), "7");
  const http_answer length = client.read();
  EXPECT_EQ(length.field("Content-Length"), "8");
  EXPECT_EQ(length.body, "12345678");

  http_test_client cut{server_->port()};
  cut.send(get("/short"));
  EXPECT_TRUE(cut.read_all().ends_with("\r\n\r\n12345"));
  http_test_client failed{server_->port()};
  failed.send(get("/fails"));
  EXPECT_TRUE(failed.read_all().ends_with("\r\n5\r\n12345\r\n"))
      << "no last chunk: the peer sees that it is not whole";
  http_test_client old{server_->port()};
  old.send("GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const std::string all = old.read_all();
  EXPECT_TRUE(all.ends_with("\r\n\r\none two three")) << all;
  EXPECT_NE(all.find("Connection: close\r\n"), std::string::npos);
}

TEST_F(http_server, sends_chains_and_constants_of_any_size) {
  static const std::string constant(100'000, 'c');
  start([](http::server& web) {
    web.get("/chain/{n}", [](request& rq, response& rs) {
      rs.body(chain::copy_of(std::string(std::stoul(std::string{rq.param("n")}), 'x')));
    });
    web.get("/constant", [](request&, response& rs) { rs.constant(constant); });
    web.get("/text/{n}", [](request& rq, response& rs) {
      rs.text(std::string(std::stoul(std::string{rq.param("n")}), 't'));
    });
  });
  http_test_client client{server_->port()};
  for (const int n : {0, 1, 383, 384, 385, 511, 512, 513, 2047, 2048, 2049, 5000, 100'000, 3'000'000}) {
    client.send(get("/chain/" + std::to_string(n)) + get("/text/" + std::to_string(n)));
    EXPECT_EQ(client.read().body, std::string(static_cast<std::size_t>(n), 'x')) << n;
    EXPECT_EQ(client.read().body, std::string(static_cast<std::size_t>(n), 't')) << n;
  }
  client.send(get("/constant"));
  EXPECT_EQ(client.read().body, constant);
}

// ---- requests

TEST_F(http_server, views_of_the_head_stay_valid_while_a_handler_waits) {
  start([](http::server& web) {
    web.get("/{a}", [](request& rq, response& rs) -> task<> {
      const std::string_view value = *rq.header("X-Value");
      co_await catenet::sleep(5);
      rs.text(rq.param("a"), "|", value, "|", rq.authority(), "|", rq.query());
    });
  });
  http_test_client client{server_->port()};
  std::string all;
  for (int i = 0; i != 20; ++i)
    all += get("/n" + std::to_string(i) + "%21?q", "X-Value: v" + std::to_string(i) + "\r\n");
  client.send(all);
  for (int i = 0; i != 20; ++i) {
    const std::string n = std::to_string(i);
    EXPECT_EQ(client.read().body, "n" + n + "!|v" + n + "|a|q");
  }
}

TEST_F(http_server, row_54_ten_thousand_pipelined_requests_are_answered_in_order) {
  start([](http::server& web) {
    web.get("/{n}", [](request& rq, response& rs) { rs.text(rq.param("n")); });
    web.get("/slow/{n}", [](request& rq, response& rs) -> task<> {
      co_await catenet::sleep(1);
      rs.text(rq.param("n"));
    });
  });
  http_test_client client{server_->port()};
  std::thread writer{[&] {
    std::string all;
    for (int i = 0; i != 10'000; ++i) all += get((i % 1000 == 0 ? "/slow/" : "/") + std::to_string(i));
    client.send(all);
  }};
  for (int i = 0; i != 10'000; ++i) ASSERT_EQ(client.read().body, std::to_string(i));
  writer.join();
}

TEST_F(http_server, a_reader_that_does_not_read_pauses_its_own_pipeline_only) {
  std::atomic<int> asked{0};
  start([&](http::server& web) {
    web.get("/big", [&](request&, response& rs) {
      ++asked;
      rs.body(chain::of_size(100'000));
    });
    web.get("/ok", [](request&, response& rs) { rs.text("ok"); });
  });
  http_test_client client{server_->port(), 4096};
  std::string all;
  for (int i = 0; i != 500; ++i) all += get("/big");
  client.send(all);
  std::this_thread::sleep_for(100ms);
  EXPECT_LT(asked, 200) << "answers that nobody reads are not made";
  EXPECT_EQ(ask(get("/ok")).body, "ok");
  for (int i = 0; i != 500; ++i) ASSERT_EQ(client.read().body.size(), 100'000u);
  EXPECT_EQ(asked, 500);
}

TEST_F(http_server, row_55_nothing_behind_connection_close_is_answered) {
  start(add_table_routes);
  http_test_client client{server_->port()};
  client.send(get("/", "Connection: close\r\n") + get("/hello/x"));
  const http_answer a = client.read();
  EXPECT_EQ(a.field("Connection"), "close");
  EXPECT_TRUE(client.at_end());
}

TEST_F(http_server, a_request_may_be_followed_by_fin) {
  start(add_table_routes);
  http_test_client client{server_->port()};
  client.send(get("/") + get("/hello/x"));
  client.finish_sending();
  EXPECT_EQ(client.read().body, "Hello, World!");
  EXPECT_EQ(client.read().body, "hello x");
  EXPECT_TRUE(client.at_end());
}

// ---- the end

TEST_F(http_server, row_70_a_peer_may_reset_at_any_time) {
  start([](http::server& web) {
    body_routes(web);
    web.get("/slow", [](request& rq, response& rs) -> task<> {
      co_await catenet::sleep(30);
      rs.text(rq.target(), rq.aborted() ? " aborted" : " here");
    });
    web.get("/pieces", [](request&, response& rs) -> task<> {
      for (int i = 0; i != 1000; ++i)
        if (!co_await rs.write(std::string(10'000, 'x'))) co_return;
    });
    web.get("/big", [](request&, response& rs) { rs.body(chain::of_size(5'000'000)); });
  });
  for (int round = 0; round != 20; ++round)
    for (const std::string& bytes :
         {get("/slow"), get("/pieces"), get("/big"), get("/slow") + get("/slow"), std::string{"GET /sl"},
          post("/echo", "Content-Length: 100000\r\n", std::string(50'000, 'x')),
          with_length("/ignore", "x")}) {
      http_test_client client{server_->port(), 4096};
      client.send(bytes);
      std::this_thread::sleep_for(std::chrono::milliseconds(round % 4));
      client.reset();
    }
}

TEST_F(http_server, stopping_finishes_what_is_under_way) {
  start([](http::server& web) {
    web.get("/slow", [](request&, response& rs) -> task<> {
      co_await catenet::sleep(100);
      rs.text("done");
    });
  });
  http_test_client busy{server_->port()};
  http_test_client idle{server_->port()};
  http_test_client partial{server_->port()};
  busy.send(get("/slow"));
  partial.send("GET /sl");
  ASSERT_TRUE(eventually([&] { return server_->web().statistics().requests == 1; }));
  std::thread stopper{[&] { server_->stop(); }};
  const http_answer a = busy.read();
  EXPECT_EQ(a.body, "done");
  EXPECT_EQ(a.field("Connection"), "close");
  EXPECT_TRUE(busy.at_end());
  EXPECT_TRUE(idle.at_end());
  EXPECT_TRUE(partial.at_end());
  stopper.join();
}

TEST_F(http_server, handlers_that_still_wait_at_the_end_are_ended) {
  std::atomic<int> destroyed{0};
  struct counted {
    std::atomic<int>& count;
    ~counted() { ++count; }
  };
  http_test_server::settings of;
  of.engine.drain_ms = 50;
  start(
      [&](http::server& web) {
        web.get("/", [&](request&, response& rs) -> task<> {
          const counted here{destroyed};
          co_await catenet::sleep(1'000'000);
          rs.text("never");
        });
      },
      of);
  http_test_client client{server_->port()};
  client.send(get("/"));
  ASSERT_TRUE(eventually([&] { return server_->web().statistics().requests == 1; }));
  server_->stop();
  EXPECT_EQ(destroyed, 1);
}

TEST_F(http_server, redirects_name_any_address_in_ascii) {
  start([](http::server& web) {
    web.get("/", [](request&, response& rs) { rs.redirect("/caf\xc3\xa9?q=%c3\xff"); });
    web.get("/field",
            [](request&, response& rs) { rs.status(201).header("location", "/\xe4").text("made"); });
  });
  EXPECT_EQ(ask(get("/")).field("Location"), "/caf%C3%A9?q=%c3%FF");
  EXPECT_EQ(ask(get("/field")).field("Location"), "/%E4");
}

TEST_F(http_server, serves_on_several_cores) {
  http_test_server::settings of;
  of.cores = 2;
  start(add_table_routes, of);
  std::vector<std::thread> clients;
  for (int i = 0; i != 8; ++i)
    clients.emplace_back([&] {
      http_test_client client{server_->port()};
      for (int n = 0; n != 100; ++n) {
        client.send(get("/hello/" + std::to_string(n)) + with_length("/echo", "body"));
        EXPECT_EQ(client.read().body, "hello " + std::to_string(n));
        EXPECT_EQ(client.read().body, "body");
      }
    });
  for (std::thread& t : clients) t.join();
  EXPECT_EQ(server_->web().statistics().requests, 1600u);
}

TEST_F(http_server, informational_answers_go_ahead_of_the_answer) {
  start([](http::server& web) {
    web.get("/", [](request&, response& rs) -> task<> {
      const http::field link[] = {{"Link", "</a.css>"}};
      const http::field bad[] = {{"A", "b\r\nC: d"}};
      rs.header("X-Answer", "1");
      const bool first = rs.inform(103, link);
      const bool refused = rs.inform(103, bad) || rs.inform(101, {}) || rs.inform(200, {});
      co_await catenet::sleep(1);
      const bool second = rs.inform(199, {});
      co_await rs.write(first && second && !refused ? "sent" : "not sent");
      if (rs.inform(103, link)) co_await rs.write(" inside");
    });
  });
  http_test_client client{server_->port()};
  for (int i = 0; i != 2; ++i) {
    client.send(get("/"));
    EXPECT_EQ(client.read().head, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    EXPECT_EQ(client.read().head, "HTTP/1.1 199 Informational\r\n\r\n");
    const http_answer a = client.read();
    EXPECT_EQ(a.field("X-Answer"), "1");
    EXPECT_EQ(a.field("Link"), std::nullopt);
    EXPECT_EQ(a.body, "sent");
  }
  EXPECT_EQ(ask("GET / HTTP/1.0\r\n\r\n").body, "not sent");
}

}  // namespace
}  // namespace catenet::test
