// Atomics as the slab uses them: std::atomic, with the read-modify-writes counted thread by thread.
//
// The count is what the cost table of docs/slab.md is asserted against. It costs one plain increment beside
// an operation of twenty cycles or more, so it is always on. What runs under the interleaving checker of
// tests/slab is a template over this class's shape (load, store, exchange, compare_exchange, fetch_add).
#pragma once

#include <atomic>
#include <cstdint>

namespace catenet {

namespace detail {
inline constinit thread_local std::uint64_t rmw_count = 0;
}

/// How many atomic read-modify-writes the calling thread has done in the slab (a mutex counts as one).
inline std::uint64_t atomic_rmw_count() { return detail::rmw_count; }

template <typename T>
class atomic {
 public:
  constexpr atomic() = default;
  constexpr atomic(T value) : value_(value) {}

  [[nodiscard]] T load(std::memory_order order) const { return value_.load(order); }
  void store(T value, std::memory_order order) { value_.store(value, order); }
  T exchange(T value, std::memory_order order) {
    ++detail::rmw_count;
    return value_.exchange(value, order);
  }
  bool compare_exchange(T& expected, T desired, std::memory_order success, std::memory_order failure) {
    ++detail::rmw_count;
    return value_.compare_exchange_strong(expected, desired, success, failure);
  }
  T fetch_add(T n, std::memory_order order) {
    ++detail::rmw_count;
    return value_.fetch_add(n, order);
  }
  T fetch_sub(T n, std::memory_order order) {
    ++detail::rmw_count;
    return value_.fetch_sub(n, order);
  }
  T fetch_or(T n, std::memory_order order) {
    ++detail::rmw_count;
    return value_.fetch_or(n, order);
  }
  T fetch_and(T n, std::memory_order order) {
    ++detail::rmw_count;
    return value_.fetch_and(n, order);
  }

 private:
  std::atomic<T> value_{};
};

}  // namespace catenet
