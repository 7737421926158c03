// What threads of the bus say to each other without a lock, apart from queues: "I wait", "I have something",
// "I go to sleep". Each is written first and looked at second by both sides, with a full fence between, so
// that of two who meet at least one sees the other.
//
// Templates over the atomic, so that the interleaving checker can run them.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace catenet::bus::detail {

/// Orders this thread's earlier stores before its later loads.
template <template <class> class Atomic>
void full_fence() {
  if constexpr (requires { Atomic<bool>::full_fence(); })
    Atomic<bool>::full_fence();
  else
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

/// Raised by who waits, looked at by who gives.
///
///   waits: raise(); is it there?; sleep        gives: put it there; raised_by_now()? take() and wake
template <template <class> class Atomic = std::atomic>
class wait_flag {
 public:
  void raise() {
    raised_.store(true, std::memory_order_relaxed);
    full_fence<Atomic>();
  }
  [[nodiscard]] bool raised_by_now() const {
    full_fence<Atomic>();
    return raised();
  }
  /// Without the fence: may miss one who raises it this moment.
  [[nodiscard]] bool raised() const { return raised_.load(std::memory_order_relaxed); }
  /// Lowers it; true for the one who did.
  bool take() { return raised_.exchange(false, std::memory_order_seq_cst); }

 private:
  Atomic<bool> raised_{false};
};

/// Any thread pushes, one takes all, in the order of the pushes. Nobody pops a single one, so there is no
/// ABA.
template <class T, T* T::*Below, template <class> class Atomic = std::atomic>
class letter_box {
 public:
  /// False, and not pushed, once it is closed.
  bool push(T* letter) {
    T* below = top_.load(std::memory_order_relaxed);
    do {
      if (below == closed()) return false;
      letter->*Below = below;
    } while (
        !top_.compare_exchange_weak(below, letter, std::memory_order_seq_cst, std::memory_order_relaxed));
    return true;
  }
  [[nodiscard]] bool empty() const { return top_.load(std::memory_order_seq_cst) == nullptr; }
  /// Calls f(letter) for each; it may be pushed again, or end, within the call.
  template <class F>
  bool take_all(F&& f) {
    if (top_.load(std::memory_order_relaxed) == nullptr) return false;
    return each(top_.exchange(nullptr, std::memory_order_seq_cst), f);
  }
  /// The same, and nothing can be pushed from here on.
  template <class F>
  void close(F&& f) {
    each(top_.exchange(closed(), std::memory_order_seq_cst), f);
  }

 private:
  T* closed() { return reinterpret_cast<T*>(this); }  // an address that is no letter's
  template <class F>
  static bool each(T* stack, F&& f) {
    T* queue = nullptr;
    while (stack != nullptr) {
      T* below = std::exchange(stack->*Below, queue);
      queue = std::exchange(stack, below);
    }
    const bool any = queue != nullptr;
    while (queue != nullptr) {
      T* letter = std::exchange(queue, queue->*Below);
      f(*letter);
    }
    return any;
  }

  Atomic<T*> top_{nullptr};
};

/// Whether a thread sleeps; the word is a futex.
template <template <class> class Atomic = std::atomic>
class sleep_word {
 public:
  /// Who has put something where the sleeper looks: true when it has to be woken.
  bool must_wake() {
    return word_.load(std::memory_order_seq_cst) != 0 && word_.exchange(0, std::memory_order_seq_cst) != 0;
  }
  /// What to wait on and to wake.
  [[nodiscard]] void* address() { return &word_; }
  /// Says that it sleeps, looks once more whether there is nothing, and only then sleeps while the word is 1.
  template <class Nothing, class Sleep>
  void sleep_if(Nothing&& nothing, Sleep&& sleep) {
    word_.store(1, std::memory_order_seq_cst);
    if (nothing()) sleep();
    word_.store(0, std::memory_order_relaxed);
  }

 private:
  Atomic<std::uint32_t> word_{0};
};

}  // namespace catenet::bus::detail
