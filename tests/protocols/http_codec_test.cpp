// The HTTP codecs without a socket: the table of bad input, and that it does not matter how bytes are cut up.
#include <catenet/http/body_decoder.hpp>
#include <catenet/http/head_parser.hpp>

#include "support/http_cases.hpp"
#include "support/http_codec_session.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

namespace catenet::test {
namespace {

// A chain of one segment, wherever it fits into one.
chain one_segment(std::string_view bytes) {
  lease l = lease::of(bytes.size());
  if (bytes.empty() || l.bytes().size() < bytes.size()) return chain::copy_of(bytes);
  std::memcpy(l.bytes().data(), bytes.data(), bytes.size());
  return chain{std::move(l), 0, bytes.size()};
}

class http_codec : public testing::Test {
 protected:
  depot depot_;
  pool pool_{depot_};
};

struct outcome {
  std::string log;
  int status;
  int messages;
  std::string last_target;
};

outcome result_of(const http_codec_session& s) {
  return {s.log(), s.fault().status, s.messages(), s.last_target()};
}

outcome run_whole(std::string_view bytes) {
  http_codec_session s;
  s.feed(one_segment(bytes));
  return result_of(s);
}

outcome run_pieces(std::string_view bytes, std::size_t step) {
  http_codec_session s;
  for (std::size_t at = 0; at < bytes.size(); at += step) s.feed(one_segment(bytes.substr(at, step)));
  return result_of(s);
}

// Cut in two: as two arrivals, or as two segments of one arrival.
outcome run_cut(std::string_view bytes, std::size_t at, bool one_arrival) {
  http_codec_session s;
  chain first = one_segment(bytes.substr(0, at));
  chain second = one_segment(bytes.substr(at));
  if (one_arrival) {
    first.append(std::move(second));
    s.feed(std::move(first));
  } else {
    s.feed(std::move(first));
    s.feed(std::move(second));
  }
  return result_of(s);
}

std::string name_of_case(const testing::TestParamInfo<http_case>& of) {
  return "row_" + std::to_string(of.param.row) + "_" + of.param.name;
}

class http_table : public http_codec, public testing::WithParamInterface<http_case> {};

TEST_P(http_table, holds_however_the_bytes_are_cut) {
  const http_case& c = GetParam();
  if (!c.codec && c.closes) GTEST_SKIP() << "decided by the server";
  const std::string bytes = c.input + canary;
  const outcome whole = run_whole(bytes);
  if (c.closes) {
    EXPECT_EQ(whole.status, c.status) << whole.log;
    EXPECT_NE(whole.last_target, canary_target) << "nothing behind a fault may be taken for a request";
  } else {
    EXPECT_EQ(whole.status, 0) << whole.log;
    EXPECT_EQ(whole.messages, 2);
    EXPECT_EQ(whole.last_target, canary_target);
  }
  for (const std::size_t step : {1u, 2u, 3u, 7u, 16u, 100u, 511u, 4096u})
    ASSERT_EQ(run_pieces(bytes, step).log, whole.log) << "in steps of " << step;
  // Every place of a short input; of a long one, the beginning, the end, and some between.
  const std::size_t stride = std::max<std::size_t>(1, bytes.size() / 500);
  for (std::size_t at = 1; at < bytes.size(); at += at < 200 || at + 200 > bytes.size() ? 1 : stride) {
    ASSERT_EQ(run_cut(bytes, at, false).log, whole.log) << "cut at " << at;
    ASSERT_EQ(run_cut(bytes, at, true).log, whole.log) << "two segments, cut at " << at;
  }
}

INSTANTIATE_TEST_SUITE_P(bad_input, http_table, testing::ValuesIn(http_cases()), name_of_case);

TEST_F(http_codec, reads_what_a_browser_sends) {
  const outcome o = run_whole(
      "GET /a/b%20c?x=1&y=2 HTTP/1.1\r\nHost: www.example.org:8080\r\nAccept: */*\r\nConnection: keep-alive, "
      "Upgrade\r\n"
      "Upgrade: websocket\r\nX-Empty:\r\n\r\n");
  EXPECT_EQ(
      o.log,
      "head GET /a/b%20c?x=1&y=2 1.1 path=/a/b%20c query=x=1&y=2 authority=www.example.org:8080 length=0 "
      "keep "
      "upgrade\nfield Host=www.example.org:8080\nfield Accept=*/*\nfield Connection=keep-alive, Upgrade\n"
      "field Upgrade=websocket\nfield X-Empty=\nend\n");
}

// Fields of every length around the 16 bytes that are looked at in one step, and with every kind of white
// space.
TEST_F(http_codec, fields_of_every_length_are_read_as_they_are) {
  for (std::size_t name_bytes = 1; name_bytes != 36; ++name_bytes) {
    for (std::size_t value_bytes = 0; value_bytes != 36; ++value_bytes) {
      const std::string name(name_bytes, 'N');
      const std::string value = value_bytes == 0 ? "" : "v" + std::string(value_bytes - 1, ' ');
      const std::string kept = value_bytes < 2 ? value : value.substr(0, value_bytes - 1) + "w";
      for (const char* const before : {"", " ", "  ", "\t"}) {
        for (const char* const behind : {"", " ", "\t "}) {
          const std::string line = name + ":" + before + kept + behind + "\r\n";
          const std::string expected = "field " + name + "=" + kept + "\n";
          const outcome first = run_whole("GET / HTTP/1.1\r\n" + line + "Host: a\r\n\r\n");
          ASSERT_NE(first.log.find(expected + "field Host=a\nend\n"), std::string::npos) << line << first.log;
          const outcome last = run_whole("GET / HTTP/1.1\r\nHost: a\r\n" + line + "\r\n" + canary);
          ASSERT_NE(last.log.find("field Host=a\n" + expected + "end\n"), std::string::npos)
              << line << last.log;
          ASSERT_EQ(last.messages, 2);
        }
      }
    }
  }
}

// Whatever is wrong with a head: the answer of a whole one, which is read by a shortcut where it can be, is
// that of one which comes byte by byte, which cannot be.
TEST_F(http_codec, one_wrong_byte_anywhere_is_found_by_shortcut_and_by_steps) {
  const std::string good =
      "GET /path?query HTTP/1.1\r\nHost: www.example.org:8080\r\nUpgrade-Insecure-Requests: 1\r\n"
      "Content-Length: 0\r\nX: y\r\n\r\n";
  ASSERT_EQ(run_whole(good).messages, 1);
  constexpr std::string_view wrong{"\0\t\n\r :?#,-@[\x7f\x80\xff", 15};
  for (std::size_t at = 0; at != good.size(); ++at) {
    for (const char c : wrong) {
      std::string bytes = good;
      bytes[at] = c;
      const outcome whole = run_whole(bytes + canary);
      const outcome apart = run_pieces(bytes + canary, 1);
      ASSERT_EQ(whole.log, apart.log) << "byte " << at << " is " << static_cast<int>(c);
      bytes = good;
      bytes.insert(at, 1, c);
      ASSERT_EQ(run_whole(bytes + canary).log, run_pieces(bytes + canary, 1).log)
          << "before byte " << at << ": " << static_cast<int>(c);
    }
  }
}

TEST_F(http_codec, limits_hold_for_the_shortcut_to_the_byte) {
  const std::string line = "GET /" + std::string(40, 'x') + " HTTP/1.1";
  const std::string head = line + "\r\nHost: a\r\nX: y\r\n\r\n";
  const auto status = [&](std::uint32_t line_bytes, std::size_t head_bytes, std::uint16_t fields) {
    http::limits most;
    most.request_line = line_bytes;
    most.head_bytes = static_cast<std::uint32_t>(head_bytes);
    most.fields = fields;
    http_codec_session s{most};
    s.feed(one_segment(head));
    return s.messages() == 1 ? 200 : static_cast<int>(s.fault().status);
  };
  const auto line_bytes = static_cast<std::uint32_t>(line.size());
  EXPECT_EQ(status(line_bytes, head.size(), 2), 200);
  EXPECT_EQ(status(line_bytes - 1, head.size(), 2), 414);
  EXPECT_EQ(status(line_bytes, head.size() - 1, 2), 431);
  EXPECT_EQ(status(line_bytes, head.size(), 1), 431);
}

TEST_F(http_codec, absolute_form_wins_over_host) {
  const outcome o = run_whole("GET http://b.example:81/p?q HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_NE(o.log.find("path=/p query=q authority=b.example:81"), std::string::npos) << o.log;
}

TEST_F(http_codec, trailers_are_delivered_apart_and_without_forbidden_names) {
  const outcome o = run_whole(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nDigest: \t x y \r\n"
      "Content-Length: 9\r\ntransfer-encoding: gzip\r\nHOST: b\r\nAuthorization: c\r\n\r\n");
  EXPECT_NE(o.log.find("body hello\ntrailer Digest=x y\nend\n"), std::string::npos) << o.log;
}

TEST_F(http_codec, keeps_alive_by_version_and_option) {
  const auto keeps = [](const char* line, const char* option) {
    const outcome o = run_whole(std::string{"GET / "} + line + "\r\nHost: a\r\n" + option + "\r\n");
    return o.log.find(" keep") != std::string::npos;
  };
  EXPECT_TRUE(keeps("HTTP/1.1", ""));
  EXPECT_FALSE(keeps("HTTP/1.1", "Connection: close\r\n"));
  EXPECT_FALSE(keeps("HTTP/1.1", "Connection: x\r\nConnection: keep-alive, CLOSE\r\n"));
  EXPECT_FALSE(keeps("HTTP/1.0", ""));
  EXPECT_TRUE(keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

TEST_F(http_codec, a_whole_head_is_not_copied) {
  const std::string_view text = "GET /x HTTP/1.1\r\nHost: a\r\n\r\nrest";
  chain input = one_segment(text);
  const auto* begin = reinterpret_cast<const char*>(input.front().data());
  http::head_parser p;
  http::request_head head;
  ASSERT_EQ(p.next(input, {}, head), http::head_parser::progress::complete);
  EXPECT_TRUE(p.in_place());
  EXPECT_EQ(head.bytes, text.size() - 4);
  EXPECT_EQ(head.target.data(), begin + 4);
  EXPECT_EQ(head.fields[0].value.data(), begin + 23);
  EXPECT_EQ(input.bytes(), text.size());
}

TEST_F(http_codec, a_partial_head_takes_one_small_block_and_no_more_than_its_size_needs) {
  http_codec_session s;
  s.feed(one_segment("GET / HTTP/1.1\r\nHo"));
  EXPECT_EQ(s.rented_bytes(), 512u);
  s.feed(one_segment("st: a\r\nA: " + std::string(3000, 'a')));
  EXPECT_EQ(s.rented_bytes(), 4096u);
  s.feed(one_segment("\r\n\r\n"));
  EXPECT_EQ(s.rented_bytes(), 0u);
  EXPECT_EQ(s.messages(), 1);
}

TEST_F(http_codec, what_is_wrong_is_found_as_soon_as_it_can_be) {
  for (const char* prefix :
       {"GET /\r\n", "G(T / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\rX", "GET / HTTP/1.1\n",
        "\x16\x03\x01", "GET / HTTP/1.1\r\nHost : a\r\n", "GET / HTTP/1.1\r\n Host: a\r\n", "\r\r", "\n"}) {
    EXPECT_EQ(run_whole(prefix).status, 400) << prefix;
    EXPECT_EQ(run_pieces(prefix, 1).status, 400) << prefix;
  }
}

TEST_F(http_codec, a_line_that_ends_at_the_limit_of_the_head_is_the_last_that_is_looked_at) {
  http::limits most;
  most.head_bytes = 100;
  for (std::size_t bytes = 95; bytes != 110; ++bytes) {
    std::string head = "GET / HTTP/1.1\r\nHost: a\r\nB: ";
    head += std::string(bytes - head.size() - 4, 'b') + "\r\n\r\n";
    for (const std::size_t step : {std::size_t{1}, std::size_t{60}, head.size()}) {
      http_codec_session s{most};
      for (std::size_t at = 0; at < head.size(); at += step) s.feed(one_segment(head.substr(at, step)));
      EXPECT_EQ(s.fault().status, bytes <= 100 ? 0 : 431) << bytes << " in steps of " << step;
    }
  }
}

TEST_F(http_codec, a_body_comes_out_in_place_and_in_parts_of_the_size_asked_for) {
  chain input = one_segment("0123456789rest");
  const std::byte* begin = input.front().data();
  http::body_decoder d = http::body_decoder::of_length(10);
  chain part;
  EXPECT_EQ(d.next(input, part, {}, 4), http::body_decoder::progress::full);
  EXPECT_EQ(part.to_string(), "0123");
  EXPECT_EQ(part.front().data(), begin);
  EXPECT_EQ(d.left(), 6u);
  part.clear();
  EXPECT_EQ(d.next(input, part, {}), http::body_decoder::progress::end);
  EXPECT_EQ(part.to_string(), "456789");
  EXPECT_EQ(part.front().data(), begin + 4);
  EXPECT_EQ(input.to_string(), "rest");
}

TEST_F(http_codec, everything_comes_home) {
  for (const http_case& c : http_cases()) {
    http_codec_session s;
    s.feed(one_segment(c.input));
  }
  for (const auto& of : depot_.statistics().classes) EXPECT_EQ(of.rented, 0u);
}

}  // namespace
}  // namespace catenet::test
