// Binding and listening.
#include "sockets.hpp"

#include "pacing.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace catenet {

namespace {

bool is_other_file(const endpoint& where) {
  struct stat about {};
  return where.is_unix() && lstat(where.path().c_str(), &about) == 0 && !S_ISSOCK(about.st_mode);
}

error failed(const char* tried, const endpoint& where, int code) {
  std::string advice;
  if (code == EADDRINUSE && is_other_file(where))
    advice = "a file that is no socket has that name; choose another path";
  else if (code == EADDRINUSE)
    advice = "another process listens there; stop it or choose another address (port 0: any free one)";
  if (code == EACCES && where.is_unix()) advice = "the directory is not writable for this user";
  if (code == EACCES && !where.is_unix()) advice = "a port below 1024 needs CAP_NET_BIND_SERVICE";
  if (code == EADDRNOTAVAIL) advice = "this machine has no such address";
  if (code == EMFILE || code == ENFILE) advice = "raise the limit of open descriptors (ulimit -n)";
  return {tried, where.text(), code, std::move(advice)};
}

void set(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

error open_socket(const endpoint& where, bool share_port, int& fd) {
  fd = socket(where.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("socket", where, errno);
  if (where.is_unix()) return {};
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (share_port) set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (where.family() == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(where.address());
    set(fd, IPPROTO_IPV6, IPV6_V6ONLY, IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) ? 0 : 1);
  }
  set(fd, IPPROTO_TCP, TCP_NODELAY,
      1);  // accepted sockets inherit it; a turn's output leaves as one send anyway
  return {};
}

// A socket file that nobody listens on is left over from a process that ended; it may be removed.
bool remove_stale(const endpoint& where) {
  const std::string path = where.path();
  struct stat about {};
  if (path.empty() || path[0] == '@' || stat(path.c_str(), &about) != 0 || !S_ISSOCK(about.st_mode))
    return false;
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return false;
  const bool stale = connect(probe, where.address(), where.length()) != 0 && errno == ECONNREFUSED;
  close(probe);
  return stale && unlink(path.c_str()) == 0;
}

error bind_and_listen(int fd, const endpoint& where, int backlog) {
  int result = bind(fd, where.address(), where.length());
  if (result != 0 && errno == EADDRINUSE && where.is_unix() && remove_stale(where))
    result = bind(fd, where.address(), where.length());
  if (result != 0) return failed("bind", where, errno);
  if (listen(fd, backlog) != 0) return failed("listen", where, errno);
  return {};
}

void read_port(int fd, endpoint& where) {
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) == 0)
    where.set_port(endpoint::from(reinterpret_cast<sockaddr*>(&bound), length).port());
}

// With SO_REUSEPORT a second server would silently share the port of the first. So the address is first bound
// without it, which tells whether it is free.
error check_free(endpoint& where) {
  int fd = -1;
  error e = open_socket(where, false, fd);
  if (fd < 0) return e;
  if (!e && bind(fd, where.address(), where.length()) != 0) e = failed("bind", where, errno);
  if (!e) read_port(fd, where);
  close(fd);
  return e;
}

error open_one(endpoint& where, bool share_port, const engine_options& how, std::vector<int>& into) {
  int fd = -1;
  error e = open_socket(where, share_port, fd);
  if (fd < 0) return e;
  into.push_back(fd);
  if (!how.pace_within_host) leave_out_pacing(fd, where);
  if (!e) e = bind_and_listen(fd, where, how.listen_backlog);
  if (!e && where.port() == 0 && !where.is_unix()) read_port(fd, where);
  return e;
}

}  // namespace

error open_listeners(endpoint& where, const engine_options& how, std::vector<int>& into) {
  std::vector<int> opened;
  const unsigned count = how.cores;
  const bool share_port = count > 1 && !where.is_unix();
  error e;
  if (share_port && where.port() != 0) e = check_free(where);  // a port that the kernel picks is free
  if (!e) e = open_one(where, share_port, how, opened);
  while (!e && opened.size() < count) {
    if (share_port) {
      e = open_one(where, true, how, opened);
    } else if (const int twin = fcntl(opened.front(), F_DUPFD_CLOEXEC, 0); twin >= 0) {
      opened.push_back(twin);
    } else {
      e = failed("duplicate the socket of", where, errno);
    }
  }
  if (e) {
    for (const int fd : opened) close(fd);
    return e;
  }
  into = std::move(opened);
  return {};
}

socket_file::socket_file(const endpoint& where) {
  const std::string path = where.path();
  struct stat about {};
  if (path.empty() || path[0] == '@' || lstat(path.c_str(), &about) != 0) return;
  path_ = path;
  device_ = about.st_dev;
  inode_ = about.st_ino;
}

void socket_file::remove() {
  struct stat about {};
  if (path_.empty() || removed_.exchange(true) || lstat(path_.c_str(), &about) != 0) return;
  if (about.st_dev == device_ && about.st_ino == inode_) unlink(path_.c_str());
}

}  // namespace catenet
