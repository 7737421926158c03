// What a server takes and how long it waits. Every value has a default that is safe in the open.
#pragma once

#include <catenet/http/limits.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace catenet::http {

/// How long a peer, or a handler, may take.
struct deadlines {
  std::uint32_t head_ms = 10'000;  ///< from a head's first byte to its last; beyond: 408
  std::uint32_t idle_ms = 75'000;  ///< between requests, and before the first
  std::uint32_t body_ms = 5'000;   ///< how often the rate of a body is looked at
  std::uint32_t body_rate_min =
      240;  ///< bytes a second that a body must come with while somebody waits for it; else 408
  /// From head to answer, where the handler waits; beyond: 503; 0: no limit. An answer that has begun to come
  /// piece by piece may take as long as its client takes it (send_ms), and its handler as piece_ms allows.
  std::uint32_t handler_ms = 0;
  /// From one piece of an answer to the next, or to its end, where it is not the client who keeps the handler
  /// waiting. Beyond, the connection is reset, as nothing else tells that the body is cut short. 0: no limit.
  std::uint32_t piece_ms = 0;
  std::uint32_t send_ms =
      0;  ///< for a peer that takes nothing of its answer; then it is reset. 0: send_stall_ms
};

/// Compression of answers, for clients that ask for it. Bodies of a compressible type, without a
/// Content-Encoding or an ETag of their own.
struct compression {
  bool on = false;
  int level = 5;                      ///< 1 quick … 9 small
  std::uint64_t bytes_min = 1024;     ///< smaller bodies are left alone
  std::uint64_t bytes_max = 1 << 20;  ///< larger ones too: a core does nothing else meanwhile. Not for pieces
};

struct server_options {
  std::uint64_t max_body =
      1 << 20;            ///< bytes of a request's body, where the route says nothing else; beyond: 413
  http::limits limits{};  ///< of heads, chunks and trailers

  http::deadlines deadlines{};

  std::uint64_t discard_max =
      256 << 10;  ///< bytes of an unread body taken in to keep the connection; beyond: it ends
  std::uint64_t input_max = 64 << 10;    ///< bytes held back behind a request under way before reading pauses
  std::uint64_t read_ahead = 256 << 10;  ///< the same while the handler reads a body

  http::compression compression{};
  /// Addresses ("10.0.0.0/8", "::1") of proxies whose X-Forwarded-For is believed by
  /// request::client_address().
  std::vector<std::string> trusted_proxies{};
  /// Most connections of one address (of a /64 in IPv6) on each core; 0: no limit. Beyond, they are reset.
  std::uint32_t connections_per_address_max = 0;
  /// A client that has sent its FIN still waits for what it asked for. false: it has left; a handler that has
  /// nothing more of the request to read is told (request::on_gone), and the connection ends. What most
  /// proxies do.
  bool answer_after_fin = true;

  std::string server_name{};  ///< value of the field Server; none when empty
};

/// What one route has of its own.
struct route_options {
  static constexpr std::uint64_t as_server = ~std::uint64_t{0};
  std::uint64_t max_body = as_server;
  /// Bodies with Content-Encoding gzip or deflate are expanded on the way to the handler; other codings get
  /// 415, and more than this many bytes 413. 0: bodies come as they are.
  std::uint64_t expand_max = 0;
  /// Instead of the listener's; 0: no limit here.
  std::optional<std::uint32_t> handler_ms{};
  std::optional<std::uint32_t> piece_ms{};
};

/// What one listener has of its own.
struct listener_options {
  /// Each connection begins with a PROXY protocol header, version 1 or 2 (haproxy.org), which names its
  /// client.
  bool proxy_protocol = false;
  /// Instead of the server's.
  std::optional<http::deadlines> deadlines{};
};

}  // namespace catenet::http
