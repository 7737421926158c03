// The client against servers played by hand: connections kept, shared and lost, retries, deadlines, limits,
// ends.
#include "support/http_client_host.hpp"
#include "support/raw_listener.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

namespace catenet::test {
namespace {

using http::client_failure;
using http::client_request;

const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

client_request get() { return {"GET", "/"}; }
client_request post() { return std::move(client_request{"POST", "/"}.body(chain::copy_of("data"))); }
client_request put() { return std::move(client_request{"PUT", "/"}.body(chain::copy_of("data"))); }

std::future<http_result> begin(http_client_host& h, const raw_listener& to, client_request (*make)() = get) {
  return h.begin(to.at(), make);
}

bool all_gone(http_client_host& h) {
  return eventually([&] { return h.statistics().connections == 0; });
}

// One answered request, after which the connection is kept; returns the server's end of it.
client kept_connection(http_client_host& h, raw_listener& server) {
  auto first = begin(h, server);
  client peer = server.accept();
  read_head(peer);
  peer.send(ok);
  EXPECT_EQ(http_client_host::wait(std::move(first)).body, "ok");
  EXPECT_TRUE(eventually([&] { return h.statistics().idle == 1; }));
  return peer;
}

TEST(http_client_session, requests_look_as_they_should) {
  raw_listener server;
  http_client_host h;
  auto told = h.begin(server.at(), [] {
    client_request rq{http::method::post, "/a?b=c"};
    rq.header("Accept", "*/*").host("example.org:81").close();
    return std::move(rq.body(chain::copy_of("data")));
  });
  client peer = server.accept();
  EXPECT_EQ(read_head(peer),
            "POST /a?b=c HTTP/1.1\r\nHost: example.org:81\r\nAccept: */*\r\nContent-Length: 4\r\nConnection: "
            "close\r\n\r\n");
  EXPECT_EQ(peer.receive(4), "data");
  peer.send(ok);
  EXPECT_EQ(http_client_host::wait(std::move(told)).body, "ok");
  EXPECT_EQ(peer.receive_some(), "");  // we asked to close
  auto empty = h.begin(server.at(), [] { return client_request{http::method::post, "/"}; });
  client other = server.accept();
  EXPECT_NE(read_head(other).find("Content-Length: 0\r\n"), std::string::npos);
  other.send(ok);
  http_client_host::wait(std::move(empty));
}

TEST(http_client_session, what_may_not_be_sent_is_not) {
  raw_listener server;
  http_client_host h;
  const std::vector<std::function<client_request()>> unfit = {
      [] {
        return client_request{"GE T", "/"};
      },
      [] {
        return client_request{"", "/"};
      },
      [] {
        return client_request{"CONNECT", "a:80"};
      },
      [] {
        return client_request{"GET", ""};
      },
      [] {
        return client_request{"GET", "no-slash"};
      },
      [] {
        return client_request{"GET", "/a b"};
      },
      [] {
        return client_request{"GET", "/a\r\nX: y"};
      },
      [] {
        return client_request{"GET", "*"};
      },
      [] {
        return std::move(client_request{"GET", "/"}.header("X", "a\r\nY: b"));
      },
      [] {
        return std::move(client_request{"GET", "/"}.header("X Y", "a"));
      },
      [] {
        return std::move(client_request{"GET", "/"}.header("Content-Length", "5"));
      },
      [] {
        return std::move(client_request{"GET", "/"}.header("transfer-encoding", "chunked"));
      },
      [] {
        return std::move(client_request{"GET", "/"}.header("Host", "a"));
      },
      [] {
        return std::move(client_request{"GET", "/"}.host("a b"));
      },
  };
  for (std::size_t i = 0; i != unfit.size(); ++i)
    EXPECT_EQ(h.ask(server.at(), unfit[i]).why.what, client_failure::bad_request) << "request " << i;
  EXPECT_FALSE(server.asked(50));
}

TEST(http_client_session, keeps_connections_and_uses_the_latest) {
  raw_listener server;
  http_client_host h;
  client peer = kept_connection(h, server);
  for (int i = 0; i != 5; ++i) {
    auto told = begin(h, server);
    read_head(peer);
    peer.send(ok);
    EXPECT_TRUE(http_client_host::wait(std::move(told)).kept);
  }
  EXPECT_EQ(h.statistics().opened, 1u);
  EXPECT_EQ(h.statistics().reused, 5u);
}

TEST(http_client_session, ends_idle_connections_after_a_while) {
  raw_listener server;
  http_client_host h{{.idle_ms = 100}};
  client peer = kept_connection(h, server);
  EXPECT_EQ(peer.receive_some(), "");
  EXPECT_TRUE(all_gone(h));
}

TEST(http_client_session, keeps_none_where_none_may_be_kept) {
  raw_listener server;
  http_client_host h{{.idle_max = 0}};
  auto told = begin(h, server);
  client peer = server.accept();
  EXPECT_NE(read_head(peer).find("Connection: close\r\n"), std::string::npos);
  peer.send(ok);
  EXPECT_TRUE(http_client_host::wait(std::move(told)).complete);
  EXPECT_EQ(peer.receive_some(), "");
}

TEST(http_client_session, what_nobody_asked_for_ends_a_kept_connection) {
  raw_listener server;
  http_client_host h;
  client peer = kept_connection(h, server);
  peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
  EXPECT_TRUE(all_gone(h));
  EXPECT_EQ(h.statistics().unasked, 1u);
  auto told = begin(h, server);
  client fresh = server.accept();
  read_head(fresh);
  fresh.send(ok);
  EXPECT_EQ(http_client_host::wait(std::move(told)).body, "ok");
}

TEST(http_client_session, a_lost_kept_connection_is_made_good_where_that_is_safe) {
  for (const bool reset : {false, true}) {
    for (auto make : {get, put}) {
      raw_listener server;
      http_client_host h;
      client peer = kept_connection(h, server);
      auto told = begin(h, server, make);
      const std::string first = read_head(peer);
      if (reset)
        peer.reset();
      else
        peer.close();
      client fresh = server.accept();
      ASSERT_TRUE(fresh);
      EXPECT_EQ(read_head(fresh), first);
      if (make == put) {
        EXPECT_EQ(fresh.receive(4), "data");
      }
      fresh.send(ok);
      EXPECT_EQ(http_client_host::wait(std::move(told)).body, "ok");
      EXPECT_EQ(h.statistics().retries, 1u);
    }
  }
}

TEST(http_client_session, only_once) {
  raw_listener server;
  http_client_host h;
  client peer = kept_connection(h, server);
  auto told = begin(h, server);
  read_head(peer);
  peer.close();
  client fresh = server.accept();
  read_head(fresh);
  fresh.close();
  EXPECT_EQ(http_client_host::wait(std::move(told)).why.what, client_failure::ended_early);
  EXPECT_FALSE(server.asked(50));
}

TEST(http_client_session, is_not_sent_again_where_that_is_not_safe) {
  {  // what is not idempotent
    raw_listener server;
    http_client_host h;
    client peer = kept_connection(h, server);
    auto told = begin(h, server, post);
    read_head(peer);
    peer.close();
    EXPECT_EQ(http_client_host::wait(std::move(told)).why.what, client_failure::ended_early);
    EXPECT_FALSE(server.asked(50));
  }
  {  // a fresh connection
    raw_listener server;
    http_client_host h;
    auto told = begin(h, server);
    client peer = server.accept();
    read_head(peer);
    peer.close();
    EXPECT_EQ(http_client_host::wait(std::move(told)).why.what, client_failure::ended_early);
    EXPECT_FALSE(server.asked(50));
  }
  {  // an answer had begun
    raw_listener server;
    http_client_host h;
    client peer = kept_connection(h, server);
    auto told = begin(h, server);
    read_head(peer);
    peer.send("HTTP/1.1 20");
    sleep_ms(30);
    peer.close();
    EXPECT_EQ(http_client_host::wait(std::move(told)).why.what, client_failure::ended_early);
    EXPECT_FALSE(server.asked(50));
  }
  {  // it was not wanted
    raw_listener server;
    http_client_host h{{.retry = false}};
    client peer = kept_connection(h, server);
    auto told = begin(h, server);
    read_head(peer);
    peer.close();
    EXPECT_EQ(http_client_host::wait(std::move(told)).why.what, client_failure::ended_early);
  }
}

TEST(http_client_session, refused_connections_are_told) {
  endpoint nobody;
  { nobody = raw_listener{}.at(); }
  http_client_host h;
  const http_result r = h.get(nobody);
  EXPECT_EQ(r.why.what, client_failure::connect);
  EXPECT_EQ(r.why.code, ECONNREFUSED);
  EXPECT_FALSE(r.why.timeout());
}

TEST(http_client_session, deadlines) {
  raw_listener server;
  {
    http_client_host h{{.head_ms = 100}};
    auto told = begin(h, server);
    client peer = server.accept();
    peer.send("HTTP/1.1 200 OK\r\nSlow: ");
    const http_result r = http_client_host::wait(std::move(told));
    EXPECT_EQ(r.why.what, client_failure::head_timeout);
    EXPECT_TRUE(r.why.timeout());
  }
  {
    http_client_host h{{.body_ms = 100}};
    auto told = begin(h, server);
    client peer = server.accept();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    for (int i = 0; i != 4; ++i) {  // each piece has its own time
      sleep_ms(60);
      peer.send("x");
    }
    const http_result r = http_client_host::wait(std::move(told));
    EXPECT_EQ(r.why.what, client_failure::body_timeout);
    EXPECT_EQ(r.body, "xxxx");
    EXPECT_EQ(r.status, 200);
  }
  {
    http_client_host h{{.total_ms = 150}};
    auto told = begin(h, server);
    client peer = server.accept();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    std::atomic<bool> over{false};
    std::thread drip([&] {
      while (!over && peer.send("x")) sleep_ms(20);
    });
    EXPECT_EQ(http_client_host::wait(std::move(told)).why.what, client_failure::total_timeout);
    over = true;
    drip.join();
  }
}

TEST(http_client_session, bodies_have_a_limit) {
  raw_listener server;
  http_client_host h{{.max_body = 10}};
  for (const std::string framing :
       {"Content-Length: 11\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nb\r\n", "\r\n"}) {
    auto told = begin(h, server);
    client peer = server.accept();
    peer.send("HTTP/1.1 200 OK\r\n" + framing + "hello world");
    EXPECT_EQ(http_client_host::wait(std::move(told)).why.what, client_failure::too_long) << framing;
  }
}

TEST(http_client_session, waits_for_a_connection_in_order) {
  raw_listener server;
  http_client_host h{{.connections_max = 1, .waiting_max = 2}};
  std::vector<std::future<http_result>> all;
  for (const char* target : {"/1", "/2", "/3", "/4"})
    all.push_back(h.begin(server.at(), [target] { return client_request{"GET", target}; }));
  EXPECT_EQ(http_client_host::wait(std::move(all[3])).why.what, client_failure::busy);
  client peer = server.accept();
  for (const char* target : {"/1", "/2", "/3"}) {
    EXPECT_EQ(read_head(peer).substr(0, 6), std::string{"GET "} + target);
    peer.send(ok);
  }
  for (int i = 0; i != 3; ++i)
    EXPECT_EQ(http_client_host::wait(std::move(all[static_cast<std::size_t>(i)])).body, "ok");
  EXPECT_EQ(h.statistics().opened, 1u);
}

TEST(http_client_session, waits_not_for_ever_and_goes_on_when_a_connection_is_lost) {
  raw_listener server;
  http_client_host h{{.connections_max = 1, .wait_ms = 100}};
  auto first = begin(h, server);
  client peer = server.accept();
  EXPECT_EQ(http_client_host::wait(begin(h, server)).why.what, client_failure::busy);
  auto third = begin(h, server);
  peer.reset();
  EXPECT_EQ(http_client_host::wait(std::move(first)).why.what, client_failure::ended_early);
  client fresh = server.accept();
  read_head(fresh);
  fresh.send(ok);
  EXPECT_EQ(http_client_host::wait(std::move(third)).body, "ok");
}

TEST(http_client_session, an_answer_may_come_before_the_request_is_complete) {
  raw_listener server;
  http_client_host h;
  std::promise<std::string> told;
  h.run([&]() -> task<> {
    http::call c =
        h.web().start(h.origin_of(server.at()), std::move(client_request{"POST", "/"}.length(1 << 30)));
    EXPECT_TRUE(co_await c.write(chain::copy_of("begin")));
    const http::reply_head* head = co_await c.reply();
    std::string log = std::to_string(head == nullptr ? 0 : head->status);
    while (std::optional<chain> part = co_await c.next()) log += part->to_string();
    log += c.complete() ? " complete" : " not complete";
    log += co_await c.write(chain::copy_of("more")) ? " written" : " not written";
    told.set_value(log);
  });
  client peer = server.accept();
  read_head(peer);
  EXPECT_EQ(peer.receive(5), "begin");
  peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
  EXPECT_EQ(told.get_future().get(), "413big complete not written");
  EXPECT_EQ(peer.receive_some(), "");  // half a request is on it: no use for another
  EXPECT_TRUE(all_gone(h));
}

TEST(http_client_session, a_request_shorter_than_its_length_is_given_up) {
  raw_listener server;
  http_client_host h;
  std::promise<http::client_error> told;
  h.run([&]() -> task<> {
    http::call c = h.web().start(h.origin_of(server.at()), std::move(client_request{"POST", "/"}.length(10)));
    static_cast<void>(co_await c.write(chain::copy_of("short")));
    c.finish();
    static_cast<void>(co_await c.reply());
    told.set_value(c.why());
  });
  EXPECT_EQ(told.get_future().get().what, client_failure::bad_request);
}

TEST(http_client_session, ending_a_call_ends_its_connection_unless_all_has_come) {
  raw_listener server;
  http_client_host h;
  for (const bool whole : {false, true}) {
    std::promise<int> told;
    h.run([&]() -> task<> {
      int status = 0;
      {
        http::call c = h.web().start(h.origin_of(server.at()), get());
        if (const http::reply_head* head = co_await c.reply()) status = head->status;
      }
      told.set_value(status);
    });
    client peer = server.accept();
    read_head(peer);
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + std::string(whole ? 10 : 5, 'x'));
    EXPECT_EQ(told.get_future().get(), 200);
    if (whole) {
      EXPECT_TRUE(eventually([&] { return h.statistics().idle == 1; }));
    } else {
      EXPECT_EQ(peer.receive_some(), "");
    }
  }
}

TEST(http_client_session, abort_wakes_whoever_waits) {
  raw_listener server;
  http_client_host h;
  http::call* running = nullptr;
  auto told = std::make_shared<std::promise<http::client_error>>();
  h.run([&, told]() -> task<> {
    http::call c = h.web().start(h.origin_of(server.at()), get());
    running = &c;
    const http::reply_head* none = co_await c.reply();
    EXPECT_EQ(none, nullptr);
    told->set_value(c.why());
  });
  client peer = server.accept();
  read_head(peer);
  h.host().on_core([&] { running->abort(); });
  EXPECT_EQ(told->get_future().get().what, client_failure::given_up);
  EXPECT_EQ(peer.receive_some(), "");
}

TEST(http_client_session, stopping_ends_what_is_idle_and_waits_for_what_is_not) {
  raw_listener server;
  http_client_host h;
  h.host().check_descriptors = false;  // the server's ends are still ours
  client idle = kept_connection(h, server);
  auto keep = begin(h, server);  // uses the idle one, so that two are open
  auto told = begin(h, server);
  client busy = server.accept();
  read_head(idle);
  idle.send(ok);
  EXPECT_EQ(http_client_host::wait(std::move(keep)).body, "ok");
  read_head(busy);
  h.host().net().stop();
  EXPECT_EQ(idle.receive_some(), "");
  busy.send(ok);
  EXPECT_EQ(http_client_host::wait(std::move(told)).body, "ok");
  EXPECT_EQ(busy.receive_some(), "");
}

}  // namespace
}  // namespace catenet::test
