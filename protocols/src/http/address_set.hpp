// Sets of addresses, and addresses as keys: who is a trusted proxy, who has how many connections.
#pragma once

#include <catenet/engine/endpoint.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace catenet::http {

/// An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d.
struct ip_address {
  std::array<std::uint8_t, 16> bytes{};

  static std::optional<ip_address> of(const endpoint& e);  ///< none for a UNIX socket
  static std::optional<ip_address> parse(
      std::string_view text);  ///< "1.2.3.4", "::1", "[::1]", with ":port" or without
  [[nodiscard]] std::string text() const;
  /// For counting: IPv6 by its /64, because a host has as many addresses there as it likes.
  [[nodiscard]] ip_address network() const;
  bool operator==(const ip_address&) const = default;
};

struct ip_address_hash {
  std::size_t operator()(const ip_address& a) const {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(a.bytes.data()), a.bytes.size()});
  }
};

/// Addresses and networks.
class address_set {
 public:
  /// "10.1.2.3", "10.0.0.0/8", "fd00::/8". False when it is none of these.
  bool add(std::string_view text);
  [[nodiscard]] bool contains(const ip_address& a) const;
  [[nodiscard]] bool empty() const { return networks_.empty(); }

 private:
  struct network {
    ip_address address;
    unsigned bits;
  };
  std::vector<network> networks_;
};

}  // namespace catenet::http
