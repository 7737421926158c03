// Addresses and networks (RFC 4291 for the mapping of IPv4).
#include "http/address_set.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>

namespace catenet::http {

namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

ip_address mapped(const void* four_bytes) {
  ip_address a;
  std::copy(mapped_prefix.begin(), mapped_prefix.end(), a.bytes.begin());
  std::memcpy(a.bytes.data() + 12, four_bytes, 4);
  return a;
}

bool is_mapped(const ip_address& a) {
  return std::equal(mapped_prefix.begin(), mapped_prefix.end(), a.bytes.begin());
}

}  // namespace

std::optional<ip_address> ip_address::of(const endpoint& e) {
  if (e.family() == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, e.address(), sizeof in);
    return mapped(&in.sin_addr);
  }
  if (e.family() != AF_INET6) return std::nullopt;
  sockaddr_in6 in{};
  std::memcpy(&in, e.address(), sizeof in);
  ip_address a;
  std::memcpy(a.bytes.data(), &in.sin6_addr, 16);
  return a;
}

std::optional<ip_address> ip_address::parse(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    text = text.substr(1, close - 1);
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    text = text.substr(0, text.find(':'));
  }
  const std::string terminated{text};
  in_addr four{};
  if (inet_pton(AF_INET, terminated.c_str(), &four) == 1) return mapped(&four);
  ip_address a;
  if (inet_pton(AF_INET6, terminated.c_str(), a.bytes.data()) != 1) return std::nullopt;
  return a;
}

std::string ip_address::text() const {
  char out[INET6_ADDRSTRLEN];
  const bool four = is_mapped(*this);
  return inet_ntop(four ? AF_INET : AF_INET6, bytes.data() + (four ? 12 : 0), out, sizeof out) == nullptr
             ? ""
             : out;
}

ip_address ip_address::network() const {
  ip_address a = *this;
  if (!is_mapped(a)) std::fill(a.bytes.begin() + 8, a.bytes.end(), std::uint8_t{0});
  return a;
}

bool address_set::add(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string_view address = text.substr(0, slash);
  const auto parsed = ip_address::parse(address);
  if (!parsed) return false;
  const unsigned width = address.find(':') == std::string_view::npos ? 32 : 128;
  unsigned bits = width;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (problem != std::errc{} || end != digits.data() + digits.size() || bits > width) return false;
  }
  networks_.push_back({*parsed, bits + (128 - width)});
  return true;
}

bool address_set::contains(const ip_address& a) const {
  return std::any_of(networks_.begin(), networks_.end(), [&](const network& n) {
    const std::size_t whole = n.bits / 8;
    if (!std::equal(a.bytes.begin(), a.bytes.begin() + static_cast<std::ptrdiff_t>(whole),
                    n.address.bytes.begin()))
      return false;
    const unsigned rest = n.bits % 8;
    return rest == 0 || (a.bytes[whole] ^ n.address.bytes[whole]) >> (8 - rest) == 0;
  });
}

}  // namespace catenet::http
