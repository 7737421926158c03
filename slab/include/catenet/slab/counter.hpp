// A counter that one thread writes and any thread reads: plain loads and stores, never a read-modify-write.
#pragma once

#include <atomic>
#include <cstdint>

namespace catenet {

class counter {
 public:
  void add(std::uint64_t n) { value_.store(get() + n, std::memory_order_relaxed); }
  void sub(std::uint64_t n) { value_.store(get() - n, std::memory_order_relaxed); }
  void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace catenet
