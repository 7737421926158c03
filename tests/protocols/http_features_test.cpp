// What makes the HTTP server pleasant: filters and groups, logs, cookies, proxies, compression, events,
// deadlines that change.
#include <catenet/engine/endpoint.hpp>
#include <catenet/http/access.hpp>
#include <catenet/http/event_stream.hpp>

#include "support/chosen_io.hpp"
#include "support/gzip.hpp"
#include "support/http_server_fixture.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>

namespace catenet::test {
namespace {

using http::request;
using http::response;
using namespace std::chrono_literals;

using http_feature_server = http_server;

TEST_F(http_feature_server, filters_run_in_order_and_may_answer) {
  server_.emplace([](http::server& web) {
    const auto mark = [](const char* what) {
      return [what](request&, response& rs) { rs.header("X-Seen", what); };
    };
    const auto ok = [](request&, response& rs) { rs.text("ok"); };
    web.get("/before", ok);
    web.use(mark("one"));
    auto api = web.group("/api");
    api.use(mark("two")).use([](request& rq, response& rs) {
      if (!rq.header("Authorization")) rs.status(401).text("who are you?");
    });
    api.get("/x/{id}", [](request& rq, response& rs) { rs.text("x ", rq.param("id")); });
    auto inner = api.sub("/inner");
    inner.use(mark("three")).post("/y", ok, {.max_body = 10});
    api.get("/z", [](request&, response& rs) -> task<> {
      co_await catenet::sleep(1);
      rs.text("z");
    });
    web.get("/after", ok);
  });
  const auto seen = [](const http_answer& a) {
    std::string all;
    for (std::size_t at = a.head.find("X-Seen: "); at != std::string::npos;
         at = a.head.find("X-Seen: ", at + 1))
      all += a.head.substr(at + 8, a.head.find("\r\n", at) - at - 8) + " ";
    return all;
  };
  EXPECT_EQ(seen(ask(get("/before"))), "");
  EXPECT_EQ(seen(ask(get("/after"))), "one ");
  EXPECT_EQ(ask(get("/api/x/7")).status, 401);
  const http_answer a = ask(get("/api/x/7", "Authorization: me\r\n"));
  EXPECT_EQ(a.body, "x 7");
  EXPECT_EQ(seen(a), "one two ");
  EXPECT_EQ(ask(get("/api/z", "Authorization: me\r\n")).body, "z");
  const std::string post = "POST /api/inner/y HTTP/1.1\r\nHost: a\r\nAuthorization: me\r\nContent-Length: ";
  EXPECT_EQ(seen(ask(post + "2\r\n\r\nab")), "one two three ");
  EXPECT_EQ(ask(post + "11\r\n\r\n").status, 413);
}

TEST_F(http_feature_server, query_cookies_and_ids) {
  server_.emplace([](http::server& web) {
    web.get("/", [](request& rq, response& rs) {
      rs.cookie("session", "abc", {.max_age_s = 60});
      rs.text(rq.query_value("a b").value_or("-"), "|", rq.cookie("x").value_or("-"), "|", rq.id() & 0xffff);
    });
    web.get("/bad", [](request&, response& rs) { rs.cookie("session", "a;b").text("x"); });
  });
  const http_answer a = ask(get("/?x=1&a+b=c%20d", "Cookie: y=1; x=2\r\n"));
  EXPECT_EQ(a.body, "c d|2|1");
  EXPECT_EQ(a.field("Set-Cookie"), "session=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
  EXPECT_EQ(ask(get("/")).body, "-|-|2");
  EXPECT_EQ(ask(get("/bad")).status, 500);
}

TEST_F(http_feature_server, row_66_the_access_log_is_told_of_every_answer_and_escapes_what_came) {
  std::mutex guard;
  std::vector<std::string> lines;
  server_.emplace([&](http::server& web) {
    web.get("/", [](request&, response& rs) { rs.text("12345"); });
    web.get("/pieces", [](request&, response& rs) -> task<> {
      co_await catenet::sleep(20);
      co_await rs.write("123");
      co_await rs.write("4567");
    });
    web.on_access([&](const http::access& a) {
      const std::lock_guard hold{guard};
      lines.push_back(http::combined_log_line(a));
    });
  });
  ask(get("/?q=\"x\\", "User-Agent: evil\xff\"\t\r\nReferer: r\r\n"));
  ask(get("/pieces"));
  ask(get("/none"));
  ask("GET /x\x01 HTTP/1.1\r\n\r\n");
  ask("GET /no-host HTTP/1.1\r\n\r\n");
  ask("PUT /folded HTTP/1.0\r\nHost: a\r\n b\r\n\r\n");
  const std::lock_guard hold{guard};
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_NE(lines[4].find("\"GET /no-host HTTP/1.1\" 400 "), std::string::npos) << lines[4];
  EXPECT_NE(lines[5].find("\"PUT /folded HTTP/1.0\" 400 "), std::string::npos) << lines[5];
  EXPECT_TRUE(lines[0].starts_with("127.0.0.1 - - [")) << lines[0];
  EXPECT_NE(lines[0].find("] \"GET /?q=\\x22x\\x5c HTTP/1.1\" 200 5 \"r\" \"evil\\xff\\x22\" "),
            std::string::npos)
      << lines[0];
  EXPECT_NE(lines[1].find("\"GET /pieces HTTP/1.1\" 200 7 \"-\" \"-\" "), std::string::npos) << lines[1];
  EXPECT_GE(std::stoi(lines[1].substr(lines[1].rfind(' '))), 15);
  EXPECT_NE(lines[2].find("\"GET /none HTTP/1.1\" 404 "), std::string::npos) << lines[2];
  EXPECT_NE(lines[3].find("\"  HTTP/1.1\" 400 "), std::string::npos)
      << "nothing of what was no request: " << lines[3];
}

TEST_F(http_feature_server, forwarded_addresses_are_believed_of_trusted_proxies_only) {
  const auto client = [&](std::vector<std::string> trusted, const std::string& lines) {
    http_test_server::settings of;
    of.http.trusted_proxies = std::move(trusted);
    server_.emplace(
        [](http::server& web) {
          web.get("/", [](request& rq, response& rs) { rs.text(rq.client_address()); });
        },
        of);
    return ask(get("/", lines)).body;
  };
  EXPECT_EQ(client({}, "X-Forwarded-For: 1.2.3.4\r\n"), "127.0.0.1");
  EXPECT_EQ(client({"10.0.0.0/8"}, "X-Forwarded-For: 1.2.3.4\r\n"), "127.0.0.1");
  EXPECT_EQ(client({"127.0.0.0/8"}, "X-Forwarded-For: 1.2.3.4\r\n"), "1.2.3.4");
  EXPECT_EQ(client({"127.0.0.0/8"}, "X-Forwarded-For: 9.9.9.9, 1.2.3.4\r\n"), "1.2.3.4")
      << "the rest is hearsay";
  EXPECT_EQ(client({"127.0.0.0/8", "10.0.0.0/8"}, "X-Forwarded-For: 9.9.9.9, 1.2.3.4,10.1.1.1\r\n"),
            "1.2.3.4");
  EXPECT_EQ(client({"127.0.0.0/8", "10.0.0.0/8"},
                   "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: [2001:db8::1]:80, 10.1.1.1\r\n"),
            "2001:db8::1");
  EXPECT_EQ(client({"127.0.0.0/8"}, "X-Forwarded-For: unknown\r\n"), "127.0.0.1");
  EXPECT_EQ(client({"127.0.0.0/8"}, ""), "127.0.0.1");
  engine net{};
  EXPECT_THROW((http::server{net, {.trusted_proxies = {"10.0.0.0/99"}}}), std::invalid_argument);
}

TEST_F(http_feature_server, proxy_protocol_names_the_client) {
  engine_options options;
  options.handle_signals = false;
  engine net{options};
  http::server web{net, {.deadlines = {.head_ms = 300}}};
  web.get("/", [](request& rq, response& rs) { rs.text(rq.remote().text()); });
  endpoint bound;
  ASSERT_FALSE(web.listen("127.0.0.1:0", &bound, {.proxy_protocol = true}));
  std::thread server{[&] { EXPECT_FALSE(net.run()); }};
  {
    http_test_client client{bound.port()};
    client.send("PROXY TCP4 1.2.3.4 5.6.7.8 4660 80\r\n" + get("/") + get("/"));
    EXPECT_EQ(client.read().body, "1.2.3.4:4660");
    EXPECT_EQ(client.read().body, "1.2.3.4:4660");
    std::this_thread::sleep_for(20ms);
    client.send(get("/"));
    EXPECT_EQ(client.read().body, "1.2.3.4:4660") << "also after a pause";
    http_test_client bytewise{bound.port()};
    for (const char c : "PROXY TCP6 ::1 ::2 4660 80\r\n" + get("/")) bytewise.send({&c, 1});
    EXPECT_EQ(bytewise.read().body, "[::1]:4660");
    http_test_client without{bound.port()};
    without.send(get("/"));
    EXPECT_EQ(without.read().status, 0) << "reset: nobody may pose as the proxy's client";
    http_test_client slow{bound.port()};
    slow.send("PROXY ");
    EXPECT_TRUE(slow.at_end());
  }
  net.stop();
  server.join();
}

TEST_F(http_feature_server, row_60_connections_of_one_address_are_limited) {
  http_test_server::settings of;
  of.http.connections_per_address_max = 5;
  server_.emplace(add_table_routes, of);
  std::vector<std::unique_ptr<http_test_client>> clients;
  const auto answers = [&] {
    int count = 0;
    for (const auto& c : clients) count += c->send(get("/")) && c->read().status == 200 ? 1 : 0;
    return count;
  };
  for (int i = 0; i != 8; ++i) clients.push_back(std::make_unique<http_test_client>(server_->port()));
  EXPECT_EQ(answers(), 5);
  clients.clear();
  EXPECT_EQ(server_->wait_until_idle(), "");
  for (int i = 0; i != 5; ++i) clients.push_back(std::make_unique<http_test_client>(server_->port()));
  EXPECT_EQ(answers(), 5) << "those that ended are not counted any more";
  clients.clear();
}

TEST_F(http_feature_server, row_60_connections_that_were_upgraded_count_until_they_end) {
  class until_end final : public protocol {
   public:
    void received(stream&, chain&&) override {}
  };
  until_end other;
  http_test_server::settings of;
  of.http.connections_per_address_max = 5;
  server_.emplace(
      [&](http::server& web) {
        web.get("/", [](request&, response& rs) { rs.text("ok"); });
        web.get("/up", [&](request&, response& rs) {
          rs.upgrade("other", [&](stream& s, chain&&) { s.hand_to(other, nullptr); });
        });
      },
      of);
  std::vector<std::unique_ptr<http_test_client>> clients;
  const auto comes_in = [&](const std::string& request) {
    clients.push_back(std::make_unique<http_test_client>(server_->port()));
    return clients.back()->send(request) && clients.back()->read().status != 0;
  };
  const std::string upgrade = get("/up", "Connection: Upgrade\r\nUpgrade: other\r\n");
  for (int i = 0; i != 5; ++i) EXPECT_TRUE(comes_in(upgrade)) << i;
  EXPECT_FALSE(comes_in(upgrade));
  EXPECT_FALSE(comes_in(get("/")));
  clients.clear();
  EXPECT_EQ(server_->wait_until_idle(), "");
  for (int i = 0; i != 5; ++i) EXPECT_TRUE(comes_in(get("/"))) << i << ": those that ended are not counted";
  EXPECT_FALSE(comes_in(get("/")));
  clients.clear();
  EXPECT_EQ(server_->wait_until_idle(), "");
  server_.reset();
}

// The balancer is one address for all; whose connection it is says the header.
TEST_F(http_feature_server, row_60_behind_a_balancer_its_clients_are_counted) {
  engine_options options;
  options.handle_signals = false;
  choose_io(options);
  engine net{options};
  http::server web{net, {.connections_per_address_max = 2}};
  web.get("/", [](request&, response& rs) { rs.text("ok"); });
  endpoint bound;
  ASSERT_FALSE(web.listen("127.0.0.1:0", &bound, {.proxy_protocol = true}));
  std::thread server{[&] { EXPECT_FALSE(net.run()); }};
  {
    std::vector<std::unique_ptr<http_test_client>> clients;
    const auto comes_in = [&](const std::string& header) {
      clients.push_back(std::make_unique<http_test_client>(bound.port()));
      return clients.back()->send(header + get("/")) && clients.back()->read().status == 200;
    };
    for (int i = 0; i != 6; ++i)
      EXPECT_TRUE(comes_in("PROXY TCP4 203.0.113." + std::to_string(i) + " 5.6.7.8 1 2\r\n")) << i;
    EXPECT_TRUE(comes_in("PROXY TCP4 203.0.113.0 5.6.7.8 7 2\r\n"));
    EXPECT_FALSE(comes_in("PROXY TCP4 203.0.113.0 5.6.7.8 8 2\r\n")) << "its third";
    for (int i = 0; i != 4; ++i) EXPECT_TRUE(comes_in("PROXY UNKNOWN\r\n")) << "of no address";
    clients.clear();
    EXPECT_TRUE(eventually([&] { return net.statistics().connections == 0; }));
    EXPECT_TRUE(comes_in("PROXY TCP4 203.0.113.0 5.6.7.8 9 2\r\n"));
  }
  net.stop();
  server.join();
}

TEST_F(http_feature_server, answers_are_compressed_where_it_is_asked_for_and_worth_while) {
  static const std::string text = [] {
    std::string all;
    for (int i = 0; i != 5000; ++i) all += "line " + std::to_string(i) + "\n";
    return all;
  }();
  http_test_server::settings of;
  of.http.compression.on = true;
  server_.emplace(
      [](http::server& web) {
        web.get("/text", [](request&, response& rs) { rs.text(text); });
        web.get("/chain",
                [](request&, response& rs) { rs.type("application/json").body(chain::copy_of(text)); });
        web.get("/small", [](request&, response& rs) { rs.text("small"); });
        web.get("/image", [](request&, response& rs) { rs.type("image/png").text(text); });
        web.get("/tagged", [](request&, response& rs) { rs.header("ETag", "\"x\"").text(text); });
        web.get("/coded", [](request&, response& rs) { rs.header("Content-Encoding", "zstd").text(text); });
        web.get("/pieces", [](request&, response& rs) -> task<> {
          rs.type("text/plain");
          for (std::size_t at = 0; at < text.size(); at += 10'000) {
            co_await rs.write(text.substr(at, 10'000));
            co_await catenet::sleep(1);
          }
        });
      },
      of);
  const std::string gzip_please = "Accept-Encoding: gzip\r\n";
  for (const char* target : {"/text", "/chain", "/pieces"}) {
    const http_answer a = ask(get(target, gzip_please));
    EXPECT_EQ(a.field("Content-Encoding"), "gzip") << target;
    EXPECT_EQ(a.field("Vary"), "Accept-Encoding") << target;
    EXPECT_LT(a.body.size(), text.size() / 2) << target;
    EXPECT_EQ(gunzip(a.body), text) << target;
    const http_answer plain = ask(get(target));
    EXPECT_EQ(plain.body, text) << target;
    EXPECT_EQ(plain.field("Vary"), "Accept-Encoding") << target << ": another client gets another answer";
  }
  EXPECT_EQ(ask(get("/text", "Accept-Encoding: gzip, br\r\n")).field("Content-Encoding"), "br");
  const auto coding_for = [&](const std::string& accept) {
    return ask(get("/text", "Accept-Encoding: " + accept + "\r\n"))
        .field("Content-Encoding")
        .value_or("identity");
  };
  EXPECT_EQ(coding_for("identity, gzip;q=0.5"), "identity");
  EXPECT_EQ(coding_for("gzip;q=0.5, identity;q=0.6, br;q=0.1"), "identity");
  EXPECT_EQ(coding_for("gzip;q=0.5, identity;q=0.4, br;q=0.1"), "gzip");
  EXPECT_EQ(coding_for("gzip, identity"), "gzip") << "of equals the smaller";
  EXPECT_EQ(coding_for("gzip;q=0.2, *;q=0.5"), "br") << "identity is not named: * is of the others";
  EXPECT_EQ(coding_for("gzip;q=0.2, identity;q=0"), "gzip");
  EXPECT_EQ(ask(get("/small", gzip_please)).body, "small");
  for (const char* target : {"/image", "/tagged", "/coded"}) {
    const http_answer a = ask(get(target, gzip_please));
    EXPECT_EQ(a.body, text) << target;
    EXPECT_EQ(a.field("Vary"), std::nullopt) << target;
  }
}

TEST_F(http_feature_server, row_67_compressed_requests_are_expanded_up_to_a_limit) {
  server_.emplace([](http::server& web) {
    web.post("/", [](request& rq, response& rs) -> task<> { rs.text(co_await rq.body().text(1 << 20)); },
             {.expand_max = 100'000});
    web.post("/raw",
             [](request& rq, response& rs) -> task<> { rs.text((co_await rq.body().text(1 << 20)).size()); });
  });
  const auto post = [&](const std::string& body, const std::string& coding, const char* target = "/") {
    return ask(std::string{"POST "} + target + " HTTP/1.1\r\nHost: a\r\nContent-Encoding: " + coding +
               "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  };
  const std::string text(100'000, 'x');
  EXPECT_EQ(post(gzip(text), "gzip").body, text);
  EXPECT_EQ(post("plain", "identity").body, "plain");
  EXPECT_EQ(post(gzip(text + "x"), "gzip").status, 413);
  EXPECT_EQ(post(gzip(std::string(50'000'000, 'x')), "gzip").status, 413) << "a bomb";
  EXPECT_EQ(post(gzip(text).substr(0, 50), "gzip").status, 400) << "cut short";
  EXPECT_EQ(post("nonsense", "gzip").status, 400);
  EXPECT_EQ(post(gzip("a") + "b", "gzip").status, 400) << "more behind it";
  EXPECT_EQ(post("x", "br").status, 415);
  EXPECT_EQ(post(gzip(text), "gzip", "/raw").body, std::to_string(gzip(text).size()));
}

TEST_F(http_feature_server, events_are_streamed) {
  std::atomic<int> ended{0};
  server_.emplace([&](http::server& web) {
    web.get("/events", [&](request& rq, response& rs) -> task<> {
      http::event_stream events{rs};
      if (!co_await events.retry_after(10)) co_return;
      for (int i = std::stoi(std::string{rq.header("Last-Event-ID").value_or("0")}) + 1;; ++i) {
        if (!co_await events.send("tick\ntock", "clock", std::to_string(i))) break;
        co_await catenet::sleep(5);
      }
      ++ended;
    });
  });
  http_test_client client{server_->port()};
  client.send(get("/events", "Last-Event-ID: 6\r\n"));
  const std::string got = client.read_some(500);
  EXPECT_NE(got.find("Content-Type: text/event-stream\r\n"), std::string::npos);
  EXPECT_NE(got.find("retry: 10\n\n"), std::string::npos);
  EXPECT_NE(got.find("event: clock\nid: 7\ndata: tick\ndata: tock\n\n"), std::string::npos);
  client.reset();
  EXPECT_TRUE(eventually([&] { return ended == 1; })) << "the handler learns that nobody is there any more";
}

TEST_F(http_feature_server, deadlines_change_while_the_server_runs) {
  server_.emplace(add_table_routes);
  http::deadlines quick;
  quick.idle_ms = 100;
  server_->web().change(quick);
  http_test_client client{server_->port()};
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(client.at_end());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 8s) << "the default is more than a minute";
}

}  // namespace
}  // namespace catenet::test
