// Reserves address space, carves spans into blocks and gives them back.
#include <catenet/slab/arena.hpp>
#include <catenet/slab/poison.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>

namespace catenet {

namespace {

std::byte* reserve(std::size_t bytes, std::string& error) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    error = "slab: mmap of " + std::to_string(bytes >> 20) + " MiB of address space: " + strerrorname_np(errno) +
            "; lower the slab's capacity or raise RLIMIT_AS";
    return nullptr;
  }
  // A core dump of a server should show what it held, not gigabytes of bodies.
  madvise(at, bytes, MADV_DONTDUMP);
  return static_cast<std::byte*>(at);
}

constexpr std::uint32_t all_free = 0xffffffffu;
static_assert(spans_per_extent == 32, "free spans are one 32-bit word an extent");

}  // namespace

arena::arena(std::size_t capacity, bool huge_pages) : huge_pages_(huge_pages) {
  extents_ = std::max<std::size_t>(1, (capacity + extent_size - 1) / extent_size);
  // One extent more than asked for, so that the base can be aligned.
  std::byte* raw = reserve((extents_ + 1) * extent_size, error_);
  if (raw == nullptr) return;
  descriptor_bytes_ = extents_ * spans_per_extent * blocks_per_span_max * sizeof(block);
  std::byte* table = reserve(descriptor_bytes_, error_);
  if (table == nullptr) {
    munmap(raw, (extents_ + 1) * extent_size);
    return;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(raw);
  const std::uintptr_t aligned = (address + extent_size - 1) & ~(extent_size - 1);
  if (aligned != address) munmap(raw, aligned - address);
  base_ = reinterpret_cast<std::byte*>(aligned);
  if (const std::size_t behind = extent_size - (aligned - address); behind != 0)
    munmap(base_ + extents_ * extent_size, behind);
  descriptors_ = reinterpret_cast<block*>(table);
}

arena::~arena() {
  if (base_ == nullptr) return;
  unpoison(base_, extents_ * extent_size);
  munmap(base_, extents_ * extent_size);
  munmap(descriptors_, descriptor_bytes_);
}

std::size_t arena::claim(std::uint32_t spans) {
  const std::uint32_t row = spans == 32 ? all_free : (1u << spans) - 1u;
  for (std::size_t e = first_free_; e < extents_; ++e) {
    if (e == free_spans_.size()) {
      free_spans_.push_back(all_free);
      span_shift_.resize((e + 1) * spans_per_extent, 0);
      if (huge_pages_) madvise(base_ + e * extent_size, extent_size, MADV_HUGEPAGE);
    }
    std::uint32_t& free = free_spans_[e];
    if (free == 0) {
      if (e == first_free_) ++first_free_;
      continue;
    }
    for (std::uint32_t at = 0; at < spans_per_extent; at += spans) {
      if ((free >> at & row) != row) continue;
      free &= ~(row << at);
      return e * spans_per_extent + at;
    }
  }
  return npos;
}

arena::run arena::carve(size_class cls, std::uint8_t shift) {
  const std::uint32_t spans = shift <= 16 ? 1u : 1u << (shift - 16);
  const std::lock_guard lock(mutex_);
  const std::size_t span = claim(spans);
  if (span == npos) return {};
  for (std::uint32_t i = 0; i != spans; ++i) span_shift_[span + i] = shift;
  committed_ += spans * span_size;
  const std::uint32_t count = shift <= 16 ? 1u << (16 - shift) : 1u;
  run made{descriptor(span, 0), count};
  for (std::uint32_t i = 0; i != count; ++i) {
    block* b = new (descriptor(span, i)) block{};
    b->data = base_ + span * span_size + (std::size_t{i} << shift);
    b->cls = cls;
    b->shift = shift;
    b->state = block_state::depot;
    b->home = no_pool;
    b->link = i + 1 == count ? nullptr : descriptor(span, i + 1);
    poison(b->data, b->capacity());
  }
  return made;
}

void arena::uncarve(block* first) {
  const std::size_t span = span_index(first);
  const std::uint32_t spans = first->shift <= 16 ? 1u : 1u << (first->shift - 16);
  const std::uint32_t count = blocks_in_span(first);
  const std::lock_guard lock(mutex_);
  for (std::uint32_t i = 0; i != count; ++i) descriptor(span, i)->state = block_state::unborn;
  madvise(base_ + span * span_size, spans * span_size, MADV_DONTNEED);
  for (std::uint32_t i = 0; i != spans; ++i) span_shift_[span + i] = 0;
  committed_ -= spans * span_size;
  const std::size_t e = span / spans_per_extent;
  const std::uint32_t row = spans == 32 ? all_free : (1u << spans) - 1u;
  free_spans_[e] |= row << (span % spans_per_extent);
  first_free_ = std::min(first_free_, e);
  if (free_spans_[e] == all_free) {
    block* table = descriptors_ + e * (spans_per_extent * blocks_per_span_max);
    madvise(table, spans_per_extent * blocks_per_span_max * sizeof(block), MADV_DONTNEED);
  }
}

block* arena::find(const void* address) const {
  const auto* at = static_cast<const std::byte*>(address);
  if (base_ == nullptr || at < base_ || at >= base_ + capacity()) return nullptr;
  const auto offset = static_cast<std::size_t>(at - base_);
  std::size_t span = offset / span_size;
  const std::lock_guard lock(mutex_);
  if (span >= span_shift_.size() || span_shift_[span] == 0) return nullptr;
  const std::uint8_t shift = span_shift_[span];
  if (shift > 16) {
    span &= ~((std::size_t{1} << (shift - 16)) - 1);
    return descriptor(span, 0);
  }
  return descriptor(span, static_cast<std::uint32_t>((offset % span_size) >> shift));
}

block* arena::sibling(const block* b, std::uint32_t index) const { return descriptor(span_index(b), index); }

std::size_t arena::committed() const {
  const std::lock_guard lock(mutex_);
  return committed_;
}

}  // namespace catenet
