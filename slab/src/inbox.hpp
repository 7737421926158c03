// An inbox: where what belongs to a pool arrives from other threads, and how a pool's number changes hands.
//
// Anybody pushes; only the holder of the number takes. The holder may give the number up (its thread ends);
// what arrives afterwards is settled by whoever sent it, who claims the number for that moment. Of a push and
// a resignation at least one sees the other, because both sides write first and look second, sequentially
// consistent:
//
//   sender:  push; held()?        holder:  held = false; empty?
//
// Which atomics it uses is a parameter, so that the same source runs under the interleaving checker of
// tests/slab.
#pragma once

#include <catenet/slab/atomic.hpp>

namespace catenet {

template <typename Node, template <typename> class Atomic = atomic>
class inbox {
 public:
  /// Any thread: adds a list, `last` its end. Nobody ever pops a single node, so there is no ABA.
  void push(Node* first, Node* last) {
    Node* below = incoming_.load(std::memory_order_relaxed);
    do last->next = below;
    while (!incoming_.compare_exchange(below, first, std::memory_order_seq_cst, std::memory_order_relaxed));
  }
  [[nodiscard]] bool held() const { return held_.load(std::memory_order_seq_cst); }

  /// The holder: everything that has arrived, newest first.
  Node* take_all() {
    if (empty()) return nullptr;
    return incoming_.exchange(nullptr, std::memory_order_acquire);
  }

  /// Sequentially consistent, so that who raised a flag and then looks here misses nothing from a sender who
  /// looks at the flag after its push.
  [[nodiscard]] bool empty() const { return incoming_.load(std::memory_order_seq_cst) == nullptr; }

  /// These two under a lock that all who claim and resign share.
  bool claim() {
    if (held_.load(std::memory_order_relaxed)) return false;
    held_.store(true, std::memory_order_seq_cst);
    return true;
  }
  /// False, and the number is still held, when something has arrived in the meantime.
  bool resign() {
    held_.store(false, std::memory_order_seq_cst);
    if (empty()) return true;
    held_.store(true, std::memory_order_seq_cst);
    return false;
  }

 private:
  Atomic<Node*> incoming_{nullptr};
  Atomic<bool> held_{false};
};

}  // namespace catenet
