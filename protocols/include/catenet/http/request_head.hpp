// A parsed request head: views into its bytes, and what they mean for the connection.
#pragma once

#include <catenet/http/fields.hpp>
#include <catenet/http/method.hpp>

#include <cstdint>
#include <string_view>

namespace catenet::http {

/// Filled by head_parser. Views hold as long as the bytes of the head do; whoever keeps the head keeps those.
struct request_head {
  http::fields fields;
  std::string_view method_name;  ///< as it was sent
  std::string_view target;       ///< as it was sent: "/a?b", "http://host/a", "*"
  std::string_view path;         ///< still percent-encoded; "*" for OPTIONS *
  std::string_view query;        ///< without the '?'
  std::string_view authority;    ///< of the target when it has one, else Host; empty only in HTTP/1.0
  std::uint64_t content_length = 0;
  std::uint32_t bytes = 0;  ///< of the whole head, with its final CR LF
  http::method method = http::method::other;
  std::uint8_t minor = 1;  ///< HTTP/1.minor: 0 or 1 (a higher one is answered as 1)
  bool has_length : 1 = false;
  bool chunked : 1 = false;
  bool keep_alive : 1 = true;  ///< the peer would keep the connection
  bool expect_continue : 1 = false;
  bool upgrade : 1 = false;  ///< Connection names upgrade, and there is an Upgrade field (HTTP/1.1 only)

  /// Leaves nothing that refers to bytes, or is of a request that was read before.
  void forget() {
    method = http::method::other;
    minor = 1;
    fields.reset(nullptr);
    method_name = target = path = query = authority = {};
  }
  [[nodiscard]] bool has_body() const { return chunked || content_length != 0; }
};

}  // namespace catenet::http
