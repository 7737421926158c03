// Redirects: references resolved, methods and bodies kept or changed, what stays with an origin, limits.
#include "http/redirection.hpp"
#include "support/http_client_host.hpp"
#include "support/raw_listener.hpp"

#include <gtest/gtest.h>

#include <array>
#include <future>
#include <string>
#include <utility>
#include <vector>

namespace catenet::test {
namespace {

using http::client_failure;
using http::client_request;

const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

std::string moved(int status, const std::string& location, const std::string& body = "") {
  return "HTTP/1.1 " + std::to_string(status) + " Moved\r\nLocation: " + location +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// What a request said, as far as redirects change it.
struct asked {
  std::string line;
  std::string head;
};
asked next_request(client& peer) {
  const std::string head = read_head(peer);
  return {head.substr(0, head.find("\r\n")), head};
}

client_request request(std::string_view method, std::string_view target, std::string_view body) {
  client_request rq{method, target};
  rq.header("Authorization", "secret").header("cookie", "a=b").header("Accept", "x/y").redirects(5);
  if (!body.empty()) rq.header("Content-Type", "text/plain").body(chain::copy_of(body));
  return rq;
}

TEST(http_redirect, references_are_resolved) {
  // Base, reference, target; those of RFC 3986 §5.4 that have no scheme of their own among them.
  const std::vector<std::array<const char*, 3>> cases = {
      {"/b/c/d;p?q", "g", "/b/c/g"},
      {"/b/c/d;p?q", "./g", "/b/c/g"},
      {"/b/c/d;p?q", "g/", "/b/c/g/"},
      {"/b/c/d;p?q", "/g", "/g"},
      {"/b/c/d;p?q", "?y", "/b/c/d;p?y"},
      {"/b/c/d;p?q", "g?y", "/b/c/g?y"},
      {"/b/c/d;p?q", ";x", "/b/c/;x"},
      {"/b/c/d;p?q", "", "/b/c/d;p?q"},
      {"/b/c/d;p?q", ".", "/b/c/"},
      {"/b/c/d;p?q", "./", "/b/c/"},
      {"/b/c/d;p?q", "..", "/b/"},
      {"/b/c/d;p?q", "../", "/b/"},
      {"/b/c/d;p?q", "../g", "/b/g"},
      {"/b/c/d;p?q", "../..", "/"},
      {"/b/c/d;p?q", "../../g", "/g"},
      {"/b/c/d;p?q", "../../../g", "/g"},
      {"/b/c/d;p?q", "../../../../g", "/g"},
      {"/b/c/d;p?q", "/./g", "/g"},
      {"/b/c/d;p?q", "/../g", "/g"},
      {"/b/c/d;p?q", "g.", "/b/c/g."},
      {"/b/c/d;p?q", ".g", "/b/c/.g"},
      {"/b/c/d;p?q", "..g", "/b/c/..g"},
      {"/b/c/d;p?q", "./../g", "/b/g"},
      {"/b/c/d;p?q", "./g/.", "/b/c/g/"},
      {"/b/c/d;p?q", "g/./h", "/b/c/g/h"},
      {"/b/c/d;p?q", "g/../h", "/b/c/h"},
      {"/b/c/d;p?q", "g;x=1/../y", "/b/c/y"},
      {"/b/c/d;p?q", "g?y/../x", "/b/c/g?y/../x"},
      {"/", "a", "/a"},
      {"/a?x=/b", "c", "/c"},
      {"*", "/a", "/a"},
      {"*", "a", "/a"},
  };
  for (const auto& [base, reference, target] : cases)
    EXPECT_EQ(http::resolve_target(base, reference), target) << base << " and " << reference;
}

TEST(http_redirect, is_an_answer_like_others_where_it_is_not_asked_for) {
  raw_listener server;
  http_client_host h;
  auto told = h.begin(server.at(), [] { return client_request{"GET", "/"}; });
  client peer = server.accept();
  read_head(peer);
  peer.send(moved(302, "/b", "look there"));
  const http_result r = http_client_host::wait(std::move(told));
  EXPECT_EQ(r.status, 302);
  EXPECT_EQ(r.body, "look there");
  EXPECT_EQ(h.statistics().redirects, 0u);
}

TEST(http_redirect, method_and_body_are_what_the_standard_has) {
  struct row {
    int status;
    const char* method;
    const char* body;
    const char* next;
    bool with_body;
  };
  const std::vector<row> rows = {
      {301, "GET", "", "GET", false},        {301, "POST", "data", "GET", false},
      {301, "PUT", "data", "PUT", true},     {301, "HEAD", "", "HEAD", false},
      {302, "POST", "data", "GET", false},   {302, "DELETE", "", "DELETE", false},
      {303, "POST", "data", "GET", false},   {303, "PUT", "data", "GET", false},
      {303, "HEAD", "", "HEAD", false},      {307, "POST", "data", "POST", true},
      {307, "GET", "", "GET", false},        {308, "POST", "data", "POST", true},
      {308, "PATCH", "data", "PATCH", true},
  };
  for (const row& one : rows) {
    SCOPED_TRACE(std::to_string(one.status) + " " + one.method);
    raw_listener server;
    http_client_host h;
    auto told = h.begin(server.at(), [&] { return request(one.method, "/a/b", one.body); });
    client peer = server.accept();
    read_head(peer);
    if (*one.body != 0) {
      EXPECT_EQ(peer.receive(4), "data");
    }
    const bool head_only = std::string{one.method} == "HEAD";
    peer.send(head_only ? moved(one.status, "c?d") : moved(one.status, "c?d", "skipped"));
    const asked then = next_request(peer);  // over the same connection
    EXPECT_EQ(then.line, std::string{one.next} + " /a/c?d HTTP/1.1");
    EXPECT_EQ(then.head.find("Content-Length: 4") != std::string::npos, one.with_body) << then.head;
    EXPECT_EQ(then.head.find("Content-Type") != std::string::npos, one.with_body) << then.head;
    EXPECT_NE(then.head.find("Authorization: secret"), std::string::npos);
    if (one.with_body) {
      EXPECT_EQ(peer.receive(4), "data");
    }
    peer.send(head_only ? ok.substr(0, ok.size() - 2) : ok);
    const http_result r = http_client_host::wait(std::move(told));
    EXPECT_EQ(r.status, 200) << r.why.text();
    EXPECT_EQ(h.statistics().redirects, 1u);
    EXPECT_EQ(h.statistics().opened, 1u);
  }
}

TEST(http_redirect, secrets_stay_with_their_origin) {
  raw_listener first, second;
  http_client_host h;
  auto told = h.begin(first.at(), [] { return request("GET", "/a", ""); });
  client peer = first.accept();
  EXPECT_NE(next_request(peer).head.find("Authorization: secret"), std::string::npos);
  peer.send(moved(302, "http://" + second.at().text() + "/x#part"));
  client other = second.accept();
  const asked then = next_request(other);
  EXPECT_EQ(then.line, "GET /x HTTP/1.1");
  EXPECT_NE(then.head.find("Host: " + second.at().text()), std::string::npos) << then.head;
  EXPECT_EQ(then.head.find("Authorization"), std::string::npos) << then.head;
  EXPECT_EQ(then.head.find("cookie"), std::string::npos) << then.head;
  EXPECT_NE(then.head.find("Accept: x/y"), std::string::npos) << then.head;
  other.send(moved(302, "http://" + first.at().text() + "/y"));
  const asked last = next_request(peer);
  EXPECT_EQ(last.line, "GET /y HTTP/1.1");
  EXPECT_EQ(last.head.find("Authorization"), std::string::npos) << "what was dropped stays dropped";
  peer.send(ok);
  EXPECT_EQ(http_client_host::wait(std::move(told)).body, "ok");
}

TEST(http_redirect, the_host_that_was_named_is_the_same_origin) {
  raw_listener server;
  http_client_host h;
  auto told = h.begin(server.at(), [] { return std::move(request("GET", "/a", "").host("example.org")); });
  client peer = server.accept();
  read_head(peer);
  peer.send(moved(308, "HTTP://Example.org?q"));
  const asked then = next_request(peer);
  EXPECT_EQ(then.line, "GET /?q HTTP/1.1");
  EXPECT_NE(then.head.find("Host: example.org\r\n"), std::string::npos) << then.head;
  EXPECT_NE(then.head.find("Authorization: secret"), std::string::npos) << then.head;
  peer.send(ok);
  EXPECT_EQ(http_client_host::wait(std::move(told)).body, "ok");
}

TEST(http_redirect, what_cannot_be_followed_is_the_answer) {
  const std::vector<std::string> locations = {
      "https://127.0.0.1/x", "ftp://127.0.0.1/", "http://nowhere.example/",
      "http://a@127.0.0.1/", "mailto:a",         "/a b",
      "/\xc3\xa4",           "http:/x",          "http://",
      "x\r\nLocation: y",    "unix:/run/x"};
  raw_listener server;
  http_client_host h;
  client peer;
  for (const std::string& location : locations) {
    SCOPED_TRACE(location);
    auto told = h.begin(server.at(), [] { return request("GET", "/a", ""); });
    if (!peer) peer = server.accept();
    read_head(peer);
    peer.send(moved(301, location, "text"));
    const http_result r = http_client_host::wait(std::move(told));
    EXPECT_EQ(r.status, 301);
    EXPECT_EQ(r.body, "text");
  }
  for (const int status : {300, 304, 305, 306, 201}) {
    SCOPED_TRACE(status);
    auto told = h.begin(server.at(), [] { return request("GET", "/a", ""); });
    read_head(peer);
    peer.send(moved(status, "/b"));
    EXPECT_EQ(http_client_host::wait(std::move(told)).status, status);
  }
}

TEST(http_redirect, there_is_a_last_one) {
  raw_listener server;
  http_client_host h{{.redirects_max = 3}};
  auto told = h.begin(server.at(), [] { return client_request{"GET", "/0"}; });
  client peer = server.accept();
  for (int i = 0; i != 4; ++i) {
    EXPECT_EQ(next_request(peer).line, "GET /" + std::to_string(i) + " HTTP/1.1");
    peer.send(moved(302, std::to_string(i + 1)));
  }
  EXPECT_EQ(http_client_host::wait(std::move(told)).why.what, client_failure::too_many_redirects);
  EXPECT_EQ(h.statistics().redirects, 3u);
  EXPECT_EQ(peer.receive_some(), "");
}

TEST(http_redirect, its_own_body_is_passed_over_within_reason) {
  const std::string location = "Location: /b\r\n";
  struct row {
    std::string answer;
    bool same_connection;
  };
  const std::vector<row> rows = {
      {"HTTP/1.1 302 F\r\n" + location + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true},
      {"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 302 F\r\n" + location + "Content-Length: 3\r\n\r\nabc", true},
      {"HTTP/1.1 302 F\r\n" + location + "Content-Length: 3\r\nConnection: close\r\n\r\nabc", false},
      {"HTTP/1.1 302 F\r\n" + location + "\r\nuntil the end", false},
      {"HTTP/1.1 302 F\r\n" + location + "Content-Length: 1000000\r\n\r\n" + std::string(100'000, 'x'),
       false},
  };
  for (std::size_t i = 0; i != rows.size(); ++i) {
    SCOPED_TRACE(i);
    raw_listener server;
    http_client_host h;
    auto told = h.begin(server.at(), [] { return request("GET", "/a", ""); });
    client peer = server.accept();
    read_head(peer);
    peer.send(rows[i].answer);
    client other = rows[i].same_connection ? std::move(peer) : server.accept();
    EXPECT_EQ(next_request(other).line, "GET /b HTTP/1.1");
    other.send(ok);
    EXPECT_EQ(http_client_host::wait(std::move(told)).body, "ok");
  }
}

TEST(http_redirect, a_body_written_piece_by_piece_is_not_there_twice) {
  for (const int status : {307, 303}) {
    SCOPED_TRACE(status);
    raw_listener server;
    http_client_host h{{.redirects_max = 2}};
    std::promise<int> told;
    std::uint32_t redirects = 0;
    h.run([&]() -> task<> {
      http::call c =
          h.web().start(h.origin_of(server.at()), std::move(client_request{"POST", "/"}.length(4)));
      EXPECT_TRUE(co_await c.write(chain::copy_of("data")));
      c.finish();
      const http::reply_head* head = co_await c.reply();
      redirects = c.redirects();
      told.set_value(head == nullptr ? 0 : head->status);
    });
    client peer = server.accept();
    read_head(peer);
    EXPECT_EQ(peer.receive(4), "data");
    peer.send(moved(status, "/b"));
    if (status == 303) {
      EXPECT_EQ(next_request(peer).line, "GET /b HTTP/1.1");
      peer.send(ok);
    }
    EXPECT_EQ(told.get_future().get(), status == 303 ? 200 : 307);
    EXPECT_EQ(redirects, status == 303 ? 1u : 0u);
  }
}

TEST(http_redirect, a_body_that_is_still_being_written_ends_with_the_redirect) {
  raw_listener server;
  http_client_host h{{.redirects_max = 2}};
  std::promise<int> told;
  h.run([&]() -> task<> {
    http::call c = h.web().start(h.origin_of(server.at()), std::move(client_request{"POST", "/"}.chunked()));
    while (co_await c.write(chain::copy_of(std::string(16384, 'x')))) co_await sleep(1);
    c.finish();
    const http::reply_head* head = co_await c.reply();
    told.set_value(head == nullptr ? 0 : head->status);
  });
  client peer = server.accept();
  read_head(peer);
  peer.send(moved(303, "/b"));
  client other = server.accept();  // nobody knows what would follow on the first one
  EXPECT_EQ(next_request(other).line, "GET /b HTTP/1.1");
  other.send(ok);
  EXPECT_EQ(told.get_future().get(), 200);
}

TEST(http_redirect, one_that_stops_in_its_body_runs_into_the_deadline) {
  raw_listener server;
  http_client_host h{{.body_ms = 100, .redirects_max = 2}};
  auto told = h.begin(server.at(), [] { return client_request{"GET", "/"}; });
  client peer = server.accept();
  read_head(peer);
  peer.send("HTTP/1.1 302 F\r\nLocation: /b\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_EQ(http_client_host::wait(std::move(told)).why.what, client_failure::body_timeout);
}

}  // namespace
}  // namespace catenet::test
