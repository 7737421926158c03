// What a WebSocket route is made of: its handlers, its limits and its policies.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/slab/size_class.hpp>
#include <catenet/ws/close_code.hpp>
#include <catenet/ws/extension.hpp>
#include <catenet/ws/message.hpp>
#include <catenet/ws/upgrade.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace catenet::ws {

class connection;

/// What happens to published messages when a subscriber would have more than max_queued bytes waiting. What
/// was sent to it directly is never dropped, but by `close`.
enum class slow_policy : std::uint8_t {
  drop_newest,  ///< it misses this message
  drop_oldest,  ///< it misses those that wait longest and have not begun to leave
  conflate,     ///< of what waits, only the latest message of each topic is kept, whatever the budget (up to
                ///< 16 KiB have begun to leave and stay); else drop_oldest
  close,        ///< it is closed with 1008
};

/// Handlers run on the core that the connection lives on, never within another call into the library, and
/// those of one route run on several cores at once. They may do anything to any connection of their core.
/// What a handler throws is logged and closes the connection with 1011; so does what remote::run() calls.
struct options {
  std::uint64_t max_message = 1_MiB;          ///< payload bytes of a received message; beyond: 1009
  std::uint32_t max_fragments = 1u << 20;     ///< frames of a message; beyond: 1008
  std::uint32_t max_empty_fragments = 64;     ///< those without payload; beyond: 1008
  std::uint8_t max_pings_per_second = 128;    ///< beyond: 1008. Pings that come together get one pong
  std::uint32_t max_messages_per_second = 0;  ///< beyond: 1008; 0: no limit
  /// Unsent bytes of a connection, published ones and headers included. A single message may be larger where
  /// nothing waits before it.
  std::uint64_t max_queued = 1_MiB;
  slow_policy when_slow = slow_policy::drop_newest;

  std::uint32_t ping_every_ms = 0;  ///< a quiet peer is sent a ping so often; 0: never
  /// A peer that was quiet for so long is closed with 1001; 0: never. With pings, more than their period and
  /// a round trip, or who answers them may be closed, too.
  std::uint32_t idle_timeout_ms = 0;
  std::uint32_t close_timeout_ms = 5000;  ///< how long the peer may take to answer our Close

  std::vector<std::string> subprotocols{};  ///< the client's first that is among them is chosen
  std::vector<std::string> origins{};       ///< accepted, as in "https://example.org"; empty: any
  deflate_options deflate{};                ///< permessage-deflate (RFC 7692)

  /// The handshake is good; who is let in? May wait.
  upgrade_handler upgrade{};
  /// The connection is there.
  callback<void(connection&)> open{};
  /// A whole message.
  callback<void(connection&, message)> message{};
  /// If set, messages are not gathered: each part of one is told as it comes, and `message` is not called.
  callback<void(connection&, message_part)> part{};
  /// The end, once for each open: what the peer said (no_status: nothing), or what it did wrong, or abnormal
  /// when the connection broke. Nothing can be sent any more; the connection is gone when this returns.
  callback<void(connection&, close_code, std::string_view reason)> close{};
  /// After a send said `queued`: most of what was unsent has left.
  callback<void(connection&)> writable{};
  /// So many published messages were dropped for this subscriber since the last call.
  callback<void(connection&, std::uint64_t dropped)> missed{};
};

}  // namespace catenet::ws
