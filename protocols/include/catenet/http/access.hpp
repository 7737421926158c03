// What an access log is told of each answer.
#pragma once

#include <catenet/http/request.hpp>

#include <cstdint>
#include <string>

namespace catenet::http {

/// Views and the request are valid during the call only.
struct access {
  const request& rq;
  std::uint16_t status = 0;
  std::uint64_t bytes = 0;    ///< of the body that was given to the connection
  std::uint32_t took_ms = 0;  ///< from the head to the answer's last byte
  std::int64_t unix_seconds = 0;
};

/// The Common Log Format with referrer and agent, one line without its end. What a client sent is escaped:
/// quotes, backslashes, control and 8-bit characters as \xHH, so that nothing in it can forge a line or move
/// a terminal (CWE-117).
std::string combined_log_line(const access& a);

}  // namespace catenet::http
