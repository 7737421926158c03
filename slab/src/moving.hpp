// Tells a snapshot (depot::statistics) that a pool's blocks are on their way from one list to another, so
// that it looks again. The writer's half of a sequence lock; the reader's is depot::collect.
#pragma once

#include <catenet/slab/counter.hpp>

#include <atomic>

namespace catenet::detail {

/// Keeps a pool's count of moves odd while it lives. One inside another changes nothing. On the pool's
/// thread.
class moving {
 public:
  explicit moving(counter& c) : count_(c), outermost_((c.get() & 1) == 0) {
    if (!outermost_) return;
    count_.add(1);
    std::atomic_thread_fence(std::memory_order_release);  // before anything that moves
  }
  ~moving() {
    if (!outermost_) return;
    std::atomic_thread_fence(std::memory_order_release);  // behind everything that moved
    count_.add(1);
  }
  moving(const moving&) = delete;
  moving& operator=(const moving&) = delete;

 private:
  counter& count_;
  bool outermost_;
};

}  // namespace catenet::detail
