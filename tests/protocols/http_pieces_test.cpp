// The parts of the HTTP server that are pure: conditions, ranges, dates, forms, cookies, addresses, PROXY
// headers, content codings, events.
#include <catenet/http/cookie.hpp>
#include <catenet/http/event_stream.hpp>
#include <catenet/http/form.hpp>
#include <catenet/http/head_parser.hpp>
#include <catenet/http/response_head.hpp>

#include "http/address_set.hpp"
#include "http/conditional.hpp"
#include "http/content_coding.hpp"
#include "http/mime.hpp"
#include "http/proxy_header.hpp"
#include "support/gzip.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

namespace catenet::test {
namespace {

using namespace http;

class http_pieces : public testing::Test {
 protected:
  // The fields of a request with these lines.
  const fields& with(const std::string& lines) {
    text_ = chain::copy_of("GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n");
    head_parser parser;
    EXPECT_EQ(parser.next(text_, limits{}, head_), head_parser::progress::complete);
    return head_.fields;
  }

  depot depot_;
  pool pool_{depot_};
  chain text_;
  request_head head_;
};

TEST_F(http_pieces, dates_are_read_in_all_three_forms_and_written_in_the_first) {
  for (const char* text :
       {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"})
    EXPECT_EQ(read_http_date(text), 784111777) << text;
  EXPECT_EQ(read_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  EXPECT_EQ(read_http_date("Tue, 29 Feb 2028 23:59:60 GMT"), 1835481600);
  for (const char* bad : {"", ",", "x", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT ",
                          "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT",
                          "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 32 Nov 1994 08:00:00 GMT",
                          "Sun, 06 ovD 1994 08:49:37 GMT", "Sun Nov  6 08:49:37 94", "784111777"})
    EXPECT_EQ(read_http_date(bad), std::nullopt) << bad;
  for (const std::int64_t s :
       {std::int64_t{0}, std::int64_t{784111777}, std::int64_t{951782400}, std::int64_t{4102444800}}) {
    char text[http_date_bytes];
    write_http_date(text, s);
    EXPECT_EQ(read_http_date({text, sizeof text}), s);
  }
}

TEST_F(http_pieces, preconditions_follow_rfc_9110) {
  const validators v{"\"abc\"", 784111777};
  const auto check = [&](const std::string& lines, method m = method::get) {
    return check_preconditions(with(lines), m, v);
  };
  EXPECT_EQ(check(""), 0);
  EXPECT_EQ(check("If-None-Match: \"abc\"\r\n"), 304);
  EXPECT_EQ(check("If-None-Match: W/\"abc\"\r\n"), 304);
  EXPECT_EQ(check("If-None-Match: \"x\", \"abc\"\r\n"), 304);
  EXPECT_EQ(check("If-None-Match: \"x\"\r\nIf-None-Match: \"abc\"\r\n"), 304);
  EXPECT_EQ(check("If-None-Match: *\r\n"), 304);
  EXPECT_EQ(check("If-None-Match: \"x\"\r\n"), 0);
  EXPECT_EQ(check("If-None-Match: abc\r\n"), 0);
  EXPECT_EQ(check("If-None-Match: W/\r\n"), 0);
  EXPECT_EQ(check("If-None-Match: \"abc\r\n"), 0);
  EXPECT_EQ(check("If-None-Match: \"abc\"\r\n", method::put), 412);
  EXPECT_EQ(check("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), 304);
  EXPECT_EQ(check("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n"), 0);
  EXPECT_EQ(check("If-Modified-Since: yesterday\r\n"), 0);
  EXPECT_EQ(check("If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), 0)
      << "the tag counts";
  EXPECT_EQ(check("If-Match: \"abc\"\r\n"), 0);
  EXPECT_EQ(check("If-Match: W/\"abc\"\r\n"), 412) << "a strong comparison";
  EXPECT_EQ(check("If-Match: *\r\n"), 0);
  EXPECT_EQ(check("If-Match: \"x\"\r\n"), 412);
  EXPECT_EQ(check("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n"), 412);
  EXPECT_EQ(check("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), 0);
  EXPECT_TRUE(range_applies(with(""), v));
  EXPECT_TRUE(range_applies(with("If-Range: \"abc\"\r\n"), v));
  EXPECT_FALSE(range_applies(with("If-Range: W/\"abc\"\r\n"), v));
  EXPECT_FALSE(range_applies(with("If-Range: \"x\"\r\n"), v));
  EXPECT_FALSE(range_applies(with("If-Range: \"abc\"\r\nIf-Range: \"abc\"\r\n"), v)) << "one, or none";
  EXPECT_TRUE(range_applies(with("If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), v));
  EXPECT_FALSE(range_applies(with("If-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n"), v));
}

// "whole", "416", or the ranges as "first+bytes ".
std::string ranges_of(std::string_view value, std::uint64_t size) {
  range_set set;
  switch (set.read(value, size)) {
    case range_set::verdict::whole:
      return "whole";
    case range_set::verdict::unsatisfiable:
      return "416";
    case range_set::verdict::parts:
      break;
  }
  std::string text;
  for (const byte_range& r : set.parts())
    text += std::to_string(r.first) + "+" + std::to_string(r.bytes) + " ";
  return text;
}

TEST_F(http_pieces, rows_62_and_63_ranges) {
  EXPECT_EQ(ranges_of("bytes=0-0", 100), "0+1 ");
  EXPECT_EQ(ranges_of("BYTES=10-", 100), "10+90 ");
  EXPECT_EQ(ranges_of("bytes=-10", 100), "90+10 ");
  EXPECT_EQ(ranges_of("bytes=-1000", 100), "0+100 ");
  EXPECT_EQ(ranges_of("bytes=50-1000", 100), "50+50 ");
  EXPECT_EQ(ranges_of("bytes=0-1, 5-6 ,-1", 100), "0+2 5+2 99+1 ");
  EXPECT_EQ(ranges_of("bytes=100-, 0-0", 100), "0+1 ") << "what cannot be satisfied is left out";
  EXPECT_EQ(ranges_of("bytes=,1-2, ,5-5,", 100), "1+2 5+1 ") << "RFC 9110 §5.6.1.2";
  EXPECT_EQ(ranges_of("bytes=100-200,", 100), "416");
  EXPECT_EQ(ranges_of("bytes=100-200", 100), "416");
  EXPECT_EQ(ranges_of("bytes=-0", 100), "416");
  EXPECT_EQ(ranges_of("bytes=0-", 0), "416");
  EXPECT_EQ(ranges_of("bytes=9223372036854775808-", 100), "416");
  EXPECT_EQ(ranges_of("bytes=0-9223372036854775808", 100), "0+100 ");
  EXPECT_EQ(ranges_of("bytes=0-99999999999999999999999999", 100), "0+100 ");
  for (const char* ignored :
       {"bytes=5-4", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes=,", "bytes= , ,", "bytes=0x1-5",
        "bytes=+1-5", "bytes 0-1", "lines=0-1", "", "bytes=0-1;5-6"})
    EXPECT_EQ(ranges_of(ignored, 100), "whole") << ignored;
  EXPECT_EQ(ranges_of("bytes=0-50,40-60", 100), "whole") << "overlapping";
  EXPECT_EQ(ranges_of("bytes=0-,0-", 100), "whole");
  EXPECT_EQ(ranges_of("bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14", 100),
            "0+1 2+1 4+1 6+1 8+1 10+1 12+1 14+1 ");
  EXPECT_EQ(ranges_of("bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16", 100), "whole") << "too many";
}

TEST_F(http_pieces, codings_are_weighed) {
  const auto weight = [&](const std::string& value, const char* coding) {
    return coding_weight(with("Accept-Encoding: " + value + "\r\n"), coding);
  };
  EXPECT_EQ(coding_weight(with(""), "gzip"), 0u);
  EXPECT_EQ(weight("gzip, br", "gzip"), 1000u);
  EXPECT_EQ(weight("GZIP;q=0.5", "gzip"), 500u);
  EXPECT_EQ(weight("gzip ; q=0.125, *;q=0.3", "gzip"), 125u);
  EXPECT_EQ(weight("gzip;q=0, *;q=0.3", "gzip"), 0u);
  EXPECT_EQ(weight("*;q=0.3", "br"), 300u);
  EXPECT_EQ(weight("identity", "br"), 0u);
  EXPECT_EQ(weight("gzip;q=1.000", "gzip"), 1000u);
  EXPECT_EQ(weight("gzip;level=9", "gzip"), 0u) << "not understood, not taken";
}

TEST_F(http_pieces, media_types) {
  EXPECT_EQ(media_type_of("/a/b/index.HTML"), "text/html; charset=utf-8");
  EXPECT_EQ(media_type_of("x.woff2"), "font/woff2");
  EXPECT_EQ(media_type_of("x"), "application/octet-stream");
  EXPECT_EQ(media_type_of("/a.b/x"), "application/octet-stream");
  EXPECT_EQ(media_type_of("x.averyverylongending"), "application/octet-stream");
  EXPECT_TRUE(is_compressible(media_type_of("a.svg")));
  EXPECT_TRUE(is_compressible("application/problem+json"));
  EXPECT_FALSE(is_compressible(media_type_of("a.png")));
}

TEST_F(http_pieces, forms) {
  const form f = form::parse("a=1&b=x+y%20z&&c&d=%zz%4&=e&a=2&%C3%A9=%26%3D");
  EXPECT_EQ(f.size(), 7u);
  EXPECT_EQ(f.find("a"), "1");
  EXPECT_EQ(f.find("b"), "x y z");
  EXPECT_EQ(f.find("c"), "");
  EXPECT_EQ(f.find("d"), "%zz%4");
  EXPECT_EQ(f.find(""), "e");
  EXPECT_EQ(f.find("\xc3\xa9"), "&=");
  EXPECT_EQ(f.find("z"), std::nullopt);
  EXPECT_EQ(form::parse("").size(), 0u);
  std::string many;
  for (int i = 0; i != 3000; ++i) many += "a=b&";
  EXPECT_EQ(form::parse(many).size(), form::pairs_max);
  EXPECT_EQ(query_value("a=1&b=2", "b"), "2");
  EXPECT_EQ(query_value("a=1&b=2", "c"), std::nullopt);
}

TEST_F(http_pieces, cookies) {
  EXPECT_EQ(cookie_in("a=1; bb=2;c=\"3\" ; d", "bb"), "2");
  EXPECT_EQ(cookie_in("a=1; bb=2;c=\"3\" ; d", "c"), "3");
  EXPECT_EQ(cookie_in("a=1; bb=2", "b"), std::nullopt);
  EXPECT_EQ(cookie_in("a=1; bb=2", "B"), std::nullopt);
  EXPECT_EQ(cookie_in("", "a"), std::nullopt);
  EXPECT_EQ(cookie_in(";;=;a", "a"), std::nullopt);
  EXPECT_EQ(set_cookie_value("a", "b", {}), "a=b; Path=/; HttpOnly; SameSite=Lax");
  EXPECT_EQ(set_cookie_value("a", "",
                             {.path = "",
                              .domain = "x.org",
                              .max_age_s = 0,
                              .secure = true,
                              .http_only = false,
                              .same_site = same_site::none}),
            "a=; Domain=x.org; Max-Age=0; Secure; SameSite=None");
  for (const char* bad : {"b;c", "b c", "b,c", "b\"", "b\\", "b\r\nX: y", "\xe9"})
    EXPECT_EQ(set_cookie_value("a", bad, {}), "");
  EXPECT_EQ(set_cookie_value("a b", "c", {}), "");
  EXPECT_EQ(set_cookie_value("a", "c", {.path = "/;x"}), "");
}

TEST_F(http_pieces, events) {
  EXPECT_EQ(event_stream::text_of("one", "", ""), "data: one\n\n");
  EXPECT_EQ(event_stream::text_of("one\ntwo\r\nthree\rfour", "n", "7"),
            "event: n\nid: 7\ndata: one\ndata: two\ndata: three\ndata: four\n\n");
  EXPECT_EQ(event_stream::text_of("", "a\nb", "c\rd"), "data: \n\n");
}

TEST_F(http_pieces, addresses) {
  address_set set;
  for (const char* good : {"10.0.0.0/8", "192.168.1.7", "fd00::/9", "::1", "0.0.0.0/0"}) {
    address_set one;
    EXPECT_TRUE(one.add(good)) << good;
  }
  for (const char* bad : {"", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/x", "a", "10.0.0"})
    EXPECT_FALSE(set.add(bad)) << bad;
  set.add("10.0.0.0/9");
  set.add("fd00::/9");
  set.add("192.168.1.7");
  const auto has = [&](const char* text) { return set.contains(*ip_address::parse(text)); };
  EXPECT_TRUE(has("10.127.255.255"));
  EXPECT_FALSE(has("10.128.0.0"));
  EXPECT_TRUE(has("192.168.1.7:80"));
  EXPECT_FALSE(has("192.168.1.8"));
  EXPECT_TRUE(has("[fd7f::1]:80"));
  EXPECT_FALSE(has("fd80::1"));
  EXPECT_EQ(ip_address::parse("1.2.3.4:5")->text(), "1.2.3.4");
  EXPECT_EQ(ip_address::parse("unknown"), std::nullopt);
  EXPECT_EQ(ip_address::parse("2001:db8:1:2:3::4")->network().text(), "2001:db8:1:2::");
}

TEST_F(http_pieces, proxy_headers_whole_and_cut_short) {
  using progress = proxy_header::progress;
  const auto read = [](std::string_view bytes, proxy_header& h) { return h.read(as_bytes(bytes)); };
  const std::string binary_four = std::string{"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 16} +
                                  std::string{"\x01\x02\x03\x04\x05\x06\x07\x08\x12\x34\0\x50", 12};
  const std::string binary_six = std::string{"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x25", 16} +
                                 std::string(15, '\0') + "\x01" + std::string(16, '\0') +
                                 std::string{"\x12\x34\0\x50\x04", 5};
  struct {
    std::string bytes, source;
  } const good[] = {{"PROXY TCP4 1.2.3.4 5.6.7.8 4660 80\r\n", "1.2.3.4:4660"},
                    {"PROXY TCP6 ::1 ::2 4660 80\r\n", "[::1]:4660"},
                    {"PROXY UNKNOWN\r\n", ""},
                    {"PROXY UNKNOWN whatever it is\r\n", ""},
                    {binary_four, "1.2.3.4:4660"},
                    {binary_six, "[::1]:4660"},
                    {std::string{"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16}, ""}};
  for (const auto& c : good) {
    proxy_header h;
    EXPECT_EQ(read(c.bytes + "GET", h), progress::complete) << c.bytes;
    EXPECT_EQ(h.bytes, c.bytes.size());
    EXPECT_EQ(h.source ? h.source->text() : "", c.source);
    for (std::size_t cut = 0; cut != c.bytes.size(); ++cut) {
      proxy_header part;
      EXPECT_EQ(read(std::string_view{c.bytes}.substr(0, cut), part), progress::more)
          << c.source << " cut at " << cut;
    }
  }
  for (const std::string& bad :
       {std::string{"GET / HTTP/1.1\r\n"}, std::string{"PROXY TCP4 1.2.3.4 5.6.7.8 4660\r\n"},
        std::string{"PROXY TCP4 ::1 ::2 1 2\r\n"}, std::string{"PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n"},
        std::string{"PROXY TCP4 1.2.3.4 5.6.7.8 01 80\r\n"},
        std::string{"PROXY  TCP4 1.2.3.4 5.6.7.8 1 80\r\n"},
        std::string{"PROXY TCP4 1.2.3.4 5.6.7.8 1 80 \r\n"}, "PROXY " + std::string(120, 'x'),
        std::string{"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c", 16} + std::string(12, 'x'),
        std::string{"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c", 16} + std::string(12, 'x'),
        std::string{"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x08", 16} + std::string(8, 'x'),
        std::string{"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", 16}}) {
    proxy_header h;
    EXPECT_EQ(read(bad, h), progress::broken) << bad;
  }
}

std::string text_of_size(std::size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i * i) + "\n";
  text.resize(bytes);
  return text;
}

TEST_F(http_pieces, gzip_there_and_back) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{5000}, std::size_t{300'000}}) {
    const std::string text = text_of_size(bytes);
    const auto packs = compressor::make(coding::gzip, 5);
    chain packed;
    const chain half = chain::copy_of(text.substr(0, bytes / 2));
    ASSERT_TRUE(packs->add(half, packed, compressor::until::flush));
    const auto expands = expander::make("gzip", bytes);
    chain plain;
    EXPECT_EQ(expands->add(packed, plain), expander::progress::more);
    EXPECT_EQ(plain.to_string(), text.substr(0, bytes / 2)) << "a flush lets everything through";
    packed.clear();
    ASSERT_TRUE(packs->add(chain::copy_of(text.substr(bytes / 2)), packed, compressor::until::end));
    EXPECT_EQ(expands->add(packed, plain), expander::progress::end);
    EXPECT_EQ(plain.to_string(), text);
    EXPECT_EQ(plain.validate(), nullptr);
    EXPECT_EQ(expands->add(chain::copy_of("x"), plain), expander::progress::broken) << "nothing may follow";
  }
}

TEST_F(http_pieces, gzip_may_have_several_members) {
  const std::string members = gzip("hello, ") + gzip("") + gzip("world");
  for (std::size_t cut = 0; cut <= members.size(); ++cut) {
    const auto expands = expander::make("gzip", 100);
    chain plain;
    expands->add(chain::copy_of(members.substr(0, cut)), plain);
    EXPECT_EQ(expands->add(chain::copy_of(members.substr(cut)), plain), expander::progress::end) << cut;
    EXPECT_EQ(plain.to_string(), "hello, world") << cut;
  }
  std::string many;
  for (int i = 0; i != 1000; ++i) many += gzip("x");
  const auto expands = expander::make("gzip", 1000);
  chain plain;
  EXPECT_EQ(expands->add(chain::copy_of(many), plain), expander::progress::end);
  EXPECT_EQ(plain.to_string(), std::string(1000, 'x'));
  std::size_t rented = 0;
  for (const auto& of : depot_.statistics().classes) rented += of.rented * of.size;
  EXPECT_LT(rented, 200'000u) << "small members do not take a block each";
  EXPECT_EQ(expands->add(chain::copy_of(gzip("x")), plain), expander::progress::too_long);
  const auto other = expander::make("deflate", 100);
  EXPECT_EQ(other->add(chain::copy_of(members), plain), expander::progress::broken) << "gzip has members";
}

TEST_F(http_pieces, row_67_expanding_ends_at_its_limit) {
  const auto packs = compressor::make(coding::gzip, 9);
  chain packed;
  ASSERT_TRUE(packs->add(chain::copy_of(std::string(10'000'000, 'x')), packed, compressor::until::end));
  EXPECT_LT(packed.bytes(), 20'000u);
  const auto expands = expander::make("gzip", 100'000);
  chain plain;
  EXPECT_EQ(expands->add(packed, plain), expander::progress::too_long);
  EXPECT_LT(plain.bytes(), 200'000u);
  chain unused;
  EXPECT_EQ(expander::make("gzip", 1000)->add(chain::copy_of("this is not gzip"), unused),
            expander::progress::broken);
  EXPECT_EQ(expander::make("br", 1000), nullptr);
}

TEST_F(http_pieces, brotli_makes_it_smaller) {
  const std::string text = text_of_size(100'000);
  const auto packs = compressor::make(coding::brotli, 5);
  chain packed;
  ASSERT_TRUE(packs->add(chain::copy_of(text), packed, compressor::until::flush));
  EXPECT_GT(packed.bytes(), 100u);
  ASSERT_TRUE(packs->add(chain{}, packed, compressor::until::end));
  EXPECT_LT(packed.bytes(), text.size() / 2);
  EXPECT_EQ(packed.validate(), nullptr);
}

}  // namespace
}  // namespace catenet::test
