// The outbox: frames that wait in front of a stream whose peer is slow. What is in the stream has begun to
// leave; what is here may still be dropped or replaced.
#pragma once

#include <catenet/slab/chain.hpp>

#include <mimalloc.h>

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace catenet::ws {

class outbox {
 public:
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  /// Of these, what drop_oldest() could drop.
  [[nodiscard]] std::uint64_t published_bytes() const { return published_bytes_; }

  /// A frame that was sent to this connection: never dropped.
  void add(chain&& frame);
  /// A published one. With `conflate` a later one of the topic takes its place.
  void add_published(chain&& frame, std::string_view topic, bool conflate);
  /// Puts the frame in the place of the one that waits for this topic. False when there is none.
  bool replace(chain& frame, std::string_view topic);
  /// Drops the published frame that has waited longest; false when there is none.
  bool drop_oldest();

  [[nodiscard]] std::uint64_t next_bytes() const { return entries_.front().frame.bytes(); }
  [[nodiscard]] chain take_next();
  void clear();

 private:
  struct entry {
    chain frame;
    std::string topic;  // of a published frame that may be replaced
    bool published = false;
  };
  using list = std::list<entry, mi_stl_allocator<entry>>;
  using place = list::iterator;
  void forget(place at);

  list entries_;
  // By topic; keys are the entries' own.
  std::unordered_map<std::string_view, place, std::hash<std::string_view>, std::equal_to<>,
                     mi_stl_allocator<std::pair<const std::string_view, place>>>
      latest_;
  std::uint64_t bytes_ = 0;
  std::uint64_t published_bytes_ = 0;
};

}  // namespace catenet::ws
