// Reading the PROXY protocol.
#include "http/proxy_header.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>

namespace catenet::http {

namespace {

constexpr std::string_view signature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t line_bytes_max = 107;  // with CR LF

template <class Address>
endpoint endpoint_of(const Address& a) {
  return endpoint::from(reinterpret_cast<const sockaddr*>(&a), sizeof a);
}

std::optional<std::uint16_t> port_of(std::string_view digits) {
  std::uint16_t port = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (problem != std::errc{} || end != digits.data() + digits.size() ||
      (digits.size() > 1 && digits[0] == '0'))
    return std::nullopt;
  return port;
}

std::optional<endpoint> endpoint_of(int family, std::string_view host, std::string_view port_digits) {
  const auto port = port_of(port_digits);
  const std::string text{host};
  if (!port) return std::nullopt;
  if (family == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(*port);
    if (inet_pton(AF_INET, text.c_str(), &in.sin_addr) == 1) return endpoint_of(in);
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(*port);
    if (inet_pton(AF_INET6, text.c_str(), &in.sin6_addr) == 1) return endpoint_of(in);
  }
  return std::nullopt;
}

}  // namespace

proxy_header::progress proxy_header::read(std::span<const std::byte> from) {
  const std::string_view text{reinterpret_cast<const char*>(from.data()), from.size()};
  const auto agrees = [&](std::string_view with) {
    const std::size_t both = std::min(with.size(), text.size());
    return text.substr(0, both) == with.substr(0, both);
  };
  if (agrees(signature)) return text.size() < 16 ? progress::more : read_binary(from);
  if (agrees("PROXY ")) return read_line(text);
  return progress::broken;
}

// "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
proxy_header::progress proxy_header::read_line(std::string_view text) {
  const std::size_t end = text.substr(0, line_bytes_max).find("\r\n");
  if (end == std::string_view::npos) return text.size() < line_bytes_max ? progress::more : progress::broken;
  bytes = end + 2;
  text = text.substr(0, end);
  std::array<std::string_view, 6> words;
  std::size_t count = 0;
  for (std::size_t at = 0; at <= text.size(); ++count) {
    const std::size_t space = std::min(text.find(' ', at), text.size());
    if (count < words.size()) words[count] = text.substr(at, space - at);
    at = space + 1;
  }
  if (count >= 2 && words[1] == "UNKNOWN") return progress::complete;
  if (count != words.size() || (words[1] != "TCP4" && words[1] != "TCP6")) return progress::broken;
  const int family = words[1] == "TCP4" ? AF_INET : AF_INET6;
  source = endpoint_of(family, words[2], words[4]);
  return source && endpoint_of(family, words[3], words[5]) ? progress::complete : progress::broken;
}

// 12 bytes of signature, version and command, family and transport, length; then addresses and what else
// there is.
proxy_header::progress proxy_header::read_binary(std::span<const std::byte> from) {
  const auto byte_at = [&](std::size_t i) { return static_cast<unsigned>(from[i]); };
  const unsigned version = byte_at(12) >> 4;
  const unsigned command = byte_at(12) & 15;
  const unsigned family = byte_at(13) >> 4;
  const std::size_t length = byte_at(14) << 8 | byte_at(15);
  if (version != 2 || command > 1 || 16 + length > bytes_max) return progress::broken;
  if (from.size() < 16 + length) return progress::more;
  bytes = 16 + length;
  if (command == 0 || family == 0 || family == 3)
    return progress::complete;  // LOCAL, unspecified, UNIX socket
  if (family == 1 && length >= 12) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    std::memcpy(&in.sin_addr, from.data() + 16, 4);
    std::memcpy(&in.sin_port, from.data() + 24, 2);
    source = endpoint_of(in);
    return progress::complete;
  }
  if (family == 2 && length >= 36) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    std::memcpy(&in.sin6_addr, from.data() + 16, 16);
    std::memcpy(&in.sin6_port, from.data() + 48, 2);
    source = endpoint_of(in);
    return progress::complete;
  }
  return progress::broken;
}

}  // namespace catenet::http
