// Measuring both ways of sending: a thread sends to itself, on as many connections as keep more in flight
// than a processor's own cache holds, for a copy costs little while its target is still there. Only the sends
// are timed, by the thread's processor time, and what arrives is dropped unseen (MSG_TRUNC, tcp(7)).
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/engine/page_reference.hpp>

#include "pacing.hpp"
#include "page_threshold.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace catenet {

namespace {

constexpr std::array<std::uint64_t, 3> sizes{16_KiB, 64_KiB, 256_KiB};
constexpr std::size_t connections = 16;
constexpr std::uint64_t in_flight_bytes = 4_MiB;
constexpr int rounds = 3;
constexpr double a_tenth_less = 0.9;

std::atomic<std::uint64_t> threshold{page_reference_usual};

/// Closes what it holds.
class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

struct pair {
  descriptor from, to;
};

// The other end of the connection from that port. What else has connected meanwhile is closed.
descriptor accepted_from(int listener, in_port_t port) {
  while (true) {
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    descriptor from(
        accept4(listener, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!from || peer.sin_port == port) return from;
  }
}

// Connections within this process; fewer than were wanted, with errno, when one could not be made.
std::vector<pair> connected_pairs() {
  std::vector<pair> made;
  endpoint at;
  static_cast<void>(endpoint::parse("127.0.0.1:0", at));
  const descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  leave_out_pacing(listener.get(), at);
  sockaddr_in where{};
  socklen_t length = sizeof where;
  auto* const address = reinterpret_cast<sockaddr*>(&where);
  if (!listener || bind(listener.get(), at.address(), at.length()) != 0 ||
      listen(listener.get(), connections) != 0 || getsockname(listener.get(), address, &length) != 0)
    return made;
  while (made.size() != connections) {
    descriptor to(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in own{};
    socklen_t size = sizeof own;
    if (!to || connect(to.get(), address, length) != 0 ||
        getsockname(to.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0)
      return made;
    descriptor from = accepted_from(listener.get(), own.sin_port);
    if (!from) return made;
    const int on = 1;
    setsockopt(from.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const timeval stalled{1, 0};  // an end, should the kernel lose what was sent
    setsockopt(to.get(), SOL_SOCKET, SO_RCVTIMEO, &stalled, sizeof stalled);
    made.push_back({std::move(from), std::move(to)});
  }
  return made;
}

double thread_us() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

// Sends a head and a body as a stream would: the body by reference to the pages of a file, unless that is -1.
// How many bytes were taken.
std::size_t send_once(int fd, std::span<const std::byte> head, std::span<const std::byte> body, int file) {
  if (file < 0) {
    std::array<iovec, 2> parts{iovec{const_cast<std::byte*>(head.data()), head.size()},
                               iovec{const_cast<std::byte*>(body.data()), body.size()}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    return static_cast<std::size_t>(std::max<ssize_t>(0, sendmsg(fd, &message, MSG_NOSIGNAL)));
  }
  const ssize_t before = send(fd, head.data(), head.size(), MSG_MORE | MSG_NOSIGNAL);
  off_t offset = 0;
  const ssize_t sent = before < 0 ? 0 : sendfile(fd, file, &offset, body.size());
  return static_cast<std::size_t>(std::max<ssize_t>(0, before) + std::max<ssize_t>(0, sent));
}

// As many sends as fill what is in flight, and then all is taken. µs a send; nothing when the sockets did not
// take it.
std::optional<double> cost_of(const std::vector<pair>& all, std::span<const std::byte> body, int file) {
  const std::array<std::byte, 128> head{};
  double us = 0;
  bool whole = true;
  std::array<std::size_t, connections> sent{};
  const std::size_t sends = in_flight_bytes / body.size();
  for (std::size_t i = 0; i != sends; ++i) {
    const double began = thread_us();
    const std::size_t taken = send_once(all[i % all.size()].from.get(), head, body, file);
    us += thread_us() - began;
    sent[i % all.size()] += taken;
    whole = whole && taken == head.size() + body.size();
  }
  std::array<std::byte, 16_KiB> unseen;  // not written to, but named: what checks memory looks at it
  for (std::size_t i = 0; i != all.size(); ++i)
    for (std::size_t got = 0; got < sent[i];) {
      const std::size_t most = std::min(sent[i] - got, unseen.size());
      const ssize_t part = recv(all[i].to.get(), unseen.data(), most, MSG_TRUNC);
      if (part <= 0) return std::nullopt;
      got += static_cast<std::size_t>(part);
    }
  if (!whole) return std::nullopt;
  return us / static_cast<double>(sends);
}

double median(std::vector<double>& of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

std::optional<reference_cost> measure(const std::vector<pair>& all, std::span<const std::byte> body,
                                      int file) {
  // A connection's first sends widen its window.
  for (int i = 0; i != 2; ++i) static_cast<void>(cost_of(all, body, -1));
  std::vector<double> copied, by_reference;
  for (int i = 0; i != rounds; ++i) {
    const std::optional<double> one = cost_of(all, body, -1);
    const std::optional<double> other = cost_of(all, body, file);
    if (one) copied.push_back(*one);
    if (other) by_reference.push_back(*other);
  }
  if (copied.empty() || by_reference.empty()) return std::nullopt;
  return reference_cost{body.size(), median(copied), median(by_reference)};
}

std::string text(std::span<const reference_cost> costs) {
  std::string all;
  for (const reference_cost& c : costs) {
    std::array<char, 96> one{};
    std::snprintf(one.data(), one.size(), "%s%llu KiB %.1f and %.1f us", all.empty() ? "" : ", ",
                  static_cast<unsigned long long>(c.bytes / 1_KiB), c.copied_us, c.by_reference_us);
    all += one.data();
  }
  return all;
}

std::mutex measuring_mutex;  // guards the next
std::thread measuring;

}  // namespace

std::uint64_t crossing(std::span<const reference_cost> costs, std::uint64_t standing) {
  if (costs.empty()) return standing;
  std::uint64_t from = 2 * costs.back().bytes;
  for (std::size_t i = costs.size(); i-- != 0;) {
    const reference_cost& c = costs[i];
    const bool kept = c.bytes >= standing && c.by_reference_us * a_tenth_less <= c.copied_us;
    if (!kept && c.by_reference_us > c.copied_us * a_tenth_less) break;
    from = c.bytes;
  }
  return from;
}

std::uint64_t measure_page_reference() {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  const std::vector<std::byte> bytes(sizes.back(), std::byte{'x'});
  const descriptor file(memfd_create("catenet page reference", MFD_CLOEXEC));
  const bool written = file && pwrite(file.get(), bytes.data(), bytes.size(), 0) == ssize(bytes);
  const std::vector<pair> all = written ? connected_pairs() : std::vector<pair>{};
  if (all.size() != connections) {
    const int why = errno;
    log(log_level::info,
        "page reference is not measured here: connections over loopback or a memfd failed: " +
            errno_text(why) + "; the threshold stays at " + std::to_string(threshold));
    return threshold;
  }
  std::vector<reference_cost> costs;
  for (const std::uint64_t size : sizes)
    if (const std::optional<reference_cost> c = measure(all, std::span(bytes).first(size), file.get()))
      costs.push_back(*c);
  threshold = crossing(costs, threshold);
  log(log_level::info, "page reference from " + std::to_string(threshold) +
                           " bytes on; measured, copied and by reference: " + text(costs));
  return threshold;
}

void measure_page_reference_once() {
  static std::atomic<bool> begun{false};
  if (begun.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(measuring_mutex);
  if (begun.exchange(true)) return;
  try {
    measuring = std::thread([] { measure_page_reference(); });
  } catch (const std::system_error& e) {
    log(log_level::info, "page reference is not measured here: no thread: " + errno_text(e.code().value()) +
                             "; the threshold stays at " + std::to_string(threshold));
  }
}

void end_measuring() {
  const std::lock_guard lock(measuring_mutex);
  if (measuring.joinable()) measuring.join();
}

std::uint64_t page_reference_bytes_min(const engine_options& how) {
  const std::uint64_t chosen = how.page_reference_bytes_min;
  return chosen != page_reference_measured ? chosen : threshold.load(std::memory_order_relaxed);
}

}  // namespace catenet
