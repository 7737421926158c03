// The PROXY protocol, version 1 (a line) and 2 (binary): what a proxy says before the first byte of its
// client (https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt).
#pragma once

#include <catenet/engine/endpoint.hpp>

#include <cstddef>
#include <optional>
#include <span>

namespace catenet::http {

struct proxy_header {
  enum class progress : std::uint8_t { more, complete, broken };

  static constexpr std::size_t bytes_max = 4096;

  std::size_t bytes = 0;           ///< of the header
  std::optional<endpoint> source;  ///< none: the proxy speaks for itself, or does not know

  /// Reads it from the beginning of what came; at most bytes_max are needed.
  progress read(std::span<const std::byte> from);

 private:
  progress read_line(std::string_view text);
  progress read_binary(std::span<const std::byte> from);
};

}  // namespace catenet::http
