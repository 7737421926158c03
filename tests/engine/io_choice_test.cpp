// Which back end is chosen: io_uring where it is allowed, epoll where a seccomp filter (as Docker's default
// profile) refuses it, with the reason in the log, and whatever is forced.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/engine/stream.hpp>

#include "support/in_child.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>

namespace {

using namespace catenet;
using namespace catenet::test;

class echo final : public protocol {
  void received(stream& s, chain&& bytes) override { s.send(std::move(bytes)); }
};

std::string logged;
std::mutex logged_mutex;
void keep_line(log_level level, std::string_view line) {
  const std::lock_guard lock(logged_mutex);
  if (level >= log_level::warning) logged += std::string(line) + "\n";
}

struct refusal {
  long call;
  int code;
};
void PrintTo(const refusal& r, std::ostream* out) {
  *out << "system call " << r.call << ", errno " << r.code;
}

struct outcome {
  std::string io;
  std::string answer;
  error result;
};

// A server that echoes one line to a client on another thread.
outcome serve(io_choice io) {
  engine_options o;
  o.io = io;
  o.cores = 2;
  o.handle_signals = false;
  o.slab.capacity = 64_MiB;
  engine net(o);
  endpoint where;
  outcome seen;
  seen.result = net.listen(
      "127.0.0.1:0", [](core&) { return std::make_unique<echo>(); }, &where);
  std::thread client;
  net.on_start([&] {
    seen.io = net.io_name();
    client = std::thread([&] {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      char line[16] = {};
      if (connect(fd, where.address(), where.length()) == 0 && send(fd, "hello", 5, 0) == 5 &&
          recv(fd, line, 5, MSG_WAITALL) == 5)
        seen.answer = line;
      close(fd);
      net.stop();
    });
  });
  if (!seen.result) seen.result = net.run();
  if (client.joinable()) client.join();
  return seen;
}

class refused : public testing::TestWithParam<refusal> {};

TEST_P(refused, epoll_serves_instead_and_says_why) {
  const int status = in_child([] {
    set_log_sink(keep_line);
    if (!refuse_system_call(GetParam().call, GetParam().code)) return no_filter_here;
    const outcome seen = serve(io_choice::automatic);
    if (seen.io != "epoll") return 1;
    if (seen.answer != "hello") return 2;
    if (seen.result) return 3;
    if (logged.find("io_uring") == std::string::npos || logged.find("seccomp") == std::string::npos ||
        logged.find("epoll") == std::string::npos)
      return 4;
    return 0;
  });
  if (status == no_filter_here) GTEST_SKIP() << "this sandbox allows no seccomp filter";
  EXPECT_EQ(status, 0);
}

TEST_P(refused, forcing_io_uring_fails_with_advice) {
  const int status = in_child([] {
    set_log_sink(keep_line);
    if (!refuse_system_call(GetParam().call, GetParam().code)) return no_filter_here;
    const outcome seen = serve(io_choice::uring);
    if (!seen.result || seen.result.code != GetParam().code) return 1;
    return seen.result.advice.empty() ? 2 : 0;
  });
  if (status == no_filter_here) GTEST_SKIP() << "this sandbox allows no seccomp filter";
  EXPECT_EQ(status, 0);
}

// Rings cannot be made, or used, or what they need cannot be registered: that shows in the cores only.
INSTANTIATE_TEST_SUITE_P(io_choice, refused,
                         testing::Values(refusal{SYS_io_uring_setup, EPERM},
                                         refusal{SYS_io_uring_setup, ENOSYS},
                                         refusal{SYS_io_uring_enter, EPERM},
                                         refusal{SYS_io_uring_register, EPERM}));

TEST(io_choice, threads_that_cannot_be_had_are_an_error) {
  const int status = in_child([] {
    rlimit none{1, 1};
    if (setrlimit(RLIMIT_NPROC, &none) != 0 || setuid(65534) != 0) return no_filter_here;
    engine_options o;
    o.cores = 4;
    o.handle_signals = false;
    o.slab.capacity = 64_MiB;
    engine net(o);
    const error failed = net.run();
    return failed.code == EAGAIN && !failed.advice.empty() ? 0 : 1;
  });
  if (status == no_filter_here) GTEST_SKIP() << "only root can become somebody with a limit";
  EXPECT_EQ(status, 0);
}

TEST(io_choice, epoll_can_be_forced) {
  const outcome seen = serve(io_choice::epoll);
  EXPECT_EQ(seen.io, "epoll");
  EXPECT_EQ(seen.answer, "hello");
  EXPECT_FALSE(seen.result) << seen.result.text();
}

}  // namespace
