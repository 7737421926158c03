// The rows of the table that are bytes and an answer. The others need a clock, or a peer that misbehaves:
// they are in http_*_test.cpp, under their numbers.
#include "support/http_cases.hpp"

#include "support/gzip.hpp"

#include <string_view>

namespace catenet::test {

namespace {

using namespace std::string_literals;

class table {
 public:
  std::vector<http_case> cases;

  // A whole request as it is.
  void ok(int row, std::string name, std::string input, int status = 200) {
    cases.push_back({row, std::move(name), std::move(input), status, status < 400, false});
  }
  void bad(int row, std::string name, std::string input, int status = 400) {
    cases.push_back({row, std::move(name), std::move(input), status, true, true});
  }

  // GET / with these further lines, each ended by CR LF.
  static std::string get(const std::string& lines) {
    return "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n";
  }
  // POST /echo with these further lines and a body as it is.
  static std::string post(const std::string& lines, const std::string& body) {
    return "POST /echo HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n" + body;
  }
  static std::string chunked(const std::string& body) { return post("Transfer-Encoding: chunked\r\n", body); }
  static std::string line(const std::string& first) { return first + "\r\nHost: a\r\n\r\n"; }
};

void framing(table& t) {
  t.bad(1, "length_then_coding", t.post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
  t.bad(1, "coding_then_length", t.post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"));
  t.bad(2, "gzip_chunked", t.post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501);
  t.bad(3, "gzip_last", t.post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"));
  t.bad(3, "gzip_alone", t.post("Transfer-Encoding: gzip\r\n", "0\r\n\r\n"));
  t.bad(3, "xchunked", t.post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"));
  t.bad(4, "chunked_twice", t.post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"));
  t.bad(4, "two_lines", t.post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
  t.bad(4, "two_different_lines",
        t.post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"));
  t.bad(5, "in_http_1_0", "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  t.bad(6, "empty", t.post("Transfer-Encoding:\r\n", "0\r\n\r\n"));
  t.bad(6, "only_spaces", t.post("Transfer-Encoding:  \t \r\n", "0\r\n\r\n"));
  t.bad(6, "empty_element", t.post("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"));
  t.bad(6, "vertical_tab", t.post("Transfer-Encoding: \vchunked\r\n", "0\r\n\r\n"));
  t.bad(6, "form_feed", t.post("Transfer-Encoding: chunked\f\r\n", "0\r\n\r\n"));
  t.bad(6, "nul", t.post("Transfer-Encoding: chunked\0\r\n"s, "0\r\n\r\n"));
  t.bad(7, "parameter", t.post("Transfer-Encoding: chunked;x=1\r\n", "0\r\n\r\n"));
  t.bad(7, "identity", t.post("Transfer-Encoding: identity\r\n", "hello"));
  t.ok(8, "upper_case", t.post("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"));
  t.ok(8, "mixed_case", t.post("tRANSFER-eNCODING: \t cHuNkEd\r\n", "5\r\nhello\r\n0\r\n\r\n"));
  t.bad(9, "two_lengths", t.post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"));
  t.bad(10, "equal_lengths", t.post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"));
  t.bad(10, "list", t.post("Content-Length: 5, 5\r\n", "hello"));
  int n = 0;
  for (const char* value : {"+5", "-5", "-0", "0x5", "5_0", "5a", "\"5\"", "", "5 5", "5.0", "0b1", ","})
    t.bad(11, "length_" + std::to_string(n++), t.post("Content-Length: "s + value + "\r\n", "hello"));
  t.bad(12, "two_to_63", t.post("Content-Length: 9223372036854775808\r\n", "hello"));
  t.bad(12, "two_to_64_and_5", t.post("Content-Length: 18446744073709551621\r\n", "hello"));
  t.bad(12, "hundred_digits", t.post("Content-Length: " + std::string(100, '9') + "\r\n", "hello"));
  t.ok(13, "leading_zeros", t.post("Content-Length: 0005\r\n", "hello"));
  t.ok(13, "many_zeros", t.post("Content-Length: " + std::string(100, '0') + "5\r\n", "hello"));
  t.ok(13, "spaces", t.post("Content-Length: \t 5 \t \r\n", "hello"));
}

void head_lines(table& t) {
  t.bad(14, "space_before_colon", t.get("Accept : x\r\n"));
  t.bad(14, "tab_before_colon", t.get("Accept\t: x\r\n"));
  t.bad(14, "length_with_space", t.post("Content-Length : 5\r\n", "hello"));
  t.bad(15, "folded_by_space", t.get("A: b\r\n c\r\n"));
  t.bad(15, "folded_by_tab", t.get("A: b\r\n\tc\r\n"));
  t.bad(15, "folded_empty", t.get("A: b\r\n \r\n"));
  t.bad(16, "space_first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n");
  t.bad(16, "tab_first", "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n");
  t.bad(17, "empty_name", t.get(": x\r\n"));
  t.bad(17, "no_colon", t.get("Accept\r\n"));
  t.bad(17, "not_a_token", t.get("Acc@pt: x\r\n"));
  t.bad(17, "parentheses", t.get("Acc(e)pt: x\r\n"));
  t.bad(17, "eight_bit", t.get("Acc\xe9pt: x\r\n"));
  t.bad(17, "long_name_not_a_token", t.get("Abcdefghijklmnopqrstuvwxyz@abcdefghijkl: x\r\n"));
  t.bad(18, "nul", t.get("A: b\0c\r\n"s));
  t.bad(18, "control", t.get("A: b\x01c\r\n"));
  t.bad(18, "delete", t.get("A: b\x7f\r\n"));
  t.bad(18, "bare_cr", t.get("A: b\rc\r\n"));
  t.bad(18, "cr_cr_lf", t.get("A: b\r\r\n"));
  t.bad(18, "escape_far_in", t.get("A: " + std::string(50, 'b') + "\x1b[1m\r\n"));
  t.ok(18, "tab_and_eight_bit", t.get("A: b\tc\xe9\xff\x80\r\n"));
  t.ok(18, "empty_value", t.get("A:\r\nB: \t\r\n"));
  t.ok(19, "underscore", t.get("Content_Length: 5\r\n"));
  t.bad(20, "lf_after_request_line", "GET / HTTP/1.1\nHost: a\r\n\r\n");
  t.bad(20, "lf_after_field", "GET / HTTP/1.1\r\nHost: a\n\r\n");
  t.bad(20, "lf_at_the_end", "GET / HTTP/1.1\r\nHost: a\r\n\n");
  t.bad(20, "lf_only", "GET / HTTP/1.1\nHost: a\n\n");
  t.ok(21, "a_few_empty_lines", "\r\n\r\n\r\n" + t.get(""));
  t.bad(21, "many_empty_lines", "\r\n\r\n\r\n\r\n\r\n" + t.get(""));
  t.bad(21, "lf_first", "\n" + t.get(""));
  t.bad(21, "cr_first", "\r" + t.get(""));
  t.bad(22, "cr_x", "GET / HTTP/1.1\r\nHost: a\r\n\rX");
  t.bad(22, "cr_cr", "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n");
}

void request_lines(table& t) {
  t.bad(23, "http_0_9", "GET /\r\n");
  t.bad(23, "http_0_9_version", t.line("GET / HTTP/0.9"));
  t.bad(23, "lower_case", t.line("GET / http/1.1"));
  t.bad(23, "minor_01", t.line("GET / HTTP/1.01"));
  t.bad(23, "no_minor", t.line("GET / HTTP/1."));
  t.bad(23, "no_dot", t.line("GET / HTTP/11"));
  t.bad(23, "major_10", t.line("GET / HTTP/10.1"));
  t.bad(23, "other_name", t.line("GET / HTTQ/1.1"));
  t.bad(23, "trailing_space", t.line("GET / HTTP/1.1 "));
  t.bad(23, "nothing_but_a_method", t.line("GET"));
  t.ok(24, "minor_2", t.line("GET / HTTP/1.2"));
  t.ok(24, "minor_9", t.line("GET / HTTP/1.9"));
  t.bad(24, "major_2", t.line("GET / HTTP/2.0"), 505);
  t.bad(24, "major_9", t.line("GET / HTTP/9.9"), 505);
  t.bad(25, "preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
  t.bad(26, "two_spaces", t.line("GET  / HTTP/1.1"));
  t.bad(26, "two_spaces_before_version", t.line("GET /  HTTP/1.1"));
  t.bad(26, "tab_after_method", t.line("GET\t/ HTTP/1.1"));
  t.bad(26, "tab_before_version", t.line("GET /\tHTTP/1.1"));
  t.bad(26, "leading_space", t.line(" GET / HTTP/1.1"));
  t.bad(26, "space_in_target", t.line("GET /a b HTTP/1.1"));
  t.bad(27, "control", t.line("GET /\x01 HTTP/1.1"));
  t.bad(27, "delete", t.line("GET /\x7f HTTP/1.1"));
  t.bad(27, "nul", t.line("GET /\0 HTTP/1.1"s));
  t.bad(27, "eight_bit", t.line("GET /caf\xc3\xa9 HTTP/1.1"));
  t.bad(27, "eight_bit_far_in", t.line("GET /" + std::string(40, 'a') + "\x80 HTTP/1.1"));
  t.bad(27, "fragment", t.line("GET /#x HTTP/1.1"));
  t.bad(27, "empty", t.line("GET HTTP/1.1"));
  t.bad(27, "relative", t.line("GET hello HTTP/1.1"));
  t.ok(28, "absolute", t.line("GET http://example.org/ HTTP/1.1"));
  t.ok(28, "absolute_with_port", t.line("GET HTTP://example.org:8080/?x HTTP/1.1"));
  t.ok(28, "absolute_without_path", t.line("GET http://example.org HTTP/1.1"));
  t.bad(28, "https_without_tls", t.line("GET https://example.org/ HTTP/1.1"), 421);
  t.bad(28, "https_without_path", t.line("GET HTTPS://example.org HTTP/1.1"), 421);
  t.bad(28, "other_scheme", t.line("GET ftp://example.org/ HTTP/1.1"));
  t.bad(28, "absolute_with_userinfo", t.line("GET http://me@example.org/ HTTP/1.1"));
  t.bad(28, "absolute_without_host", t.line("GET http:/// HTTP/1.1"));
  t.bad(28, "absolute_and_no_host_field", "GET http://example.org/ HTTP/1.1\r\n\r\n");
  t.bad(29, "connect", t.line("CONNECT example.org:443 HTTP/1.1"), 501);
  t.bad(29, "get_star", t.line("GET * HTTP/1.1"));
  t.ok(29, "options_star", t.line("OPTIONS * HTTP/1.1"), 204);
}

void hosts(table& t) {
  const auto with = [](const std::string& lines) { return "GET / HTTP/1.1\r\n" + lines + "\r\n"; };
  t.bad(30, "missing", with(""));
  t.bad(30, "twice", with("Host: a\r\nHost: b\r\n"));
  t.bad(30, "twice_the_same", with("Host: a\r\nhost: a\r\n"));
  t.bad(30, "empty", with("Host:\r\n"));
  t.bad(30, "userinfo", with("Host: me@a\r\n"));
  t.bad(30, "slash", with("Host: a/b\r\n"));
  t.bad(30, "space", with("Host: a b\r\n"));
  t.bad(30, "list", with("Host: a, b\r\n"));
  t.bad(30, "port_not_a_number", with("Host: a:8x\r\n"));
  t.bad(30, "port_too_high", with("Host: a:65536\r\n"));
  t.bad(30, "two_ports", with("Host: a:1:2\r\n"));
  t.bad(30, "only_a_port", with("Host: :80\r\n"));
  t.bad(30, "bad_ipv6", with("Host: [::1\r\n"));
  t.bad(30, "not_ipv6", with("Host: [1.2.3.4]\r\n"));
  t.bad(30, "behind_ipv6", with("Host: [::1]x\r\n"));
  t.bad(30, "bad_escape", with("Host: a%zz\r\n"));
  t.bad(30, "eight_bit", with("Host: a\xe9\r\n"));
  t.ok(30, "name_and_port", with("Host: www.example.org:8080\r\n"));
  t.ok(30, "ipv6", with("Host: [2001:db8::1]:80\r\n"));
  t.ok(30, "escape", with("Host: a%20b\r\n"));
  t.ok(30, "none_in_http_1_0", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  t.bad(30, "twice_in_http_1_0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n");
  t.ok(31, "unknown", t.line("BREW / HTTP/1.1"), 501);
  t.ok(31, "lower_case", t.line("get / HTTP/1.1"), 501);
  t.bad(31, "long", t.line(std::string(100, 'A') + " / HTTP/1.1"), 501);
  t.bad(31, "very_long", t.line(std::string(20000, 'A') + " / HTTP/1.1"), 501);
  t.bad(31, "not_a_token", t.line("G(T / HTTP/1.1"));
  t.ok(32, "8000_bytes", t.line("GET /?" + std::string(7998, 'a') + " HTTP/1.1"));
  t.bad(32, "64_kib", t.line("GET /" + std::string(65535, 'a') + " HTTP/1.1"), 414);
}

void sizes(table& t) {
  t.bad(33, "one_long_field", t.get("A: " + std::string(40000, 'a') + "\r\n"), 431);
  std::string many;
  for (int i = 0; i != 400; ++i) many += "Name-of-a-field: " + std::string(100, 'a') + "\r\n";
  t.bad(33, "many_long_fields", t.get(many), 431);
  std::string short_ones;
  for (int i = 0; i != 150; ++i) short_ones += "A: b\r\n";
  t.bad(33, "too_many_fields", t.get(short_ones), 431);
  t.ok(33, "many_fields", t.get(short_ones.substr(0, 6 * 99)));
  // The limit on bodies is 1 MiB in the tests.
  t.cases.push_back({34, "by_length", t.post("Content-Length: 1048577\r\n", ""), 413, false, true});
  t.bad(34, "by_chunk", t.chunked("100001\r\nx"), 413);
  t.bad(34, "by_sum_of_chunks", t.chunked("5\r\nhello\r\nfffff\r\n"), 413);
}

void chunks(table& t) {
  t.ok(36, "plain", t.chunked("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"));
  t.ok(36, "hexadecimal", t.chunked("0A\r\n0123456789\r\n00\r\n\r\n"));
  int n = 0;
  for (const char* size : {"", "0x5", "+5", "-1", "5_0", "g", "h", "/", ":", "@", "`", "5g", "\x80"})
    t.bad(36, "size_" + std::to_string(n++), t.chunked(size + "\r\nhello\r\n0\r\n\r\n"s));
  t.bad(37, "17_digits", t.chunked("00000000000000005\r\nhello\r\n0\r\n\r\n"));
  t.bad(37, "17_digits_wrapping", t.chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"));
  t.bad(37, "all_f", t.chunked("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"));
  t.bad(37, "two_to_63", t.chunked("8000000000000000\r\nhello\r\n0\r\n\r\n"));
  t.bad(37, "endless", t.chunked(std::string(3000, '0')));
  t.ok(37, "16_digits", t.chunked("0000000000000005\r\nhello\r\n0\r\n\r\n"));
  t.bad(38, "space_before", t.chunked(" 5\r\nhello\r\n0\r\n\r\n"));
  t.bad(38, "space_behind", t.chunked("5 \r\nhello\r\n0\r\n\r\n"));
  t.bad(38, "tab_behind", t.chunked("5\t\r\nhello\r\n0\r\n\r\n"));
  t.ok(39, "extension", t.chunked("5;a=b\r\nhello\r\n0;c\r\n\r\n"));
  t.ok(39, "quoted_extension", t.chunked("5;a=\"b c;d\"\r\nhello\r\n0\r\n\r\n"));
  t.ok(39, "quotes_in_quotes", t.chunked("5;a=\"b\\\"c\\\\\";d\r\nhello\r\n0\r\n\r\n"));
  t.ok(39, "spaced_extension", t.chunked("5; a = b ; c\r\nhello\r\n0\r\n\r\n"));
  t.ok(39, "quoted_8_bit", t.chunked("5;a=\"b\x80\xff\\\xe9\"\r\nhello\r\n0\r\n\r\n"));
  t.ok(39, "several_with_spaces", t.chunked("5;a=\"b\" \t; c ;\td= e\r\nhello\r\n0\r\n\r\n"));
  n = 0;
  for (const char* wrong :
       {";a=b;", ";a=b;;c",      ";a=",           ";a= ",       ";a=\"x\"y",     ";a=b c",
        ";a b",  ";a=b=c",       ";a=b\"c\"",     ";a=\"x\" y", ";a=\"x\"\"y\"", ";a;",
        ";a ;",  ";a@b",         ";a=b@",         ";a=\x80",    ";\x80=b",       ";a=;b",
        " ;a=b", ";a=\"x\x7f\"", ";a=\"\\\x01\"", ";a ",        ";a=b ",         ";a=\"b\" "})
    t.bad(40, "wrong_" + std::to_string(n++), t.chunked("5"s + wrong + "\r\nhello\r\n0\r\n\r\n"));
  t.bad(40, "empty", t.chunked("5;\r\nhello\r\n0\r\n\r\n"));
  t.bad(40, "only_spaces", t.chunked("5; \r\nhello\r\n0\r\n\r\n"));
  t.bad(40, "control", t.chunked("5;a=\x01\r\nhello\r\n0\r\n\r\n"));
  t.bad(40, "lf", t.chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"));
  t.bad(40, "cr", t.chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"));
  t.bad(40, "no_name", t.chunked("5;=b\r\nhello\r\n0\r\n\r\n"));
  t.bad(40, "quote_without_end", t.chunked("5;a=\"b\r\nhello\r\n0\r\n\r\n"));
  t.bad(40, "quote_with_escaped_end", t.chunked("5;a=\"b\\\"\r\nhello\r\n0\r\n\r\n"));
  t.bad(40, "control_in_quotes", t.chunked("5;a=\"\x01\"\r\nhello\r\n0\r\n\r\n"));
  t.bad(41, "one_long_extension", t.chunked("5;a=" + std::string(5000, 'b') + "\r\nhello\r\n0\r\n\r\n"));
  std::string many;
  for (int i = 0; i != 60; ++i)
    many += "64;a=" + std::string(98, 'b') + "\r\n" + std::string(100, 'x') + "\r\n";
  t.bad(41, "many_extensions", t.chunked(many + "0\r\n\r\n"));
  t.bad(42, "lf_after_size", t.chunked("5\nhello\r\n0\r\n\r\n"));
  t.bad(42, "lf_after_data", t.chunked("5\r\nhello\n0\r\n\r\n"));
  t.bad(42, "lf_after_last_size", t.chunked("5\r\nhello\r\n0\n\r\n"));
  t.bad(42, "lf_at_the_end", t.chunked("5\r\nhello\r\n0\r\n\n"));
  t.bad(43, "longer_data", t.chunked("5\r\nhello!\r\n0\r\n\r\n"));
  t.bad(43, "cr_x_after_data", t.chunked("5\r\nhello\rX0\r\n\r\n"));
  std::string flood;
  for (int i = 0; i != 6000; ++i) flood += "1\r\nx\r\n";
  t.bad(44, "one_byte_chunks", t.chunked(flood + "0\r\n\r\n"));
  t.ok(44, "some_one_byte_chunks", t.chunked(flood.substr(0, 6 * 1000) + "0\r\n\r\n"));
}

void trailers(table& t) {
  t.ok(46, "trailers", t.chunked("5\r\nhello\r\n0\r\nDigest: x\r\nOther: y\r\n\r\n"));
  std::string flood;
  for (int i = 0; i != 100; ++i) flood += "A: b\r\n";
  t.bad(46, "flood", t.chunked("0\r\n" + flood + "\r\n"), 431);
  t.bad(46, "long_trailer", t.chunked("0\r\nA: " + std::string(10000, 'a') + "\r\n\r\n"), 431);
  t.bad(46, "lf", t.chunked("0\r\nA: b\n\r\n"));
  t.bad(46, "folded", t.chunked("0\r\nA: b\r\n c\r\n\r\n"));
  t.bad(46, "no_colon", t.chunked("0\r\nA\r\n\r\n"));
  t.ok(47, "forbidden_names",
       t.chunked("5\r\nhello\r\n0\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\nHost: b\r\n"
                 "Authorization: x\r\n\r\n"));
  t.ok(48, "expect_continue", t.post("Expect: 100-Continue\r\nContent-Length: 5\r\n", "hello"));
  t.bad(49, "other_expectation", t.post("Expect: miracles\r\nContent-Length: 5\r\n", "hello"), 417);
  t.ok(49, "in_http_1_0", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nExpect: miracles\r\n\r\n");
  t.ok(50, "get_with_body", t.get("Content-Length: 5\r\n") + "hello");
  t.ok(50, "get_with_chunks", t.get("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n");
  t.ok(50, "head_with_body", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  t.ok(50, "options_with_body", "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 204);
}

void files(table& t) {
  const auto file = [&](int row, const char* name, const std::string& path, const std::string& lines,
                        int status) {
    t.ok(row, name, "GET /files/" + path + " HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n", status);
  };
  file(61, "inside", "ten", "", 200);
  int n = 0;
  for (const char* path : {"../secret", "ten/../../secret", "%2e%2e/secret", "..%2fsecret", "..%5csecret",
                           "/ten", "./ten", "link-out", "%252e%252e/secret", "ten/", "ten%2f"})
    file(61, ("outside_" + std::to_string(n++)).c_str(), path, "", 404);
  file(61, "nul", "ten%00.txt", "", 400);
  std::string many = "Range: bytes=0-0";
  for (int i = 0; i != 500; ++i) many += ",2-3";
  file(62, "many_ranges", "ten", many + "\r\n", 200);
  file(62, "overlapping_ranges", "ten", "Range: bytes=0-5,5-9\r\n", 200);
  file(62, "two_ranges", "ten", "Range: bytes=0-1,8-\r\n", 206);
  file(62, "two_lines", "ten", "Range: bytes=0-1\r\nRange: bytes=0-1\r\n", 200);
  file(62, "empty_elements", "ten", "Range: bytes=,1-2,\r\n", 206);
  file(63, "two_to_63_first", "ten", "Range: bytes=9223372036854775808-\r\n", 416);
  file(63, "two_to_63_last", "ten", "Range: bytes=1-9223372036854775808\r\n", 206);
  file(63, "two_to_64_suffix", "ten", "Range: bytes=-18446744073709551616\r\n", 206);
  file(63, "minus_zero", "ten", "Range: bytes=-0\r\n", 416);
  file(63, "reversed", "ten", "Range: bytes=5-4\r\n", 200);
}

void applications(table& t) {
  for (const char* what : {"value", "name", "nul", "framing"})
    t.ok(64, what, t.line("GET /bad/"s + what + " HTTP/1.1"), 500);
  t.ok(65, "once", t.line("GET /hello/%2541%250d%250a HTTP/1.1"));
  int n = 0;
  for (const char* escape : {"%", "%4", "%zz", "%00", "%0d%0aX:y", "%7f", "%1b"})
    t.ok(65, "refused_" + std::to_string(n++), t.line("GET /hello/a"s + escape + " HTTP/1.1"), 400);
  t.ok(66, "eight_bit_for_the_log", t.get("User-Agent: a\xff\x9b\"\\\r\n"));
  const auto expand = [&](const std::string& coding, const std::string& body) {
    return "POST /expand HTTP/1.1\r\nHost: a\r\nContent-Encoding: " + coding +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  };
  const auto closes = [&](std::string name, std::string input, int status) {
    t.cases.push_back({67, std::move(name), std::move(input), status, false, true});
  };
  t.ok(67, "expanded", expand("gzip", gzip("hello")));
  t.ok(67, "up_to_the_limit", expand("gzip", gzip(std::string(10'000, 'x'))));
  t.ok(67, "several_members", expand("gzip", gzip("he") + gzip("") + gzip("llo")));
  t.ok(67, "identity", expand("identity", "hello"));
  t.ok(67, "two_codings", expand("gzip, gzip", gzip(gzip("hello"))), 415);
  t.ok(67, "empty_elements", expand(", gzip,", gzip("hello")));
  t.ok(67, "two_lines", expand("identity\r\nContent-Encoding: gzip", gzip("hello")), 415);
  t.ok(67, "unknown_coding", expand("br", "x"), 415);
  closes("bomb", expand("gzip", gzip(std::string(1'000'000, 'x'))), 413);
  closes("no_gzip", expand("gzip", "hello"), 400);
  closes("cut_short", expand("gzip", gzip("hello").substr(0, 15)), 400);
  closes("second_cut_short", expand("gzip", gzip("hello") + gzip("hello").substr(0, 15)), 400);
  closes("more_behind", expand("gzip", gzip("hello") + "x"), 400);
  const std::string up = "Connection: Upgrade\r\nUpgrade: nothing\r\n";
  t.ok(68, "with_a_body", "GET /up HTTP/1.1\r\nHost: a\r\n" + up + "Content-Length: 5\r\n\r\nhello", 400);
  t.ok(68, "with_chunks",
       "GET /up HTTP/1.1\r\nHost: a\r\n" + up + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 400);
  t.ok(68, "by_post", "POST /up HTTP/1.1\r\nHost: a\r\n" + up + "\r\n", 400);
  t.ok(68, "where_there_is_none", "GET / HTTP/1.1\r\nHost: a\r\n" + up + "\r\n");
  t.ok(69, "in_http_1_0",
       "GET /up HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: nothing\r\n\r\n");
}

std::vector<http_case> make() {
  table t;
  framing(t);
  head_lines(t);
  request_lines(t);
  hosts(t);
  sizes(t);
  chunks(t);
  trailers(t);
  files(t);
  applications(t);
  return std::move(t.cases);
}

}  // namespace

const std::vector<http_case>& http_cases() {
  static const std::vector<http_case> cases = make();
  return cases;
}

}  // namespace catenet::test
