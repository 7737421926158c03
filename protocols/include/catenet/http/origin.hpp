// Whom a client talks to: an address, and what stands in Host for it.
#pragma once

#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/error.hpp>

#include <string>
#include <string_view>

namespace catenet::http {

class origin {
 public:
  /// "http://127.0.0.1:8080", "127.0.0.1:8080", "http://[::1]" (port 80), "unix:/run/app.sock". Numeric
  /// addresses and "localhost": nothing is looked up. https is not spoken.
  static error parse(std::string_view text, origin& into);

  [[nodiscard]] const endpoint& where() const { return where_; }
  /// The value of Host, as it was written: "localhost:8080"; "localhost" for a UNIX socket (RFC 9110 §7.2).
  [[nodiscard]] const std::string& authority() const { return authority_; }
  /// The address as text: origins with the same share their connections.
  [[nodiscard]] const std::string& key() const { return key_; }

 private:
  endpoint where_;
  std::string authority_;
  std::string key_;
};

}  // namespace catenet::http
