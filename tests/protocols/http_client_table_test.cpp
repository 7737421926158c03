// The table of answers through a socket: a server played by hand sends each row whole and in pieces, and what
// the call says, and whether its connection is used again, must be as the table has it.
#include "support/http_client_host.hpp"
#include "support/http_reply_cases.hpp"
#include "support/raw_listener.hpp"

#include <gtest/gtest.h>

#include <string>

namespace catenet::test {
namespace {

class http_client_table : public testing::TestWithParam<http_reply_case> {
 protected:
  /// Plays the row in pieces of `step` bytes, then sees what becomes of the connection.
  void play(std::size_t step) {
    const http_reply_case& c = GetParam();
    SCOPED_TRACE("in pieces of " + std::to_string(step));
    auto told = host_.begin(server_.at(), [&] {
      return http::client_request{c.to_head ? "HEAD" : "GET", "/"};
    });
    client peer = server_.accept();
    ASSERT_TRUE(peer);
    const std::string request = read_head(peer);
    EXPECT_EQ(request, (c.to_head ? "HEAD / HTTP/1.1\r\nHost: " : "GET / HTTP/1.1\r\nHost: ") +
                           server_.at().text() + "\r\n\r\n");
    // Once it has seen enough the client may end the connection, so not all need go out.
    for (std::size_t at = 0; at < c.input.size(); at += step)
      if (!peer.send(std::string_view{c.input}.substr(at, step))) break;
    if (c.fin) peer.finish();
    const http_result r = http_client_host::wait(std::move(told));
    EXPECT_EQ(r.why.what, c.failure) << r.why.text();
    EXPECT_EQ(r.complete, c.failure == http::client_failure::none);
    EXPECT_EQ(r.status, c.status);
    if (c.failure == http::client_failure::none) {
      EXPECT_EQ(r.body, c.body);
    }
    if (c.name == "trailers") {
      EXPECT_EQ(r.trailer, "y");
    }
    ask_again(c, peer);
  }

  void ask_again(const http_reply_case& c, client& peer) {
    if (!c.kept) {
      EXPECT_EQ(read_head(peer), "");  // the connection is ended; no second request came over it
      return;
    }
    auto told = host_.begin(server_.at(), [] { return http::client_request{"GET", "/again"}; });
    EXPECT_EQ(read_head(peer).substr(0, 20), "GET /again HTTP/1.1\r");
    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\ncanary");
    const http_result r = http_client_host::wait(std::move(told));
    EXPECT_EQ(r.body, "canary");
    EXPECT_TRUE(r.kept);
  }

  raw_listener server_;
  http_client_host host_;
};

TEST_P(http_client_table, holds) {
  play(1 << 20);
  const std::size_t size = GetParam().input.size();
  play(size > 2000 ? 1000 : 7);
  if (size <= 200) play(1);
  EXPECT_TRUE(eventually([&] { return host_.statistics().connections == 0; }));
}

INSTANTIATE_TEST_SUITE_P(table, http_client_table, testing::ValuesIn(http_reply_cases()),
                         [](const auto& of) { return of.param.name; });

}  // namespace
}  // namespace catenet::test
