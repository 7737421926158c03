// A view: shared, read-only, part of one block. Three words that are copied freely on the thread that rented
// the block; a copy is one increment and its end one decrement, both without atomics.
#pragma once

#include <catenet/slab/chain.hpp>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace catenet {

/// Holds one reference to its block. Stays on the thread whose pool rented the block (to cross, make it a
/// chain). While a view lives nobody writes to the block, not even behind the view's end.
class view {
 public:
  view() = default;
  /// The bytes [offset, offset + length) of a leased block, which must be rented by this thread's pool.
  view(lease&& from, std::uint32_t offset, std::uint32_t length)
      : block_(from.release()), data_(block_->data + offset), length_(length) {
    assert(std::size_t{offset} + length <= block_->capacity());
  }
  view(const view& other) : block_(other.block_), data_(other.data_), length_(other.length_) {
    if (block_ != nullptr) ++block_->refs;
  }
  view(view&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)),
        data_(other.data_),
        length_(std::exchange(other.length_, 0)) {}
  view& operator=(view other) noexcept {
    std::swap(block_, other.block_);
    data_ = other.data_;
    length_ = other.length_;
    return *this;
  }
  ~view() {
    if (block_ != nullptr && --block_->refs == 0) [[unlikely]]
      pool::current()->give(block_);
  }

  explicit operator bool() const { return block_ != nullptr; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, length_}; }
  /// A narrower view; the range is cut to what there is.
  [[nodiscard]] view part(std::uint32_t offset, std::uint32_t length) const {
    view narrow = *this;
    offset = std::min(offset, length_);
    narrow.data_ += offset;
    narrow.length_ = std::min(length, length_ - offset);
    return narrow;
  }

  /// A chain of these bytes, which may leave the thread. std::nullopt when memory ran out.
  [[nodiscard]] std::optional<chain> to_chain() const {
    std::optional<chain> made{std::in_place};
    if (length_ == 0) return made;
    segment* s = pool::current()->segment_for(block_);
    if (s == nullptr) {
      made.reset();
      return made;
    }
    ++block_->refs;
    s->data = data_;
    s->length = length_;
    made->append_segment(s);
    return made;
  }

 private:
  block* block_ = nullptr;
  std::byte* data_ = nullptr;
  std::uint32_t length_ = 0;
};

}  // namespace catenet
