// The arena: where block memory comes from. It reserves address space once and commits it in extents of 2
// MiB.
//
//   extent (2 MiB, aligned)   = 32 spans of 64 KiB; committed, advised as huge, given back as one
//   span (64 KiB)             = blocks of one size class; a class above 64 KiB takes 4 or 16 spans in a row
//
// Spans of several classes share an extent, so a header block and its body block can come from one extent
// (one registered buffer, as SENDMSG_ZC wants) and a small server needs only one or two extents.
//
// The descriptors are a second reservation, indexed by arithmetic. Within an extent they are laid out by
// block number first and span second, so that large classes, with one block a span, still fill whole cache
// pages.
#pragma once

#include <catenet/slab/block.hpp>
#include <catenet/slab/size_class.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

namespace catenet {

inline constexpr std::size_t extent_size = 2 << 20;
inline constexpr std::size_t span_size = 64 << 10;
inline constexpr std::size_t spans_per_extent = extent_size / span_size;

/// What the arena and the depot note about a span. For a class above 64 KiB only the first span of a row
/// counts.
struct span_record {
  block* free = nullptr;   ///< its blocks that lie in the depot's cold store; guarded by the class's shelf
  std::uint32_t next = 0;  ///< neighbours in the list of spans with cold blocks, as index + 1; 0 = none
  std::uint32_t previous = 0;
  std::uint16_t free_count = 0;
  std::uint8_t shift = 0;  ///< log2 of the block size, 0 = not carved; guarded by the arena
};

/// Reserves, commits and gives back memory. Thread-safe: carving and giving back are rare and take a lock.
class arena {
 public:
  /// Reserves room for `capacity` bytes of blocks (rounded up to extents) and their descriptors; commits
  /// nothing. On failure ok() is false and error() says what mmap refused.
  arena(std::size_t capacity, bool huge_pages);
  ~arena();
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;

  [[nodiscard]] bool ok() const { return base_ != nullptr; }
  [[nodiscard]] const std::string& error() const { return error_; }

  /// A run of blocks of one class, fresh from a span: descriptors filled in, linked by own.next_free, state
  /// depot.
  struct run {
    block* head = nullptr;
    std::uint32_t count = 0;
  };

  static constexpr std::size_t anywhere = ~std::size_t{0};

  /// Carves a span (or, for a class above 64 KiB, a row of spans) into blocks; with `extent`, in that extent
  /// only. Empty when there is no room.
  run carve(size_class cls, std::uint8_t shift, std::size_t extent = anywhere);

  /// Takes back a span whose blocks are all free and off every list; `first` is its first block. Its memory
  /// returns to the system at the next trim().
  void uncarve(block* first);

  /// Gives the memory of spans taken back to the system, at most about `bytes_max` of it; returns how much.
  /// An extent for which `pinned` says true is left alone (the kernel has its pages registered).
  std::size_t trim(std::size_t bytes_max, bool (*pinned)(void* context, std::size_t extent) = nullptr,
                   void* context = nullptr);

  /// The block that holds an address, or null when it is not in a carved span.
  [[nodiscard]] block* find(const void* address) const;

  /// The spans of an extent that hold blocks of that size (log2), a bit each; of a row only its first.
  [[nodiscard]] std::uint32_t spans_of_size(std::size_t extent, std::uint8_t shift) const;

  /// How many blocks the span of `b` has, and the one of that index.
  [[nodiscard]] static std::uint32_t blocks_in_span(const block* b) {
    return b->shift >= 16 ? 1u : 1u << (16 - b->shift);
  }
  [[nodiscard]] block* sibling(const block* b, std::uint32_t index) const {
    return descriptor(span_index(b), index);
  }
  [[nodiscard]] std::size_t span_index(const block* b) const {
    return static_cast<std::size_t>(b->data - base_) / span_size;
  }
  [[nodiscard]] std::size_t extent_index(const block* b) const { return span_index(b) / spans_per_extent; }
  [[nodiscard]] span_record& record(std::size_t span) { return spans_[span]; }
  [[nodiscard]] block* first_block(std::size_t span) const { return descriptor(span, 0); }

  /// Calls f(const block&) for every carved block, in the order in which the descriptors lie in memory. Holds
  /// the arena's lock meanwhile: nothing may be carved or given back in it.
  template <typename F>
  void for_each_block(F&& f) const;

  [[nodiscard]] std::byte* base() const { return base_; }
  [[nodiscard]] std::size_t extent_count() const { return extents_; }
  [[nodiscard]] std::size_t capacity() const { return extents_ * extent_size; }
  [[nodiscard]] std::size_t committed() const;  ///< bytes in carved spans

 private:
  struct extent_record {
    std::uint32_t used;   // a bit a span: carved
    std::uint32_t dirty;  // a bit a span: not carved, its pages not given back yet
    bool advised;         // huge pages were asked for
  };

  [[nodiscard]] block* descriptor(std::size_t span, std::uint32_t index) const {
    return descriptors_ + (span / spans_per_extent) * (spans_per_extent * blocks_per_span_max) +
           index * spans_per_extent + span % spans_per_extent;
  }
  std::size_t claim(std::uint32_t spans, std::size_t extent);  // index of the first span, or npos
  std::size_t claim_in(std::size_t extent, std::uint32_t spans);
  std::size_t trim_extent(std::size_t extent);

  static constexpr std::size_t blocks_per_span_max = span_size / block_size_min;
  static constexpr std::size_t npos = ~std::size_t{0};

  // Four mappings of address space; of the tables only the pages that are used cost memory.
  std::byte* base_ = nullptr;
  block* descriptors_ = nullptr;
  span_record* spans_ = nullptr;
  extent_record* table_ = nullptr;  // guarded by mutex_
  std::size_t extents_ = 0;
  bool huge_pages_ = false;
  std::string error_;

  mutable std::mutex mutex_;
  std::size_t first_free_ = 0;  // no extent below it has a free span
  std::size_t seen_ = 0;        // extents from here on were never used
  std::size_t committed_ = 0;
  std::size_t dirty_ = 0;    // spans
  std::size_t trim_at_ = 0;  // the extent to go on with
};

template <typename F>
void arena::for_each_block(F&& f) const {
  const std::lock_guard lock(mutex_);
  for (std::size_t e = 0; e != seen_; ++e) {
    const std::size_t span = e * spans_per_extent;
    std::array<std::uint32_t, 17> of_count{};  // the spans that have 2^n blocks, a bit each
    std::uint32_t left = 0;                    // those that have more than `i`
    for (std::uint32_t used = table_[e].used; used != 0; used &= used - 1) {
      const int at = std::countr_zero(used);
      const std::uint8_t shift = spans_[span + static_cast<std::size_t>(at)].shift;
      const bool inside_row = shift > 16 && at % (1 << (shift - 16)) != 0;
      if (shift == 0 || inside_row) continue;
      of_count[shift < 16 ? 16 - shift : 0] |= 1u << at;
      left |= 1u << at;
    }
    for (std::uint32_t i = 0; left != 0; ++i) {
      if (std::has_single_bit(i)) left &= ~of_count[static_cast<std::size_t>(std::countr_zero(i))];
      for (std::uint32_t bits = left; bits != 0; bits &= bits - 1)
        f(std::as_const(*descriptor(span + static_cast<std::size_t>(std::countr_zero(bits)), i)));
    }
  }
}

}  // namespace catenet
