// Answers without a socket: every row of the table, however its bytes are cut up, gives the same events; and
// what the parser does with memory.
#include <catenet/slab/pool.hpp>

#include "support/http_reply_cases.hpp"
#include "support/http_reply_session.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

namespace catenet::test {
namespace {

chain segment_of(std::string_view text) {
  lease l = lease::of(text.size());
  std::memcpy(l.bytes().data(), text.data(), text.size());
  return chain{std::move(l), 0, text.size()};
}

class http_reply : public testing::Test {
 protected:
  /// What becomes of the input when it comes in pieces that end where `cut(at)` says so.
  template <class F>
  std::string events(const http_reply_case& c, F&& cut, int* replies = nullptr) {
    http_reply_session s{c.to_head};
    std::string piece;
    for (std::size_t i = 0; i != c.input.size(); ++i) {
      piece += c.input[i];
      if (!cut(i) && i + 1 != c.input.size()) continue;
      s.feed(segment_of(piece));
      piece.clear();
    }
    if (c.fin) s.end();
    if (replies != nullptr) *replies = s.replies();
    return s.log();
  }

  depot blocks_;
  pool pool_{blocks_};
};

class http_reply_table : public http_reply, public testing::WithParamInterface<http_reply_case> {};

TEST_P(http_reply_table, holds_however_the_bytes_are_cut) {
  const http_reply_case& c = GetParam();
  int replies = 0;
  const std::string whole = events(
      c, [](std::size_t) { return false; }, &replies);
  EXPECT_EQ(events(c, [](std::size_t) { return true; }), whole) << "byte by byte";
  const std::size_t step = c.input.size() > 2000 ? 97 : 1;
  for (std::size_t at = 0; at < c.input.size(); at += step)
    ASSERT_EQ(events(c, [&](std::size_t i) { return i == at; }), whole) << "cut behind byte " << at;
  std::minstd_rand random{static_cast<unsigned>(c.input.size()) + 1};
  for (int i = 0; i != 50; ++i)
    ASSERT_EQ(events(c, [&](std::size_t) { return random() % 7 == 0; }), whole) << "random cuts, round " << i;

  const bool faulty = whole.find("fault") != std::string::npos;
  // That informational answers become too many, or change the protocol, is for the call to say.
  const bool by_call = c.name == "informational_flood" || c.name == "switching_protocols";
  // What follows an answer without a body is read as another one here, and spoils it.
  const bool unasked = !c.kept && c.failure == http::client_failure::none && faulty;
  if (!by_call && !unasked) {
    EXPECT_EQ(faulty, c.failure == http::client_failure::malformed) << whole;
  }
  if (c.failure == http::client_failure::none) {
    EXPECT_GE(replies, 1) << whole;
  }
  if (c.failure == http::client_failure::ended_early) {
    EXPECT_EQ(replies, 0) << whole;
    const bool nothing = c.input.empty() || c.name == "behind_informational";
    if (!nothing) {
      EXPECT_NE(whole.find("premature end"), std::string::npos) << whole;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(table, http_reply_table, testing::ValuesIn(http_reply_cases()),
                         [](const auto& of) { return of.param.name; });

TEST_F(http_reply, tells_status_reason_and_fields) {
  http_reply_session s;
  s.feed(
      segment_of("HTTP/1.1 207 Multi-Status here\r\nServer:  x \r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"));
  EXPECT_EQ(s.log(),
            "head 207 'Multi-Status here' 1.1 length=0 keep bytes=77\nfield Server=x\nfield Set-Cookie=a\n"
            "field Set-Cookie=b\n");
}

TEST_F(http_reply, the_body_is_not_copied_and_the_head_does_not_pin_it) {
  http::reply_parser parser;
  http::reply_head head;
  chain input = segment_of("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody");
  const std::byte* at = input.front().data() + (input.bytes() - 4);
  ASSERT_EQ(parser.next(input, http::limits{}.checked(), head), http::reply_parser::progress::complete);
  EXPECT_EQ(input.to_string(), "body");
  EXPECT_EQ(input.front().data(), at);
  input.clear();
  EXPECT_EQ(*head.fields.find("content-length"), "4");  // still there, with its own block
}

// What is delivered of a body that turns out too long does not depend on how it came.
TEST_F(http_reply, a_body_until_the_end_is_cut_at_its_limit) {
  const std::string head = "HTTP/1.0 200 OK\r\n\r\n";
  const std::string bytes = "0123456789abcd";
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    http_reply_session s{false, {}, 10};
    s.feed(segment_of(head));
    for (const std::string& piece : {bytes.substr(0, cut), bytes.substr(cut)})
      if (!piece.empty()) s.feed(segment_of(piece));
    EXPECT_NE(s.log().find("body 0123456789\nfault 413"), std::string::npos) << cut << ": " << s.log();
  }
  http_reply_session exact{false, {}, 10};
  exact.feed(segment_of(head + "0123456789"));
  exact.end();
  EXPECT_NE(exact.log().find("body 0123456789\nend"), std::string::npos) << exact.log();
}

TEST_F(http_reply, a_head_that_grows_keeps_what_it_had) {
  http_reply_session s;
  const std::string name(3000, 'n');
  for (const std::string piece : {"HTTP/1.1 200 OK\r\nA: first\r\n", "Long: "}) s.feed(segment_of(piece));
  s.feed(segment_of(name));
  s.feed(segment_of("\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_NE(s.log().find("field A=first\nfield Long=" + name + "\nfield Content-Length=0\nend"),
            std::string::npos);
}

}  // namespace
}  // namespace catenet::test
