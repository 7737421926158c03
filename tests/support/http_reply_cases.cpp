// The rows. § is of RFC 9112.
#include "support/http_reply_cases.hpp"

namespace catenet::test {

namespace {

using http::client_failure;
constexpr client_failure malformed = client_failure::malformed;
constexpr client_failure early = client_failure::ended_early;

std::string repeated(std::size_t n, const std::string& what) {
  std::string all;
  for (std::size_t i = 0; i != n; ++i) all += what;
  return all;
}

std::string with(const std::string& fields, const std::string& body = "") {
  return "HTTP/1.1 200 OK\r\n" + fields + "\r\n" + body;
}

http_reply_case good(std::string name, std::string input, int status, std::string body, bool kept) {
  return {std::move(name), std::move(input), client_failure::none, status, std::move(body), kept};
}
http_reply_case bad(std::string name, std::string input) {
  return {std::move(name), std::move(input), malformed};
}
/// The head is good, the body is not.
http_reply_case spoilt(std::string name, std::string input) {
  return {std::move(name), std::move(input), malformed, 200};
}
http_reply_case to_head(http_reply_case c) {
  c.to_head = true;
  return c;
}
http_reply_case ends(http_reply_case c) {
  c.fin = true;
  return c;
}
http_reply_case cut_short(std::string name, std::string input, int status = 0) {
  return {std::move(name), std::move(input), early, status, {}, false, false, true};
}

void add_good(std::vector<http_reply_case>& all) {
  const std::string chunks = "4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n";
  all.push_back(good("length", with("Content-Length: 5\r\n", "hello"), 200, "hello", true));
  all.push_back(good("length_zero", with("Content-Length: 0\r\n"), 200, "", true));
  all.push_back(
      good("length_with_leading_zeros", with("Content-Length: 0005\r\n", "hello"), 200, "hello", true));
  all.push_back(good("chunks", with("Transfer-Encoding: chunked\r\n", chunks), 200, "wikipedia", true));
  all.push_back(
      good("chunked_in_capitals", with("Transfer-Encoding: CHUNKED\r\n", chunks), 200, "wikipedia", true));
  all.push_back(good("trailers", with("Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\nDigest: y\r\n\r\n"),
                     200, "x", true));
  all.push_back(
      good("connection_close", with("Connection: close\r\nContent-Length: 2\r\n", "ok"), 200, "ok", false));
  all.push_back(ends(good("until_end", with("", "all of it"), 200, "all of it", false)));
  all.push_back(good("http_1_0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false));
  all.push_back(good("http_1_0_keep_alive",
                     "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, "ok",
                     true));
  all.push_back(good("http_1_9", "HTTP/1.9 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", true));
  all.push_back(good("no_reason", "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", 404, "", true));
  all.push_back(good("reason_above_127", "HTTP/1.1 200 d\xc3\xa9j\xc3\xa0 vu\r\nContent-Length: 0\r\n\r\n",
                     200, "", true));
  all.push_back(good("continue_first", "HTTP/1.1 100 Continue\r\n\r\n" + with("Content-Length: 2\r\n", "ok"),
                     200, "ok", true));
  all.push_back(good("early_hints_first",
                     "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + with("Content-Length: 0\r\n"), 200,
                     "", true));
  all.push_back(good("eight_informational",
                     repeated(8, "HTTP/1.1 102 Processing\r\n\r\n") + with("Content-Length: 0\r\n"), 200, "",
                     true));
  all.push_back(good("unknown_status", "HTTP/1.1 599 x\r\nContent-Length: 0\r\n\r\n", 599, "", true));
}

void add_bodiless(std::vector<http_reply_case>& all) {
  all.push_back(to_head(good("head_with_length", with("Content-Length: 5\r\n"), 200, "", true)));
  all.push_back(to_head(good("head_with_chunked", with("Transfer-Encoding: chunked\r\n"), 200, "", true)));
  all.push_back(to_head(good("head_without_anything", with(""), 200, "", true)));
  all.push_back(to_head(good("head_with_a_body", with("Content-Length: 5\r\n", "hello"), 200, "", false)));
  all.push_back(good("no_content", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", true));
  all.push_back(
      good("no_content_with_length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, "", true));
  all.push_back(good("no_content_with_a_body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
                     204, "", false));
  all.push_back(
      good("not_modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", 304, "", true));
  all.push_back(good("not_modified_with_a_body",
                     "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", 304, "", false));
  all.push_back(
      bad("no_content_in_chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
  all.push_back(
      bad("continue_in_chunks", "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
  // An answer that nobody asked for ends the connection, and never becomes the answer to the next request.
  all.push_back(good("two_answers",
                     with("Content-Length: 2\r\n", "ok") + with("Content-Length: 4\r\n", "evil"), 200, "ok",
                     false));
}

void add_framing(std::vector<http_reply_case>& all) {
  const std::string nothing = "0\r\n\r\n";
  all.push_back(
      bad("length_then_chunked", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", nothing)));
  all.push_back(
      bad("chunked_then_length", with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", nothing)));
  all.push_back(bad("two_lengths", with("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")));
  all.push_back(bad("two_equal_lengths", with("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")));
  for (const std::string value : {"+5", "-5", "0x5", "5 5", "5, 5", "5a", "", "9223372036854775808",
                                  "18446744073709551621", "99999999999999999999999999999999"})
    all.push_back(bad("length_is_" + (value.empty() ? "empty" : std::to_string(all.size())),
                      with("Content-Length: " + value + "\r\n", "hello")));
  for (const std::string value :
       {"gzip, chunked", "gzip", "identity", "xchunked", "chunked, chunked", "chunked;q=1", ""})
    all.push_back(
        bad("coding_" + std::to_string(all.size()), with("Transfer-Encoding: " + value + "\r\n", nothing)));
  all.push_back(
      bad("two_codings", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", nothing)));
  all.push_back(bad("chunks_in_http_1_0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  for (const std::string body :
       {"g\r\nx\r\n0\r\n\r\n", "0x1\r\nx\r\n0\r\n\r\n", "+1\r\nx\r\n0\r\n\r\n", "\r\nx\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n", "1 \r\nx\r\n0\r\n\r\n", "1\nx\r\n0\r\n\r\n", "1\r\nxx\r\n0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n", "11111111111111111\r\nx", "FFFFFFFFFFFFFFFF\r\nx", "1;\r\nx\r\n",
        "0\r\nBad Trailer: x\r\n\r\n", "0\r\n folded\r\n\r\n"})
    all.push_back(spoilt("chunk_" + std::to_string(all.size()), with(chunked, body)));
}

void add_heads(std::vector<http_reply_case>& all) {
  const std::string rest = "\r\nContent-Length: 0\r\n\r\n";
  for (const std::string line :
       {"HTTP/1.1 200", "HTTP/1.1  200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 abc OK",
        "HTTP/1.1 099 OK", "HTTP/1.1 600 OK", "HTTP/2.0 200 OK", "http/1.1 200 OK", "HTTP/1.11 200 OK",
        "HTTP/1. 200 OK", "HTTP/1.1\t200 OK", "HTTP/1.1 200\tOK", "ICY 200 OK", "200 OK", "<html>", ""})
    all.push_back(bad("status_line_" + std::to_string(all.size()), line + rest));
  all.push_back(bad("empty_line_first", "\r\n" + with("Content-Length: 0\r\n")));
  all.push_back(bad("bare_lf", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"));
  all.push_back(bad("control_in_reason", "HTTP/1.1 200 O\x01K" + rest));
  all.push_back(bad("folded_field", with("X: a\r\n b\r\nContent-Length: 0\r\n")));
  all.push_back(bad("space_before_the_first_field", with(" X: a\r\nContent-Length: 0\r\n")));
  all.push_back(bad("space_before_colon", with("Content-Length : 0\r\n")));
  all.push_back(bad("no_colon", with("Content-Length\r\n")));
  all.push_back(bad("empty_name", with(": x\r\n")));
  all.push_back(bad("nul_in_value", with(std::string("X: a\0b\r\n", 8))));
  all.push_back(bad("bare_cr_in_value", with("X: a\rb\r\n")));
  all.push_back(bad("too_many_fields", with(repeated(101, "X: a\r\n"))));
  all.push_back(bad("too_many_bytes", with(repeated(40, "X: " + std::string(1000, 'a') + "\r\n"))));
  all.push_back(bad("endless_status_line", "HTTP/1.1 200 " + std::string(9000, 'a')));
  all.push_back(bad("informational_flood",
                    repeated(9, "HTTP/1.1 100 Continue\r\n\r\n") + with("Content-Length: 0\r\n")));
  all.push_back(bad("switching_protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"));
}

void add_ends(std::vector<http_reply_case>& all) {
  all.push_back(cut_short("nothing", ""));
  all.push_back(cut_short("in_the_status_line", "HTTP/1.1 2"));
  all.push_back(cut_short("in_the_fields", "HTTP/1.1 200 OK\r\nContent-"));
  all.push_back(cut_short("behind_informational", "HTTP/1.1 100 Continue\r\n\r\n"));
  all.push_back(cut_short("before_the_body", with("Content-Length: 5\r\n"), 200));
  all.push_back(cut_short("in_the_body", with("Content-Length: 5\r\n", "hell"), 200));
  all.push_back(cut_short("in_a_chunk", with("Transfer-Encoding: chunked\r\n", "5\r\nhell"), 200));
  all.push_back(
      cut_short("before_the_last_chunk", with("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"), 200));
  all.push_back(
      cut_short("in_the_last_chunk", with("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n"), 200));
  all.push_back(cut_short("in_the_trailers", with("Transfer-Encoding: chunked\r\n", "0\r\nX: a\r\n"), 200));
}

}  // namespace

const std::vector<http_reply_case>& http_reply_cases() {
  static const std::vector<http_reply_case> all = [] {
    std::vector<http_reply_case> made;
    add_good(made);
    add_bodiless(made);
    add_framing(made);
    add_heads(made);
    add_ends(made);
    return made;
  }();
  return all;
}

}  // namespace catenet::test
