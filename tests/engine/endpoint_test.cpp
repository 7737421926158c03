// Addresses as text and back, and errors as text.
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <string_view>

namespace {

using namespace std::string_view_literals;
using catenet::endpoint;
using catenet::error;
using testing::HasSubstr;

struct good {
  std::string_view text;
  int family;
  std::uint16_t port;
  std::string_view host;
  std::string_view back;
};

TEST(endpoint, reads_and_writes) {
  const std::string longest = "unix:/" + std::string(106, 'p');
  const std::string longest_host = longest;
  const good table[] = {
      {"127.0.0.1:80", AF_INET, 80, "127.0.0.1", "127.0.0.1:80"},
      {"0.0.0.0:0", AF_INET, 0, "0.0.0.0", "0.0.0.0:0"},
      {"255.255.255.255:65535", AF_INET, 65535, "255.255.255.255", "255.255.255.255:65535"},
      {"localhost:8080", AF_INET, 8080, "127.0.0.1", "127.0.0.1:8080"},
      {"[::1]:443", AF_INET6, 443, "::1", "[::1]:443"},
      {"[::]:1", AF_INET6, 1, "::", "[::]:1"},
      {"[2001:DB8::0:1]:9", AF_INET6, 9, "2001:db8::1", "[2001:db8::1]:9"},
      {"[::ffff:1.2.3.4]:9", AF_INET6, 9, "::ffff:1.2.3.4", "[::ffff:1.2.3.4]:9"},
      {"*:7", AF_INET6, 7, "::", "[::]:7"},
      {"unix:/run/app.sock", AF_UNIX, 0, "unix:/run/app.sock", "unix:/run/app.sock"},
      {"unix:relative", AF_UNIX, 0, "unix:relative", "unix:relative"},
      {"unix:/a:80", AF_UNIX, 0, "unix:/a:80", "unix:/a:80"},
      {"unix:@abstract", AF_UNIX, 0, "unix:@abstract", "unix:@abstract"},
      {longest, AF_UNIX, 0, longest_host, longest},
  };
  for (const good& row : table) {
    endpoint at;
    const error e = endpoint::parse(row.text, at);
    ASSERT_FALSE(e) << row.text << ": " << e.text();
    EXPECT_EQ(at.family(), row.family) << row.text;
    EXPECT_EQ(at.port(), row.port) << row.text;
    EXPECT_EQ(at.host(), row.host) << row.text;
    EXPECT_EQ(at.text(), row.back) << row.text;
    EXPECT_EQ(at.is_unix(), row.family == AF_UNIX);
    EXPECT_EQ(at.path(), row.family == AF_UNIX ? row.text.substr(5) : ""sv);
    // What the kernel would give back reads the same.
    EXPECT_EQ(endpoint::from(at.address(), at.length()).text(), row.back);
    // And what was written is read again.
    endpoint again;
    EXPECT_FALSE(endpoint::parse(at.text(), again));
    EXPECT_EQ(again.text(), row.back);
  }
}

TEST(endpoint, refuses_and_says_why) {
  const std::string too_long = "unix:" + std::string(108, 'p');
  const std::pair<std::string_view, std::string_view> table[] = {
      {"", "no port"},
      {"127.0.0.1", "no port"},
      {"127.0.0.1:", "not a number"},
      {"127.0.0.1:65536", "not a number"},
      {"127.0.0.1:-1", "not a number"},
      {"127.0.0.1:+1", "not a number"},
      {"127.0.0.1: 1", "not a number"},
      {"127.0.0.1:1x", "not a number"},
      {"127.0.0.1:http", "not a number"},
      {":80", "no IPv4"},
      {"example.org:80", "names are not looked up"},
      {"256.0.0.1:80", "no IPv4"},
      {"1.2.3:80", "no IPv4"},
      {"127.0.0.1\0x:80"sv, "no IPv4"},
      {"::1:80", "no IPv4"},
      {"[]:80", "no IPv4"},
      {"[::1:80", "no IPv4"},
      {"[::g]:80", "no IPv6"},
      {"[::1\0]:80"sv, "no IPv6"},
      {"[127.0.0.1]:80", "no IPv6"},
      {"unix:", "path is empty"},
      {"unix:/a\0b"sv, "NUL"},
      {too_long, "longer than 107 bytes"},
  };
  for (const auto& [text, why] : table) {
    endpoint at;
    const error e = endpoint::parse(text, at);
    ASSERT_TRUE(e) << text << " was taken as " << at.text();
    EXPECT_THAT(e.text(), HasSubstr(why)) << text;
    EXPECT_EQ(at.length(), 0u) << "the target stays as it was";
  }
}

TEST(endpoint, by_default_is_nowhere) {
  const endpoint none;
  EXPECT_EQ(none.text(), "");
  EXPECT_EQ(none.host(), "");
  EXPECT_EQ(none.path(), "");
  EXPECT_EQ(none.port(), 0);
  EXPECT_EQ(none.length(), 0u);
}

TEST(endpoint, of_an_unnamed_unix_peer) {
  sockaddr_storage bare{};
  bare.ss_family = AF_UNIX;
  const endpoint at = endpoint::from(reinterpret_cast<sockaddr*>(&bare), sizeof(sa_family_t));
  EXPECT_TRUE(at.is_unix());
  EXPECT_EQ(at.path(), "");
  EXPECT_EQ(at.text(), "unix:");
}

TEST(error_text, says_what_was_tried_on_what_and_why) {
  EXPECT_EQ((error{"bind", "127.0.0.1:80", EACCES, "be root"}).text(),
            "bind 127.0.0.1:80: EACCES (Permission denied); be root");
  EXPECT_EQ((error{"listen", "", EADDRINUSE, ""}).text(), "listen: EADDRINUSE (Address already in use)");
  EXPECT_EQ((error{"parse address", "\"x\"", 0, "no"}).text(), "parse address \"x\"; no");
  EXPECT_FALSE(error{});
  EXPECT_EQ(catenet::errno_text(0), "0");
  EXPECT_EQ(catenet::errno_text(12345), "errno 12345");
}

TEST(endpoint, knows_where_only_this_host_can_be) {
  for (const auto& [text, loopback] : {std::pair{"127.0.0.1:80"sv, true},
                                       {"127.255.0.9:80"sv, true},
                                       {"localhost:80"sv, true},
                                       {"[::1]:80"sv, true},
                                       {"[::ffff:127.0.0.1]:80"sv, true},
                                       {"[::ffff:10.0.0.1]:80"sv, false},
                                       {"[::127.0.0.1]:80"sv, false},
                                       {"[7f00::1]:80"sv, false},
                                       {"*:80"sv, false},
                                       {"0.0.0.0:80"sv, false},
                                       {"126.0.0.1:80"sv, false},
                                       {"unix:/127.0.0.1"sv, false}}) {
    endpoint e;
    ASSERT_FALSE(endpoint::parse(text, e)) << text;
    EXPECT_EQ(e.is_loopback(), loopback) << text;
  }
  EXPECT_FALSE(endpoint{}.is_loopback());
}

}  // namespace
