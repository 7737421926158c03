// A server on a socket for one test, with the requests that tests send to it.
#pragma once

#include <catenet/engine/log.hpp>

#include "support/eventually.hpp"
#include "support/http_test_server.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>

namespace catenet::test {

inline std::string get(const std::string& target, const std::string& lines = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n";
}
inline std::string post(const std::string& target, const std::string& lines, const std::string& body) {
  return "POST " + target + " HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n" + body;
}
inline std::string with_length(const std::string& target, const std::string& body) {
  return post(target, "Content-Length: " + std::to_string(body.size()) + "\r\n", body);
}

class http_server : public testing::Test {
 protected:
  static void SetUpTestSuite() { set_log_sink(nullptr); }  // failures of handlers are provoked here

  void start(const std::function<void(http::server&)>& routes, http_test_server::settings of = {}) {
    server_.emplace(routes, of);
  }
  http_answer ask(const std::string& bytes) {
    http_test_client client{server_->port()};
    client.send(bytes);
    return client.read(bytes.starts_with("HEAD"));
  }
  void TearDown() override {
    if (server_) {
      EXPECT_EQ(server_->wait_until_idle(), "");
    }
  }
  std::optional<http_test_server> server_;
};

/// POST routes: /echo piece by piece, /text collected, /ignore unread, /trailer.
inline void body_routes(http::server& web) {
  web.post("/echo", [](http::request& rq, http::response& rs) -> task<> {
    while (auto part = co_await rq.body().next())
      if (!co_await rs.write(std::move(*part))) co_return;
  });
  web.post("/text",
           [](http::request& rq, http::response& rs) -> task<> { rs.text(co_await rq.body().text(1000)); });
  web.post("/ignore", [](http::request&, http::response& rs) { rs.text("ignored"); });
  web.post("/trailer", [](http::request& rq, http::response& rs) -> task<> {
    while (co_await rq.body().next()) {
    }
    rs.text(rq.body().trailer("Digest").value_or("none"), "|",
            rq.body().trailer("Content-Length").value_or("none"));
  });
}

}  // namespace catenet::test
