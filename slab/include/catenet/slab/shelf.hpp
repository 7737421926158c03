// A shelf: the slots through which whole batches pass between a depot and its pools, without a lock.
//
// A slot holds a whole batch or nothing. Putting is one compare-exchange of null, taking one exchange with
// null: nothing is ever popped from a shared list, so there is no ABA and no CAS-pop. Which atomics it uses
// is a parameter, so that the same source runs under the interleaving checker of tests/slab.
#pragma once

#include <catenet/slab/atomic.hpp>

#include <array>
#include <cstddef>

namespace catenet {

template <typename Node, std::size_t Slots, template <typename> class Atomic = atomic>
class batch_slots {
 public:
  /// Lays a batch down; false when every slot is taken. Releases what was written to the batch.
  bool put(Node* batch) {
    for (Atomic<Node*>& slot : slots_) {
      Node* none = nullptr;
      if (slot.load(std::memory_order_relaxed) == nullptr &&
          slot.compare_exchange(none, batch, std::memory_order_seq_cst, std::memory_order_relaxed))
        return true;
    }
    return false;
  }

  /// Takes a batch, or null when no slot has one. Acquires what was written to it.
  Node* take() {
    for (Atomic<Node*>& slot : slots_) {
      if (slot.load(std::memory_order_seq_cst) == nullptr) continue;
      if (Node* batch = slot.exchange(nullptr, std::memory_order_acquire)) return batch;
    }
    return nullptr;
  }

 private:
  std::array<Atomic<Node*>, Slots> slots_{};
};

}  // namespace catenet
