// Blocking client sockets to 127.0.0.1 and just enough HTTP to see that a server answered. Never dials
// anything else.
#pragma once

#include "child.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace catenet::bench {

struct connect_options {
  int source = 1;  // last number of the source address 127.0.0.x; each has its own range of ports
  int receive_buffer_bytes = 0;  // 0: the system's default
};

inline sockaddr_in loopback_address(int last, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(0x7f000000u + static_cast<std::uint32_t>(last));
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

/// Connects; a read or write that takes 10 s fails. close() resets the connection, so that no port lingers in
/// TIME_WAIT.
inline int connect_loopback(int port, connect_options how = {}) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    fail("making a socket", "the limit of open files (ulimit -Hn) is per process: use fewer connections");
  const int on = 1;
  const linger reset{.l_onoff = 1, .l_linger = 0};
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (how.receive_buffer_bytes > 0)
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &how.receive_buffer_bytes, sizeof how.receive_buffer_bytes);
  const sockaddr_in from = loopback_address(how.source, 0);
  const sockaddr_in to = loopback_address(1, port);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0)
    fail("binding to source address 127.0.0." + std::to_string(how.source));
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    fail("connecting to 127.0.0.1:" + std::to_string(port),
         "is the server running, and has it descriptors left?");
  return fd;
}

inline void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) fail("sending a request (send)");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// Reads until the head is complete, and the body too if the head tells its length.
inline std::string read_answer(int fd) {
  std::string answer;
  std::size_t wanted = 1;
  while (answer.size() < wanted) {
    char bytes[8192];
    const ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
    if (got < 0) fail("reading an answer (recv)", "the server took over 10 s, or closed the connection");
    if (got == 0) break;
    answer.append(bytes, static_cast<std::size_t>(got));
    const auto head_end = answer.find("\r\n\r\n");
    if (head_end == std::string::npos) {
      wanted = answer.size() + 1;
      continue;
    }
    std::string head = answer.substr(0, head_end + 2);
    for (char& letter : head)
      letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
    const auto length = head.find("\r\ncontent-length:");
    wanted = head_end + 4 + (length == std::string::npos ? 0 : std::stoul(head.substr(length + 17)));
  }
  return answer;
}

/// Reads an answer and throws unless its status is the one expected.
inline void expect_status(int fd, std::string_view status) {
  const std::string answer = read_answer(fd);
  if (answer.size() < 12 || answer.compare(9, 3, status) != 0)
    throw std::runtime_error("expected status " + std::string(status) +
                             ", the server answered: " + answer.substr(0, 200));
}

/// Body of GET path, or nothing unless the server answers 200.
inline std::string get_body(int port, const std::string& path) {
  const int fd = connect_loopback(port);
  send_all(fd, "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  const std::string answer = read_answer(fd);
  ::close(fd);
  const auto head_end = answer.find("\r\n\r\n");
  if (head_end == std::string::npos || answer.compare(0, 12, "HTTP/1.1 200") != 0) return {};
  return answer.substr(head_end + 4);
}

}  // namespace catenet::bench
