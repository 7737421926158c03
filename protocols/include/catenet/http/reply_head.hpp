// A parsed answer's head, as a client sees it: views into its bytes, and what they mean for body and
// connection.
#pragma once

#include <catenet/http/fields.hpp>

#include <cstdint>
#include <string_view>

namespace catenet::http {

/// How the end of an answer's body is known (RFC 9112 §6.3).
enum class reply_body : std::uint8_t { none, length, chunks, until_end };

/// Filled by reply_parser. Views hold as long as the parser is neither reset nor ended.
struct reply_head {
  http::fields fields;
  std::string_view reason;  ///< as it was sent; may be empty, may hold bytes above 127
  std::uint64_t content_length = 0;
  std::uint32_t bytes = 0;   ///< of the whole head, with its final CR LF
  std::uint16_t status = 0;  ///< 100..599
  std::uint8_t minor = 1;    ///< HTTP/1.minor: 0 or 1 (a higher one counts as 1)
  bool has_length = false;
  bool chunked = false;
  bool keep_alive = true;  ///< the peer would keep the connection

  /// What follows this head when it answers a HEAD request (`to_head`) or another one.
  [[nodiscard]] reply_body body(bool to_head) const {
    if (to_head || status < 200 || status == 204 || status == 304) return reply_body::none;
    return chunked ? reply_body::chunks : has_length ? reply_body::length : reply_body::until_end;
  }
  /// 100..199: the answer proper is still to come.
  [[nodiscard]] bool informational() const { return status < 200; }
};

}  // namespace catenet::http
