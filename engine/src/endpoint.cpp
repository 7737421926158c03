// Addresses as text and back.
#include <catenet/engine/endpoint.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace catenet {

namespace {

error bad(std::string_view text, std::string why) {
  return {"parse address", "\"" + std::string(text) + "\"", 0,
          std::move(why) + "; write HOST:PORT, [V6]:PORT, *:PORT or unix:PATH"};
}

error parse_unix(std::string_view text, std::string_view path, sockaddr_un& into, unsigned& length) {
  if (path.empty()) return bad(text, "the path is empty");
  if (path.size() >= sizeof into.sun_path)
    return bad(text, "the path is longer than " + std::to_string(sizeof into.sun_path - 1) + " bytes");
  if (path.find('\0') != std::string_view::npos) return bad(text, "the path has a NUL");
  into = {};
  into.sun_family = AF_UNIX;
  std::memcpy(into.sun_path, path.data(), path.size());
  const bool abstract = path[0] == '@';
  if (abstract) into.sun_path[0] = '\0';
  length = static_cast<unsigned>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  return {};
}

bool parse_port(std::string_view digits, std::uint16_t& port) {
  const char* end = digits.data() + digits.size();
  const auto [at, failed] = std::from_chars(digits.data(), end, port);
  return failed == std::errc{} && at == end && !digits.empty();
}

// inet_pton stops at a NUL, so what follows one would go unread.
bool has_nul(const std::string& host) { return host.find('\0') != std::string::npos; }

bool parse_v4(const std::string& host, std::uint16_t port, sockaddr_in& into) {
  into = {};
  into.sin_family = AF_INET;
  into.sin_port = htons(port);
  return !has_nul(host) && inet_pton(AF_INET, host.c_str(), &into.sin_addr) == 1;
}

bool parse_v6(const std::string& host, std::uint16_t port, sockaddr_in6& into) {
  into = {};
  into.sin6_family = AF_INET6;
  into.sin6_port = htons(port);
  return !has_nul(host) && inet_pton(AF_INET6, host.c_str(), &into.sin6_addr) == 1;
}

}  // namespace

error endpoint::parse(std::string_view text, endpoint& into) {
  endpoint made;
  if (text.starts_with("unix:")) {
    sockaddr_un un;
    if (error e = parse_unix(text, text.substr(5), un, made.length_)) return e;
    std::memcpy(made.storage_.data(), &un, sizeof un);
    into = made;
    return {};
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad(text, "there is no port");
  std::uint16_t port = 0;
  if (!parse_port(text.substr(colon + 1), port)) return bad(text, "the port is not a number from 0 to 65535");
  std::string host(text.substr(0, colon));
  if (host == "localhost") host = "127.0.0.1";
  if (host == "*") host = "[::]";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    sockaddr_in6 in6;
    if (!parse_v6(host.substr(1, host.size() - 2), port, in6)) return bad(text, "that is no IPv6 address");
    std::memcpy(made.storage_.data(), &in6, sizeof in6);
    made.length_ = sizeof in6;
  } else {
    sockaddr_in in;
    if (!parse_v4(host, port, in)) return bad(text, "that is no IPv4 address (names are not looked up)");
    std::memcpy(made.storage_.data(), &in, sizeof in);
    made.length_ = sizeof in;
  }
  into = made;
  return {};
}

endpoint endpoint::from(const sockaddr* address, std::size_t length) {
  endpoint made;
  made.length_ = static_cast<unsigned>(std::min(length, made.storage_.size()));
  std::memcpy(made.storage_.data(), address, made.length_);
  return made;
}

const sockaddr* endpoint::address() const { return reinterpret_cast<const sockaddr*>(storage_.data()); }
int endpoint::family() const { return length_ == 0 ? AF_UNSPEC : address()->sa_family; }
bool endpoint::is_unix() const { return family() == AF_UNIX; }

bool endpoint::is_loopback() const {
  constexpr std::uint8_t loopback_net = 127;
  if (family() == AF_INET) {
    const in_addr& v4 = reinterpret_cast<const sockaddr_in*>(address())->sin_addr;
    return ntohl(v4.s_addr) >> 24 == loopback_net;
  }
  if (family() != AF_INET6) return false;
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(address())->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == loopback_net);
}

std::uint16_t endpoint::port() const {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(storage_.data())->sin_port);
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(storage_.data())->sin6_port);
  return 0;
}

void endpoint::set_port(std::uint16_t port) {
  if (family() == AF_INET) reinterpret_cast<sockaddr_in*>(storage_.data())->sin_port = htons(port);
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(storage_.data())->sin6_port = htons(port);
}

std::string endpoint::path() const {
  if (!is_unix() || length_ <= offsetof(sockaddr_un, sun_path)) return {};
  const auto* un = reinterpret_cast<const sockaddr_un*>(storage_.data());
  std::string path(un->sun_path, length_ - offsetof(sockaddr_un, sun_path));
  if (path[0] == '\0') {
    path[0] = '@';
    return path;
  }
  return path.substr(0, path.find('\0'));
}

std::string endpoint::host() const {
  char text[INET6_ADDRSTRLEN] = "";
  switch (family()) {
    case AF_INET:
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(storage_.data())->sin_addr, text, sizeof text);
      return text;
    case AF_INET6:
      inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(storage_.data())->sin6_addr, text,
                sizeof text);
      return text;
    case AF_UNIX:
      return "unix:" + path();
    default:
      return {};
  }
}

std::string endpoint::text() const {
  switch (family()) {
    case AF_INET:
      return host() + ":" + std::to_string(port());
    case AF_INET6:
      return "[" + host() + "]:" + std::to_string(port());
    default:
      return host();
  }
}

}  // namespace catenet
