// The hub: all topics of a server, on all its cores, and what its WebSocket connections count.
#pragma once

#include <catenet/ws/message.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace catenet {
class core;
class engine;
}  // namespace catenet

namespace catenet::ws {

class local_topics;
class topic_registry;

/// Counts since the start, summed over the cores.
struct statistics {
  std::uint64_t connections = 0;  ///< open now
  std::uint64_t opened = 0;
  std::uint64_t messages_in = 0;   ///< whole messages received
  std::uint64_t messages_out = 0;  ///< messages handed to streams, each copy of a published one counted
  std::uint64_t published = 0;     ///< calls of publish
  std::uint64_t dropped = 0;       ///< published messages that a subscriber missed
  std::uint64_t slow_closed = 0;   ///< connections closed for being slow
  std::uint64_t failed = 0;        ///< connections that broke the protocol or a limit
  /// Memory of connections, subscriptions and what is under way, blocks apart.
  std::uint64_t session_bytes = 0;
  /// And of compression contexts that connections keep between messages.
  std::uint64_t context_bytes = 0;
};

/// Lives as long as the server, beyond the run of the engine. Any thread, where nothing else is said.
class hub {
 public:
  explicit hub(engine& of);
  ~hub();
  hub(const hub&) = delete;
  hub& operator=(const hub&) = delete;

  /// Publishes to all subscribers on all cores, from any thread. Messages of one thread arrive in order.
  /// False once the engine has ended.
  bool publish(std::string_view topic, std::string payload, bool is_text = true);

  [[nodiscard]] ws::statistics statistics() const;

  /// The part of one core; on its thread only.
  [[nodiscard]] local_topics& at(core& c);

 private:
  engine& engine_;
  std::unique_ptr<topic_registry> registry_;
  std::vector<std::unique_ptr<local_topics>> cores_;
};

}  // namespace catenet::ws
