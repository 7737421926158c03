// What every back end that stands on the kernel asks of sockets and clocks in the same way.
#include <catenet/engine/backend.hpp>

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace catenet {

void backend::shut_down(int fd, bool both) { ::shutdown(fd, both ? SHUT_RDWR : SHUT_WR); }

// Connecting a TCP socket to nowhere sends the reset now; a close with SO_LINGER 0 would send it only once nothing is
// under way any more, and the shutdown that ends what is would send a FIN first. A UNIX socket knows no reset.
void backend::reset(int fd) {
  sockaddr nowhere{};
  nowhere.sa_family = AF_UNSPEC;
  if (::connect(fd, &nowhere, sizeof nowhere) == 0) return;
  const linger at_close{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_close, sizeof at_close);
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
