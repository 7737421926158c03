// Bounded queues between threads: one consumer; one producer (spsc_ring) or many (mpsc_ring).
//
// Both hand over by release and acquire, so what was written before a push is seen after its pop. Neither
// ever waits for another thread. Templates over the atomic, so that the interleaving checker can run them.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace catenet::bus::detail {

/// Capacity is rounded up to a power of two, at least 1. T is default-constructible and movable.
template <class T, template <class> class Atomic = std::atomic>
class spsc_ring {
 public:
  explicit spsc_ring(std::size_t capacity)
      : mask_(std::bit_ceil(capacity) - 1), slots_(std::make_unique<T[]>(mask_ + 1)) {}

  [[nodiscard]] std::size_t capacity() const { return mask_ + 1; }

  /// The producer. False, and the value as it was, when the ring is full.
  bool push(T& value) {
    const std::uint64_t at = tail_.load(std::memory_order_relaxed);
    if (at - head_seen_ == capacity()) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (at - head_seen_ == capacity()) return false;
    }
    slots_[at & mask_] = std::move(value);
    tail_.store(at + 1, std::memory_order_release);
    return true;
  }

  /// The consumer. False when the ring is empty.
  bool pop(T& into) {
    const std::uint64_t at = head_.load(std::memory_order_relaxed);
    if (at == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (at == tail_seen_) return false;
    }
    into = std::move(slots_[at & mask_]);
    head_.store(at + 1, std::memory_order_release);
    return true;
  }

  /// About how many are inside; exact for the consumer when nobody pushes.
  [[nodiscard]] std::size_t size() const {
    const std::uint64_t head = head_.load(std::memory_order_acquire);
    return static_cast<std::size_t>(tail_.load(std::memory_order_acquire) - head);
  }

 private:
  const std::uint64_t mask_;
  std::unique_ptr<T[]> slots_;
  alignas(64) Atomic<std::uint64_t> tail_{0};
  std::uint64_t head_seen_ = 0;  // the producer's
  alignas(64) Atomic<std::uint64_t> head_{0};
  std::uint64_t tail_seen_ = 0;  // the consumer's
};

/// Each cell tells by its turn whose it is: `n` is free for the n-th push, `n + 1` holds what that push put
/// there, `n + capacity` is free again. A producer claims a number, fills the cell, and moves its turn on.
template <class T, template <class> class Atomic = std::atomic>
class mpsc_ring {
 public:
  explicit mpsc_ring(std::size_t capacity)
      : mask_(std::bit_ceil(capacity < 2 ? 2 : capacity) - 1), cells_(std::make_unique<cell[]>(mask_ + 1)) {
    for (std::uint64_t i = 0; i <= mask_; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
  }

  [[nodiscard]] std::size_t capacity() const { return mask_ + 1; }

  /// Any producer. False, and the value as it was, when the ring is full.
  bool push(T& value) {
    std::uint64_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      cell& c = cells_[at & mask_];
      const auto ahead = static_cast<std::int64_t>(c.turn.load(std::memory_order_acquire) - at);
      if (ahead < 0) return false;  // still holds what was pushed a round ago
      if (ahead > 0) {
        at = tail_.load(std::memory_order_relaxed);
      } else if (tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed,
                                             std::memory_order_relaxed)) {
        c.value = std::move(value);
        c.turn.store(at + 1, std::memory_order_release);
        return true;
      }
    }
  }

  /// The consumer. False when the ring is empty, or the next push is not through yet.
  bool pop(T& into) {
    const std::uint64_t at = head_.load(std::memory_order_relaxed);
    cell& c = cells_[at & mask_];
    if (c.turn.load(std::memory_order_acquire) != at + 1) return false;
    into = std::move(c.value);
    c.turn.store(at + capacity(), std::memory_order_release);
    head_.store(at + 1, std::memory_order_relaxed);
    return true;
  }

  [[nodiscard]] std::size_t size() const {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    return tail < head ? 0 : static_cast<std::size_t>(tail - head);
  }

 private:
  struct cell {
    Atomic<std::uint64_t> turn{0};
    T value{};
  };
  const std::uint64_t mask_;
  std::unique_ptr<cell[]> cells_;
  alignas(64) Atomic<std::uint64_t> tail_{0};
  alignas(64) Atomic<std::uint64_t> head_{0};
};

}  // namespace catenet::bus::detail
