// Child processes of a measuring program: a server that is started, pinned to a core and stopped again, and a
// forked function. Children get SIGTERM when their parent dies, so nothing is left behind by a measurement
// that was interrupted.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace catenet::bench {

/// Throws what was tried, on what, why (errno by name) and, where there is something to do about it, what.
[[noreturn]] inline void fail(const std::string& tried, const std::string& advice = {}) {
  const int error = errno;
  const char* name = strerrorname_np(error);
  throw std::runtime_error(tried + " failed: " + (name ? name : "?") + " (" + std::strerror(error) + ")" +
                           (advice.empty() ? "" : "; " + advice));
}

/// Keeps the calling thread, and children it starts later, on one core; does nothing where that core does not
/// exist.
inline void pin_to(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  if (core < static_cast<int>(std::thread::hardware_concurrency()))
    ::sched_setaffinity(0, sizeof cores, &cores);
}

/// As many descriptors as the hard limit allows; inherited by children. Returns that limit.
inline std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) fail("reading the limit of open files (getrlimit)");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("raising the limit of open files (setrlimit)");
  return limit.rlim_cur;
}

/// A child process; it is told to stop, and waited for, at the latest when this object goes.
class child {
 public:
  child() = default;
  explicit child(pid_t pid) : pid_(pid) {}
  child(child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  child& operator=(child&& other) noexcept {
    stop();
    pid_ = std::exchange(other.pid_, -1);
    return *this;
  }
  ~child() { stop(); }

  pid_t pid() const { return pid_; }

  /// Whether the process is gone; from then on there is nothing left to stop.
  bool ended() {
    if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    return pid_ <= 0;
  }

  /// SIGTERM, ten seconds to comply, then SIGKILL.
  void stop() {
    using namespace std::chrono_literals;
    const pid_t pid = std::exchange(pid_, -1);
    if (pid <= 0) return;
    ::kill(pid, SIGTERM);
    for (int i = 0; i < 1000; ++i) {
      if (::waitpid(pid, nullptr, WNOHANG) != 0) return;
      std::this_thread::sleep_for(10ms);
    }
    std::fprintf(stderr, "process %d did not end within 10 s of SIGTERM; killing it\n", pid);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
};

/// Runs `work` in a forked child on `core`; an exception there is printed and becomes exit status 1.
template <class Work>
child fork_on(int core, Work work) {
  const pid_t pid = ::fork();
  if (pid < 0) fail("starting a child process (fork)");
  if (pid > 0) return child(pid);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  pin_to(core);
  try {
    work();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

/// A server program that says on stdout or stderr where it listens ("... 127.0.0.1:PORT ...").
struct server {
  child process;
  int port = 0;
};

/// The number behind "127.0.0.1:" in what a server printed; 0 while that is not there in full.
inline int port_in(const std::string& output) {
  const std::string before = "127.0.0.1:";
  for (auto at = output.find(before); at != std::string::npos; at = output.find(before, at + 1)) {
    const auto first = at + before.size();
    const auto end = output.find_first_not_of("0123456789", first);
    if (end != std::string::npos && end > first && output.substr(first, end - first) != "0")
      return std::stoi(output.substr(first));
  }
  return 0;
}

/// Starts argv on `core` and waits until it has printed its port. Its output goes to memory: a pipe that
/// nobody reads would stop a server that logs much.
inline server start_server(const std::vector<std::string>& argv, int core) {
  using namespace std::chrono_literals;
  const int output = ::memfd_create("output of the server", MFD_CLOEXEC);
  if (output < 0) fail("making a file in memory for the server's output (memfd_create)");
  auto process = fork_on(core, [&] {
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    std::vector<char*> arguments;
    for (const auto& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    fail("starting " + argv[0], "build it first, or name a running server with --target and --pid");
  });
  std::string seen;
  for (int i = 0; i < 1000; ++i) {
    char text[4096];
    const ssize_t bytes = ::pread(output, text, sizeof text, 0);
    seen.assign(text, bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
    const int port = port_in(seen);
    const bool ended = process.ended();
    if (port != 0 && !ended) {
      ::close(output);
      return {std::move(process), port};
    }
    if (ended) break;
    std::this_thread::sleep_for(10ms);
  }
  ::close(output);
  throw std::runtime_error("starting " + argv[0] + " failed: it did not say where it listens; it said:\n" +
                           seen);
}

}  // namespace catenet::bench
