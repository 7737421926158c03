// A core's mailbox: functions that other threads want run there, in order of each sender.
#pragma once

#include <catenet/engine/callback.hpp>

#include <atomic>
#include <utility>

namespace catenet {

/// Many producers, one consumer. A push is one compare-exchange; the consumer takes all letters with one
/// exchange.
class mailbox {
 public:
  mailbox() = default;
  mailbox(const mailbox&) = delete;
  mailbox& operator=(const mailbox&) = delete;
  ~mailbox() { discard(take()); }

  /// False when the box is closed; the letter is dropped.
  bool push(callback<void()> run) {
    auto* l = new letter{nullptr, std::move(run)};
    letter* below = top_.load(std::memory_order_relaxed);
    do {
      if (below == closed()) {
        delete l;
        return false;
      }
      l->below = below;
    } while (!top_.compare_exchange_weak(below, l, std::memory_order_seq_cst, std::memory_order_relaxed));
    return true;
  }

  [[nodiscard]] bool empty() const { return top_.load(std::memory_order_seq_cst) == nullptr; }

  /// Runs what has arrived; what arrives meanwhile waits for the next time. Returns whether there was
  /// anything.
  bool run() {
    if (top_.load(std::memory_order_relaxed) == nullptr) return false;
    letter* l = reversed(take());
    const bool any = l != nullptr;
    while (l != nullptr) {
      letter* next = l->below;
      l->run();
      delete l;
      l = next;
    }
    return any;
  }

  /// From now on pushes are refused; what is inside is dropped unrun.
  void close() {
    if (letter* all = top_.exchange(closed(), std::memory_order_acq_rel); all != closed()) discard(all);
  }

 private:
  struct letter {
    letter* below;
    callback<void()> run;
  };

  letter* closed() { return reinterpret_cast<letter*>(this); }
  letter* take() {
    letter* all = top_.exchange(nullptr, std::memory_order_acquire);
    if (all != closed()) return all;
    top_.store(closed(), std::memory_order_relaxed);
    return nullptr;
  }
  static letter* reversed(letter* l) {
    letter* turned = nullptr;
    while (l != nullptr) {
      letter* next = l->below;
      l->below = turned;
      turned = l;
      l = next;
    }
    return turned;
  }
  static void discard(letter* l) {
    while (l != nullptr) {
      letter* next = l->below;
      delete l;
      l = next;
    }
  }

  std::atomic<letter*> top_{nullptr};
};

}  // namespace catenet
