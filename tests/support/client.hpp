// A plain blocking client for tests, and what goes with it: patterns of bytes, temporary folders.
#pragma once

#include <catenet/engine/endpoint.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace catenet::test {

/// Byte i of the endless pattern that tests send: any loss, doubling or change of order shows.
inline char pattern_at(std::uint64_t i) { return static_cast<char>((i * 2654435761u >> 13) ^ (i >> 3)); }

inline std::string pattern(std::uint64_t from, std::size_t bytes) {
  std::string made(bytes, '\0');
  for (std::size_t i = 0; i != bytes; ++i) made[i] = pattern_at(from + i);
  return made;
}

/// Index of the first byte that is not the pattern's, or npos.
inline std::size_t off_pattern(std::uint64_t from, std::string_view bytes) {
  for (std::size_t i = 0; i != bytes.size(); ++i)
    if (bytes[i] != pattern_at(from + i)) return i;
  return std::string_view::npos;
}

class client {
 public:
  client() = default;
  explicit client(const endpoint& to, int receive_buffer = 0) {
    fd_ = socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer != 0) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const int one = 1;
    if (!to.is_unix()) setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    timeval limit{20, 0};  // a test that hangs says where
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd_, to.address(), to.length()) != 0) {
      error_ = errno;
      close();
    }
  }
  /// Takes over a socket that is connected, such as an accepted one.
  static client of(int fd) {
    client made;
    made.fd_ = fd;
    timeval limit{20, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return made;
  }
  client(client&& other) noexcept : fd_(std::exchange(other.fd_, -1)), error_(other.error_) {}
  client& operator=(client&& other) noexcept {
    close();
    fd_ = std::exchange(other.fd_, -1);
    error_ = other.error_;
    return *this;
  }
  ~client() { close(); }

  explicit operator bool() const { return fd_ >= 0; }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] int error() const { return error_; }  ///< of the last call that failed

  /// False when not all could be sent.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0) {
        error_ = errno;
        return false;
      }
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  /// Up to `most` bytes; empty at the end, on an error (error() != 0) or when nothing came for 20 s (EAGAIN).
  std::string receive_some(std::size_t most = 65536) {
    std::string got(most, '\0');
    error_ = 0;
    const ssize_t n = recv(fd_, got.data(), got.size(), 0);
    if (n < 0) error_ = errno;
    got.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    return got;
  }
  /// Exactly so many bytes, or fewer when it ended before.
  std::string receive(std::size_t bytes) {
    std::string all;
    while (all.size() != bytes) {
      const std::string part = receive_some(bytes - all.size());
      if (part.empty()) break;
      all += part;
    }
    return all;
  }
  /// Until the end or an error.
  std::string receive_all() {
    std::string all;
    for (std::string part = receive_some(); !part.empty(); part = receive_some()) all += part;
    return all;
  }
  /// Something (or the end) can be read within the time.
  [[nodiscard]] bool readable(int limit_ms) const {
    pollfd p{fd_, POLLIN, 0};
    return poll(&p, 1, limit_ms) == 1;
  }

  void finish() { shutdown(fd_, SHUT_WR); }
  void reset() {
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
  int error_ = 0;
};

class temp_folder {
 public:
  temp_folder() {
    char name[] = "/tmp/catenet-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~temp_folder() { std::filesystem::remove_all(path_); }
  temp_folder(const temp_folder&) = delete;
  temp_folder& operator=(const temp_folder&) = delete;
  [[nodiscard]] std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace catenet::test
