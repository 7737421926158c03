// A topic: one message to many subscribers on many threads, which share one body.
//
//   publish(packet) ─▶ a view for each subscriber's channel ─▶ … each drops its view, the body goes home with
//   the last
#pragma once

#include <catenet/bus/channel.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace catenet::bus {

/// Used on one thread. Nobody is waited for: a subscriber whose channel is full misses the message, and that
/// is counted; who must miss nothing has a channel of the size of his budget, and looks at the counts.
class topic {
 public:
  /// Adds a subscriber; the receiver of its channel may be on any thread. It is forgotten once that has
  /// ended.
  void subscribe(sender&& to) { subscribers_.push_back({std::move(to), 0}); }

  struct outcome {
    std::size_t sent = 0;
    std::size_t dropped = 0;  ///< the channel was full, or memory for the view ran out
  };
  /// Sends a message to all. No copy, and no atomic operation on the body's count.
  outcome publish(const packet& message);

  [[nodiscard]] std::size_t subscribers() const { return subscribers_.size(); }
  /// How many messages subscribers missed, over all.
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
  /// How many messages the subscriber at `index` (in the order of subscribing, those who ended left out)
  /// missed.
  [[nodiscard]] std::uint64_t dropped(std::size_t index) const { return subscribers_[index].dropped; }

 private:
  struct subscriber {
    sender to;
    std::uint64_t dropped;
  };
  std::vector<subscriber> subscribers_;
  std::uint64_t dropped_ = 0;
};

}  // namespace catenet::bus
