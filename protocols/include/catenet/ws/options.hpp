// What a WebSocket route is made of: its handlers, its limits and its policies.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/slab/size_class.hpp>
#include <catenet/ws/close_code.hpp>
#include <catenet/ws/extension.hpp>
#include <catenet/ws/message.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace catenet::ws {

class connection;

/// What happens to a published message when a subscriber has max_queued bytes waiting.
enum class slow_policy : std::uint8_t {
  drop_newest,  ///< this subscriber misses it
  close,        ///< this subscriber is closed with 1008
};

/// Handlers run on the core that the connection lives on, never within another call into the library, and
/// those of one route run on several cores at once. They may do anything to any connection of their core.
/// What a handler throws is logged and closes the connection with 1011.
struct options {
  std::uint64_t max_message = 1_MiB;        ///< payload bytes of a received message; beyond: 1009
  std::uint32_t max_fragments = 1u << 20;   ///< frames of a message; beyond: 1008
  std::uint32_t max_empty_fragments = 64;   ///< those without payload; beyond: 1008
  std::uint8_t max_pings_per_second = 128;  ///< beyond: 1008. Pings that come together get one pong
  std::uint64_t max_queued = 1_MiB;         ///< unsent bytes above which sends are refused
  slow_policy when_slow = slow_policy::drop_newest;

  std::uint32_t ping_every_ms = 0;        ///< a quiet peer is sent a ping so often; 0: never
  std::uint32_t idle_timeout_ms = 0;      ///< a peer that was quiet for so long is closed with 1001; 0: never
  std::uint32_t close_timeout_ms = 5000;  ///< how long the peer may take to answer our Close

  std::vector<std::string> subprotocols{};  ///< those spoken; the client's first that is among them is chosen
  std::vector<std::string> origins{};       ///< the Origins accepted, as in "https://example.org"; empty: any

  deflate_options deflate{};                     ///< permessage-deflate (RFC 7692)

  /// The handshake is done.
  callback<void(connection&)> open{};
  /// A whole message.
  callback<void(connection&, message)> message{};
  /// The end, once for each open: what the peer said (no_status: nothing), or what it did wrong, or abnormal
  /// when the connection broke. Nothing can be sent any more; the connection is gone when this returns.
  callback<void(connection&, close_code, std::string_view reason)> close{};
  /// What was unsent when a send said `queued` is all but gone.
  callback<void(connection&)> writable{};
};

}  // namespace catenet::ws
