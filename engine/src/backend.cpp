// What every back end that stands on the kernel asks of sockets and clocks in the same way.
#include <catenet/engine/backend.hpp>

#include "pacing.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>

namespace catenet {

int backend::open_socket(const endpoint& to, bool pace_within_host) {
  const int fd = socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int on = 1;
  if (!to.is_unix())
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // a turn leaves as one send anyway
  if (!pace_within_host) leave_out_pacing(fd, to);
  return fd;
}

bool backend::send_zero_copy(int, token, std::uint32_t, const chain&, bool) { return false; }

void backend::limit_unacknowledged(int fd, std::uint32_t time_ms) {
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &time_ms, sizeof time_ms);
}

void backend::shut_down(int fd, bool both) { ::shutdown(fd, both ? SHUT_RDWR : SHUT_WR); }

// The close has to wait for what is under way, and a shutdown, which would end that, says FIN: to the peer a
// clean end. Dissolving the association (connect(2), AF_UNSPEC) says reset at once, and ends it as well.
void backend::reset(int fd) {
  const linger at_close{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_close, sizeof at_close);
  const sockaddr nobody{AF_UNSPEC, {}};
  static_cast<void>(::connect(fd, &nobody, sizeof nobody));  // TCP only
}

// Acknowledged bytes, or for a UNIX socket what is left in the queue.
std::uint64_t backend::progress_mark(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0) return info.tcpi_bytes_acked;
  int queued = 0;
  return ioctl(fd, SIOCOUTQ, &queued) == 0 ? static_cast<std::uint64_t>(queued) : 0;
}

std::int64_t backend::send_file(int fd, int file, std::uint64_t offset, std::size_t length) {
  auto from = static_cast<off_t>(offset);
  const ssize_t sent = sendfile(fd, file, &from, length);
  return sent < 0 ? -errno : sent;
}

std::int64_t backend::send_now(int fd, const chain& bytes, std::uint64_t bytes_max, bool more_follows) {
  std::array<iovec, 16> parts;
  msghdr header{};
  header.msg_iov = parts.data();
  header.msg_iovlen = bytes.to_iovecs(parts, bytes_max).count;
  const ssize_t sent = sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL | (more_follows ? MSG_MORE : 0));
  return sent < 0 ? -errno : sent;
}

bool backend::read_ahead(token, int file, std::uint64_t offset, std::size_t length) {
  posix_fadvise(file, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
  return false;
}

std::int32_t backend::peek(int fd) {
  char byte = 0;
  const ssize_t found = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return found < 0 ? -errno : static_cast<std::int32_t>(found);
}

void backend::close_now(int fd) { ::close(fd); }

endpoint backend::address_of(int fd, bool peer) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  auto* a = reinterpret_cast<sockaddr*>(&address);
  if ((peer ? getpeername(fd, a, &length) : getsockname(fd, a, &length)) != 0) return {};
  return endpoint::from(a, length);
}

clock_reading backend::clock() {
  timespec steady{};
  clock_gettime(CLOCK_MONOTONIC, &steady);
  timespec wall{};
  clock_gettime(CLOCK_REALTIME_COARSE, &wall);
  return {static_cast<std::uint64_t>(steady.tv_sec) * 1000 +
              static_cast<std::uint64_t>(steady.tv_nsec) / 1'000'000,
          wall.tv_sec};
}

}  // namespace catenet
