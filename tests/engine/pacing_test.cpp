// Connections within the host are not paced, where the system's congestion control does so.
#include "pacing.hpp"

#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <future>
#include <string>

namespace {

using namespace catenet;
using namespace catenet::test;

std::string control_of(int fd) {
  std::array<char, 16> name{};
  socklen_t length = name.size();
  EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &length), 0);
  return name.data();
}

/// A TCP socket as the system makes them.
struct plain_socket {
  plain_socket() = default;
  ~plain_socket() { close(fd); }
  plain_socket(const plain_socket&) = delete;
  plain_socket& operator=(const plain_socket&) = delete;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

// The congestion controls of an accepted stream and of the one that an engine dialled to it.
std::pair<std::string, std::string> controls_within_host(bool pace_within_host) {
  engine_options o;
  o.pace_within_host = pace_within_host;
  std::promise<std::string> accepted;
  std::promise<std::string> dialled;
  const handlers own{.opened = [&](stream& s) { dialled.set_value(control_of(s.descriptor())); }};
  engine_host host({.opened = [&](stream& s) { accepted.set_value(control_of(s.descriptor())); }}, o);
  host.start();
  scripted caller(own);
  host.on_core([&] {
    error why;
    EXPECT_NE(core::current()->connect(host.at(), caller, why), nullptr) << why.text();
  });
  std::pair<std::string, std::string> found{accepted.get_future().get(), dialled.get_future().get()};
  host.stop();
  return found;
}

TEST(pacing, is_left_out_within_the_host) {
  const std::string usual = control_of(plain_socket{}.fd);
  const std::string wanted = usual.starts_with("bbr") ? "reno" : usual;
  EXPECT_EQ(controls_within_host(false), std::pair(wanted, wanted));
}

TEST(pacing, is_left_alone_where_that_is_asked_for) {
  const std::string usual = control_of(plain_socket{}.fd);
  EXPECT_EQ(controls_within_host(true), std::pair(usual, usual));
}

TEST(pacing, stays_where_others_can_be) {
  for (const auto& [address, paced] : {std::pair{"127.0.0.1:80", false},
                                       {"127.200.1.2:80", false},
                                       {"128.0.0.1:80", true},
                                       {"0.0.0.0:80", true},
                                       {"10.127.0.1:80", true}}) {
    const plain_socket tried;
    if (setsockopt(tried.fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3) != 0)
      GTEST_SKIP() << "there is no bbr: " << strerrorname_np(errno);
    endpoint where;
    ASSERT_FALSE(endpoint::parse(address, where));
    leave_out_pacing(tried.fd, where);
    EXPECT_EQ(control_of(tried.fd), paced ? "bbr" : "reno") << address;
  }
}

}  // namespace
