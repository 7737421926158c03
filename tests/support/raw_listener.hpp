// A listening socket whose connections a test plays by hand: a server as bad as it needs to be.
#pragma once

#include "support/client.hpp"

#include <poll.h>

#include <string>

namespace catenet::test {

class raw_listener {
 public:
  explicit raw_listener(int receive_buffer = 0) {
    endpoint any;
    EXPECT_FALSE(endpoint::parse("127.0.0.1:0", any));
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer != 0) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    EXPECT_EQ(bind(fd_, any.address(), any.length()), 0);
    EXPECT_EQ(listen(fd_, 100), 0);
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&bound), &length);
    at_ = endpoint::from(reinterpret_cast<sockaddr*>(&bound), length);
  }
  ~raw_listener() { ::close(fd_); }
  raw_listener(const raw_listener&) = delete;
  raw_listener& operator=(const raw_listener&) = delete;

  [[nodiscard]] const endpoint& at() const { return at_; }
  /// The next connection; an empty one when none came within the time.
  client accept(int limit_ms = 10'000) {
    if (!asked(limit_ms)) return {};
    return client::of(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
  }
  /// Somebody connects within the time.
  [[nodiscard]] bool asked(int limit_ms) const {
    pollfd p{fd_, POLLIN, 0};
    return poll(&p, 1, limit_ms) == 1;
  }

 private:
  int fd_ = -1;
  endpoint at_;
};

/// What came up to the end of the request's head.
inline std::string read_head(client& from) {
  std::string all;
  while (all.find("\r\n\r\n") == std::string::npos) {
    const std::string part = from.receive_some(1);
    if (part.empty()) break;
    all += part;
  }
  return all;
}

}  // namespace catenet::test
