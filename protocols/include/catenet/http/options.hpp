// What a server takes and how long it waits. Every value has a default that is safe in the open.
#pragma once

#include <catenet/http/limits.hpp>

#include <cstdint>
#include <string>

namespace catenet::http {

struct server_options {
  std::uint64_t max_body = 1 << 20;  ///< bytes of a request's body, where the route says nothing else; beyond: 413
  http::limits limits{};             ///< of heads, chunks and trailers

  std::uint32_t head_ms = 10'000;    ///< from a head's first byte to its last; beyond: 408
  std::uint32_t idle_ms = 75'000;    ///< between requests, and before the first
  std::uint32_t body_ms = 5'000;     ///< how often the rate of a body is looked at
  std::uint32_t body_rate_min = 240; ///< bytes a second that a body must come with while somebody waits for it; else 408
  std::uint32_t handler_ms = 0;      ///< from head to answer, where the handler waits; beyond: 503; 0: no limit

  std::uint64_t discard_max = 256 << 10;  ///< bytes of an unread body taken in to keep the connection; beyond: it ends
  std::uint64_t input_max = 64 << 10;     ///< bytes held back behind a request under way before reading pauses
  std::uint64_t read_ahead = 256 << 10;   ///< the same while the handler reads a body

  std::string server_name{};  ///< value of the field Server; none when empty
};

/// What one route has of its own.
struct route_options {
  static constexpr std::uint64_t as_server = ~std::uint64_t{0};
  std::uint64_t max_body = as_server;
};

}  // namespace catenet::http
