// The arena: where block memory comes from. It reserves address space once and commits it in extents of 2 MiB.
//
//   extent (2 MiB, aligned)   = 32 spans of 64 KiB; committed, advised as huge, given back as one
//   span (64 KiB)             = blocks of one size class; a class above 64 KiB takes 4 or 16 spans in a row
//
// Spans of several classes share an extent, so a header block and its body block can come from one extent (one
// registered buffer, as SENDMSG_ZC wants) and a small server needs only one or two extents.
//
// The descriptors are a second reservation, indexed by arithmetic. Within an extent they are laid out by block
// number first and span second, so that large classes, with one block a span, still fill whole cache pages.
#pragma once

#include <catenet/slab/block.hpp>
#include <catenet/slab/size_class.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace catenet {

inline constexpr std::size_t extent_size = 2 << 20;
inline constexpr std::size_t span_size = 64 << 10;
inline constexpr std::size_t spans_per_extent = extent_size / span_size;

/// Reserves, commits and gives back memory. Thread-safe: carving and giving back are rare and take a lock.
class arena {
 public:
  /// Reserves room for `capacity` bytes of blocks (rounded up to extents) and their descriptors; commits nothing.
  /// On failure ok() is false and error() says what mmap refused.
  arena(std::size_t capacity, bool huge_pages);
  ~arena();
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;

  [[nodiscard]] bool ok() const { return base_ != nullptr; }
  [[nodiscard]] const std::string& error() const { return error_; }

  /// A run of blocks of one class, fresh from a span: descriptors filled in, linked by `link`, state depot.
  struct run {
    block* head = nullptr;
    std::uint32_t count = 0;
  };

  /// Carves a span (or, for a class above 64 KiB, a row of spans) into blocks. Empty when the arena is full.
  run carve(size_class cls, std::uint8_t shift);

  /// Takes back a span whose blocks are all free and off every list; `first` is its first block. The memory
  /// returns to the system at once; the extent is forgotten when its last span is.
  void uncarve(block* first);

  /// The block that holds an address, or null when it is not in a carved span.
  [[nodiscard]] block* find(const void* address) const;

  /// How many blocks the span of `b` has, and the first of them.
  [[nodiscard]] static std::uint32_t blocks_in_span(const block* b) {
    return b->shift >= 16 ? 1u : 1u << (16 - b->shift);
  }
  [[nodiscard]] block* sibling(const block* b, std::uint32_t index) const;
  [[nodiscard]] std::size_t span_index(const block* b) const {
    return static_cast<std::size_t>(b->data - base_) / span_size;
  }

  [[nodiscard]] std::byte* base() const { return base_; }
  [[nodiscard]] std::size_t capacity() const { return extents_ * extent_size; }
  [[nodiscard]] std::size_t committed() const;  ///< bytes in carved spans

 private:
  [[nodiscard]] block* descriptor(std::size_t span, std::uint32_t index) const {
    return descriptors_ + (span / spans_per_extent) * (spans_per_extent * blocks_per_span_max) +
           index * spans_per_extent + span % spans_per_extent;
  }
  std::size_t claim(std::uint32_t spans);  // under mutex_; index of the first span, or npos

  static constexpr std::size_t blocks_per_span_max = span_size / block_size_min;
  static constexpr std::size_t npos = ~std::size_t{0};

  std::byte* base_ = nullptr;
  block* descriptors_ = nullptr;
  std::size_t extents_ = 0;
  std::size_t descriptor_bytes_ = 0;
  bool huge_pages_ = false;
  std::string error_;

  mutable std::mutex mutex_;
  std::vector<std::uint32_t> free_spans_;    // a bit a span of each extent seen so far; guarded by mutex_
  std::vector<std::uint8_t> span_shift_;     // log2 of the block size, 0 = not carved; written under mutex_
  std::size_t first_free_ = 0;               // no extent below it has a free span
  std::size_t committed_ = 0;
};

}  // namespace catenet
