// Where to listen or connect: an IPv4 or IPv6 address with a port, or the path of a UNIX socket.
#pragma once

#include <catenet/engine/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

struct sockaddr;

namespace catenet {

/// A socket address. Parsed from "127.0.0.1:80", "[::1]:80", "localhost:80", "*:80" (all addresses, v4 and
/// v6), "unix:/path", "unix:@name" (abstract).
class endpoint {
 public:
  endpoint() = default;
  /// Numeric addresses and "localhost" only: no look-up, nothing that could block. On a bad text the error
  /// says what is wrong with it.
  static error parse(std::string_view text, endpoint& into);
  static endpoint from(const sockaddr* address, std::size_t length);

  [[nodiscard]] bool is_unix() const;
  /// 127.0.0.0/8 or ::1, also as an IPv4 address in IPv6: only this host can be there.
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] int family() const;
  [[nodiscard]] std::uint16_t port() const;  ///< 0 for a UNIX socket
  void set_port(std::uint16_t port);
  [[nodiscard]] std::string path() const;  ///< of a UNIX socket, else empty
  /// "127.0.0.1:80", "[::1]:80", "unix:/path"
  [[nodiscard]] std::string text() const;
  /// The address alone: "127.0.0.1", "::1", "unix:/path".
  [[nodiscard]] std::string host() const;

  [[nodiscard]] const sockaddr* address() const;
  [[nodiscard]] unsigned length() const { return length_; }

 private:
  alignas(8) std::array<std::byte, 112> storage_{};  // fits sockaddr_un
  unsigned length_ = 0;
};

}  // namespace catenet
