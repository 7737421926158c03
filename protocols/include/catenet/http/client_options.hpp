// How a client uses its connections, how long it waits, and what it takes from a server.
#pragma once

#include <catenet/http/limits.hpp>

#include <cstdint>

namespace catenet::http {

/// Times are in milliseconds; 0 means no limit where that is said.
struct client_options {
  std::uint32_t connections_max = 64;  ///< to one origin, a core
  std::uint32_t idle_max = 32;         ///< of these, kept while nothing is asked; 0: none is used twice
  std::uint32_t waiting_max = 1024;    ///< calls that wait for a connection to one origin; beyond: busy
  std::uint32_t idle_ms = 30'000;  ///< an unused connection is closed after so long: before most servers do

  std::uint32_t wait_ms = 10'000;     ///< for a connection to become free
  std::uint32_t connect_ms = 10'000;  ///< for a connection to stand
  std::uint32_t head_ms = 30'000;     ///< from the request's last byte to the end of the answer's head
  std::uint32_t body_ms = 30'000;     ///< between two pieces of the body, while somebody waits for one
  std::uint32_t total_ms = 0;         ///< from start() to the last byte; 0: no limit

  std::uint64_t max_body = ~std::uint64_t{0} >> 1;  ///< bytes of an answer's body
  std::uint64_t read_ahead =
      256 << 10;  ///< bytes of a body held for a reader that is slow; then reading pauses
  std::uint32_t informational_max = 8;  ///< answers 100..199 before the proper one; more are malformed
  http::limits limits{};            ///< of heads (`request_line` bounds the status line), chunks and trailers
  std::uint32_t redirects_max = 0;  ///< followed one behind the other; 0: a redirect is an answer like others
  bool retry = true;  ///< once, where a kept connection ended under an idempotent request before any answer
};

}  // namespace catenet::http
