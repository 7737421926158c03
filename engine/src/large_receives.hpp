// Whose turn it is to receive into a large or wide block.
//
// A receive whose bytes are there already is done within the next enter, and so are all that are asked for
// together: with many bodies under way, a turn would copy in megabytes before a handler or a send reads the
// first of them, out of the cache. So streams queue, and each turn asks for as much as stays in it.
#pragma once

#include <catenet/engine/handle.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace catenet {

class large_receives {
 public:
  /// Bytes that one turn may send and receive into such blocks. Twice that lies in sockets and blocks: about
  /// what the second-level cache of a server's core holds.
  static constexpr std::uint64_t turn_bytes_max = std::uint64_t{384} * 1024;

  /// To the end of the queue. A stream that ends need not leave it: its handle finds nothing then.
  void queue(handle stream) { waiting_.push_back(stream); }
  [[nodiscard]] bool empty() const { return waiting_.empty(); }

  /// So many bytes are sent by this turn.
  void sends(std::uint64_t bytes) { moved_ += bytes; }

  /// Calls f(handle) for those whose turn it is, one at least. f tells how many bytes may come.
  template <class F>
  void serve(const F& f) {
    std::size_t served = 0;
    do moved_ += f(waiting_[served++]);
    while (served != waiting_.size() && moved_ < turn_bytes_max);
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(served));
  }
  /// A turn has begun.
  void begin_turn() { moved_ = 0; }

 private:
  std::vector<handle> waiting_;
  std::uint64_t moved_ = 0;  // in this turn
};

}  // namespace catenet
