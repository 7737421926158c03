// A lease: the unique, writable right to one block.
#pragma once

#include <catenet/slab/pool.hpp>

#include <cstddef>
#include <span>
#include <utility>

namespace catenet {

/// Move-only; gives the block back when it ends. Empty when the slab had no block. Stays on the thread whose
/// pool rented it; a chain made of it may move.
class lease {
 public:
  lease() = default;
  explicit lease(block* b) : block_(b) {}
  lease(lease&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  lease& operator=(lease&& other) noexcept {
    if (this != &other) {
      reset();
      block_ = std::exchange(other.block_, nullptr);
    }
    return *this;
  }
  ~lease() { reset(); }

  /// Rents from the calling thread's pool the smallest block of at least `bytes` (the largest there is when
  /// none is so big). Empty when the thread has no pool or the capacity is reached.
  static lease of(std::size_t bytes, const caller& who = caller::current()) {
    pool* p = pool::current();
    return p == nullptr ? lease{} : lease{p->rent(p->classes().fitting(bytes), who)};
  }

  explicit operator bool() const { return block_ != nullptr; }
  [[nodiscard]] std::span<std::byte> bytes() const {
    return block_ == nullptr ? std::span<std::byte>{}
                             : std::span<std::byte>{block_->data, block_->capacity()};
  }
  [[nodiscard]] block* get() const { return block_; }
  [[nodiscard]] block* release() { return std::exchange(block_, nullptr); }

  void reset() {
    if (block_ == nullptr) return;
    block_->refs = 0;
    pool::current()->give(std::exchange(block_, nullptr));
  }

 private:
  block* block_ = nullptr;
};

}  // namespace catenet
