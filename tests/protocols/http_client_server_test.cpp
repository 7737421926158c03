// The client against our own server: bodies of every size and framing both ways, with the memory that they
// take.
#include "support/client.hpp"
#include "support/http_client_host.hpp"
#include "support/http_test_server.hpp"
#include "support/raw_listener.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace catenet::test {
namespace {

using http::client_request;

task<> echo(http::request& rq, http::response& rs) {
  if (const auto bytes = rq.body().length()) rs.length(*bytes);
  while (auto part = co_await rq.body().next())
    if (!co_await rs.write(std::move(*part))) co_return;
  co_await rs.write(chain{});
  if (const auto digest = rq.body().trailer("digest")) rs.trailer("Digest", *digest);
}

void add_routes(http::server& web) {
  add_table_routes(web);
  web.post("/stream", echo, {.max_body = ~std::uint64_t{0} >> 1});
}

class http_client_server : public testing::Test {
 protected:
  [[nodiscard]] endpoint at() const {
    endpoint made;
    EXPECT_FALSE(endpoint::parse("127.0.0.1:" + std::to_string(server_.port()), made));
    return made;
  }

  http_test_server server_{add_routes};
  http_client_host host_;
};

TEST_F(http_client_server, gets_and_posts) {
  EXPECT_EQ(host_.get(at()).body, "Hello, World!");
  EXPECT_EQ(host_.get(at(), "/hello/you").body, "hello you");
  EXPECT_EQ(host_.get(at(), "/none").status, 404);
  EXPECT_EQ(host_.ask(at(), [] { return client_request{"HEAD", "/"}; }).body, "");
  const auto post = [] {
    return std::move(client_request{"POST", "/echo"}.body(chain::copy_of("to and fro")));
  };
  EXPECT_EQ(host_.ask(at(), post).body, "to and fro");
  EXPECT_EQ(host_.statistics().opened, 1u);
  EXPECT_EQ(host_.statistics().failures, 0u);
}

struct exchange_plan {
  std::uint64_t bytes = 0;
  bool chunked = false;
  unsigned seed = 1;
};

// Sends the pattern in pieces of random size, and reads the echo at the same time.
task<> upload(http::call& c, exchange_plan plan) {
  std::minstd_rand random{plan.seed};
  for (std::uint64_t at = 0; at < plan.bytes;) {
    const std::uint64_t part = std::min<std::uint64_t>(plan.bytes - at, 1 + random() % 200'000);
    if (!co_await c.write(chain::copy_of(pattern(at, part)))) co_return;
    at += part;
  }
  if (plan.chunked) {
    EXPECT_TRUE(c.trailer("Digest", std::to_string(plan.bytes)));
  }
  c.finish();
}

task<> both_ways(http::client& web, http::origin to, exchange_plan plan, std::promise<std::string>* told) {
  client_request rq{"POST", "/stream"};
  if (plan.chunked)
    rq.chunked();
  else
    rq.length(plan.bytes);
  std::string log;
  {
    http::call c = web.start(to, std::move(rq));
    task<> up = upload(c, plan);
    std::uint64_t got = 0;
    if (co_await c.reply() == nullptr) log += c.why().text();
    while (std::optional<chain> part = co_await c.next()) {
      const std::string text = part->to_string();
      if (off_pattern(got, text) != std::string_view::npos)
        log += "off the pattern near " + std::to_string(got);
      got += text.size();
    }
    if (!c.complete()) log += "not complete: " + c.why().text();
    if (got != plan.bytes) log += std::to_string(got) + " of " + std::to_string(plan.bytes) + " bytes";
    if (plan.chunked && c.trailer("digest").value_or("") != std::to_string(plan.bytes)) log += "no trailer";
    if (!up.done()) log += "the upload is not over";
  }
  told->set_value(log);
}

TEST_F(http_client_server, streams_both_ways_at_once) {
  for (unsigned i = 0; i != 12; ++i) {
    const std::uint64_t sizes[] = {0, 1, 511, 4096, 65537, 3'000'000};
    const exchange_plan plan{sizes[i % 6], i >= 6, i + 1};
    std::promise<std::string> told;
    host_.run([&] { return both_ways(host_.web(), host_.origin_of(at()), plan, &told); });
    EXPECT_EQ(told.get_future().get(), "")
        << plan.bytes << (plan.chunked ? " in chunks" : " of known length");
  }
  EXPECT_EQ(host_.statistics().opened, 1u);
}

TEST_F(http_client_server, many_at_once_on_few_connections) {
  constexpr int count = 300;
  std::vector<std::future<http_result>> all;
  for (int i = 0; i != count; ++i)
    all.push_back(host_.begin(at(), [i] { return client_request{"GET", "/hello/" + std::to_string(i)}; }));
  for (int i = 0; i != count; ++i)
    ASSERT_EQ(http_client_host::wait(std::move(all[static_cast<std::size_t>(i)])).body,
              "hello " + std::to_string(i));
  // At one time there are at most connections_max; one that was let go when idle may be opened anew.
  EXPECT_LT(host_.statistics().opened, 150u);
}

// A server that sends without end, and a reader that takes one part and waits: what is held stays small.
TEST(http_client_memory, a_slow_reader_holds_the_server_back) {
  raw_listener server;
  http_client_host h{{.read_ahead = 64 << 10}};
  bool release = false;
  std::promise<std::uint64_t> told;
  constexpr std::uint64_t total = 64 << 20;
  h.run([&]() -> task<> {
    http::call c = h.web().start(h.origin_of(server.at()), {"GET", "/"});
    static_cast<void>(co_await c.reply());
    std::uint64_t got = 0;
    while (std::optional<chain> part = co_await c.next()) {
      if (off_pattern(got, part->to_string()) != std::string_view::npos) ADD_FAILURE() << "off the pattern";
      got += part->bytes();
      part.reset();
      while (!release) co_await catenet::sleep(5);
    }
    told.set_value(c.complete() ? got : 0);
  });
  client peer = server.accept();
  read_head(peer);
  std::thread sender([&] {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(total) + "\r\n\r\n");
    for (std::uint64_t at = 0; at != total && peer.send(pattern(at, 1 << 20)); at += 1 << 20) {
    }
  });
  sleep_ms(300);
  std::uint64_t held = 0;
  for (const class_statistics& one : h.host().net().slab().statistics().classes)
    held += one.rented * one.size;
  EXPECT_LE(held, 2u << 20) << "bytes held for a reader that does not read";
  h.host().on_core([&] { release = true; });
  EXPECT_EQ(told.get_future().get(), total);
  sender.join();
}

// A server that does not read: write() waits, and little is unsent.
TEST(http_client_memory, a_slow_server_holds_the_writer_back) {
  raw_listener server{4096};
  http_client_host h;
  std::atomic<std::uint64_t> written{0};
  std::promise<void> told;
  constexpr std::uint64_t total = 32 << 20;
  h.run([&]() -> task<> {
    http::call c =
        h.web().start(h.origin_of(server.at()), std::move(client_request{"PUT", "/"}.length(total)));
    for (std::uint64_t at = 0; at != total; at += 64 << 10) {
      if (!co_await c.write(chain::copy_of(pattern(at, 64 << 10)))) break;
      written += 64 << 10;
    }
    c.finish();
    static_cast<void>(co_await c.reply());
    EXPECT_EQ(c.why().text(), "");
    told.set_value();
  });
  client peer = server.accept();
  read_head(peer);
  sleep_ms(300);
  EXPECT_LE(written.load(), 8u << 20);
  std::uint64_t got = 0;
  while (got != total) {
    const std::string part = peer.receive_some();
    ASSERT_FALSE(part.empty());
    ASSERT_EQ(off_pattern(got, part), std::string_view::npos);
    got += part.size();
  }
  peer.send("HTTP/1.1 204 No Content\r\n\r\n");
  told.get_future().get();
}

}  // namespace
}  // namespace catenet::test
