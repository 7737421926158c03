// Reserves address space, carves spans into blocks and gives them back.
#include <catenet/slab/arena.hpp>
#include <catenet/slab/ownership.hpp>
#include <catenet/slab/poison.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>

namespace catenet {

namespace {

std::byte* reserve(std::size_t bytes, std::string& error) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    error = "slab: mmap of " + std::to_string(bytes >> 20) +
            " MiB of address space: " + strerrorname_np(errno) +
            "; lower the slab's capacity or raise RLIMIT_AS";
    return nullptr;
  }
  // A core dump of a server should show what it held, not gigabytes of bodies.
  madvise(at, bytes, MADV_DONTDUMP);
  return static_cast<std::byte*>(at);
}

// A table of which a few pages are used must not become huge pages where the system makes them unasked.
template <typename T>
T* reserve_table(std::size_t count, std::string& error) {
  std::byte* at = reserve(count * sizeof(T), error);
  if (at != nullptr) madvise(at, count * sizeof(T), MADV_NOHUGEPAGE);
  return reinterpret_cast<T*>(at);
}

template <typename T>
void release_table(T* at, std::size_t count) {
  if (at != nullptr) munmap(at, count * sizeof(T));
}

// Under the lock, for those who read without it.
void set_shared(std::size_t& number, std::size_t value) {
  std::atomic_ref(number).store(value, std::memory_order_relaxed);
}

constexpr std::uint32_t all_spans = 0xffffffffu;
static_assert(spans_per_extent == 32, "the spans of an extent are one 32-bit word");

constexpr std::uint32_t row_of(std::uint32_t spans) { return spans == 32 ? all_spans : (1u << spans) - 1u; }
constexpr std::uint32_t spans_of(std::uint8_t shift) { return shift <= 16 ? 1u : 1u << (shift - 16); }

}  // namespace

arena::arena(std::size_t capacity, bool huge_pages) : huge_pages_(huge_pages) {
  extents_ = std::max<std::size_t>(1, (capacity + extent_size - 1) / extent_size);
  descriptors_ = reserve_table<block>(extents_ * spans_per_extent * blocks_per_span_max, error_);
  spans_ = reserve_table<span_record>(extents_ * spans_per_extent, error_);
  table_ = reserve_table<extent_record>(extents_, error_);
  if (descriptors_ == nullptr || spans_ == nullptr || table_ == nullptr) return;
  // One extent more than asked for, so that the base can be aligned.
  std::byte* raw = reserve((extents_ + 1) * extent_size, error_);
  if (raw == nullptr) return;
  const auto address = reinterpret_cast<std::uintptr_t>(raw);
  const std::uintptr_t aligned = (address + extent_size - 1) & ~(extent_size - 1);
  if (aligned != address) munmap(raw, aligned - address);
  base_ = reinterpret_cast<std::byte*>(aligned);
  if (const std::size_t behind = extent_size - (aligned - address); behind != 0)
    munmap(base_ + extents_ * extent_size, behind);
}

arena::~arena() {
  release_table(descriptors_, extents_ * spans_per_extent * blocks_per_span_max);
  release_table(spans_, extents_ * spans_per_extent);
  release_table(table_, extents_);
  if (base_ == nullptr) return;
  unpoison(base_, seen_ * extent_size);  // the shadow of all that is reserved would be written otherwise
  munmap(base_, extents_ * extent_size);
}

// A row of spans in that extent, aligned to its own length, or npos. Under mutex_.
std::size_t arena::claim_in(std::size_t extent, std::uint32_t spans) {
  extent_record& e = table_[extent];
  const std::uint32_t row = row_of(spans);
  for (std::uint32_t at = 0; at < spans_per_extent; at += spans) {
    if ((e.used >> at & row) != 0) continue;
    e.used |= row << at;
    dirty_ -= static_cast<std::size_t>(std::popcount(e.dirty & row << at));
    e.dirty &= ~(row << at);
    if (huge_pages_ && !e.advised) {
      e.advised = true;
      madvise(base_ + extent * extent_size, extent_size, MADV_HUGEPAGE);
    }
    seen_ = std::max(seen_, extent + 1);
    return extent * spans_per_extent + at;
  }
  return npos;
}

std::size_t arena::claim(std::uint32_t spans, std::size_t extent) {
  if (extent != anywhere) return claim_in(extent, spans);
  for (std::size_t e = first_free_; e < extents_; ++e) {
    if (table_[e].used == all_spans) {
      if (e == first_free_) ++first_free_;
      continue;
    }
    if (const std::size_t at = claim_in(e, spans); at != npos) return at;
  }
  return npos;
}

arena::run arena::carve(size_class cls, std::uint8_t shift, std::size_t extent) {
  const std::uint32_t spans = spans_of(shift);
  const std::lock_guard lock(mutex_);
  const std::size_t span = claim(spans, extent);
  if (span == npos) return {};
  for (std::uint32_t i = 0; i != spans; ++i) {
    spans_[span + i] = {};
    spans_[span + i].shift = shift;
  }
  set_shared(committed_, committed_ + spans * span_size);
  const std::uint32_t count = shift <= 16 ? 1u << (16 - shift) : 1u;
  run made{descriptor(span, 0), count};
  for (std::uint32_t i = 0; i != count; ++i) {
    block* b = new (descriptor(span, i)) block{};
    b->data = base_ + span * span_size + (std::size_t{i} << shift);
    b->cls = cls;
    b->shift = shift;
    detail::move_block(*b, block_state::depot);
    b->home = no_pool;
    b->own.label(no_pool, segment_kind::block);
    b->own.next_free = i + 1 == count ? nullptr : descriptor(span, i + 1);
    poison(b->data, b->capacity());
  }
  return made;
}

void arena::uncarve(block* first) {
  const std::size_t span = span_index(first);
  const std::uint32_t spans = spans_of(first->shift), count = blocks_in_span(first);
  const std::lock_guard lock(mutex_);
  for (std::uint32_t i = 0; i != count; ++i) detail::move_block(*descriptor(span, i), block_state::unborn);
  for (std::uint32_t i = 0; i != spans; ++i) spans_[span + i] = {};
  set_shared(committed_, committed_ - spans * span_size);
  const std::size_t e = span / spans_per_extent;
  const std::uint32_t row = row_of(spans) << (span % spans_per_extent);
  table_[e].used &= ~row;
  table_[e].dirty |= row;
  dirty_ += spans;
  first_free_ = std::min(first_free_, e);
}

// Gives the dirty spans of an extent back, neighbours in one call; returns how many bytes. Under mutex_.
std::size_t arena::trim_extent(std::size_t extent) {
  extent_record& e = table_[extent];
  std::byte* at = base_ + extent * extent_size;
  const auto spans = static_cast<std::size_t>(std::popcount(e.dirty));
  if (e.used == 0) {
    madvise(at, extent_size, MADV_DONTNEED);
    block* table = descriptor(extent * spans_per_extent, 0);
    madvise(table, spans_per_extent * blocks_per_span_max * sizeof(block), MADV_DONTNEED);
    e.dirty = 0;
  }
  while (e.dirty != 0) {
    const int from = std::countr_zero(e.dirty);
    const int length = std::countr_one(e.dirty >> from);
    madvise(at + static_cast<std::size_t>(from) * span_size, static_cast<std::size_t>(length) * span_size,
            MADV_DONTNEED);
    e.dirty &= ~(row_of(static_cast<std::uint32_t>(length)) << from);
  }
  dirty_ -= spans;
  return spans * span_size;
}

std::size_t arena::trim(std::size_t bytes_max, bool (*pinned)(void* context, std::size_t extent),
                        void* context) {
  std::size_t given = 0;
  const std::lock_guard lock(mutex_);
  for (std::size_t looked = 0; looked != seen_ && dirty_ != 0 && given < bytes_max; ++looked) {
    const std::size_t extent = trim_at_ < seen_ ? trim_at_ : 0;
    trim_at_ = extent + 1;
    if (table_[extent].dirty == 0 || (pinned != nullptr && pinned(context, extent))) continue;
    given += trim_extent(extent);
  }
  return given;
}

block* arena::find(const void* address) const {
  const auto* at = static_cast<const std::byte*>(address);
  if (base_ == nullptr || at < base_ || at >= base_ + capacity()) return nullptr;
  const auto offset = static_cast<std::size_t>(at - base_);
  std::size_t span = offset / span_size;
  const std::lock_guard lock(mutex_);
  const std::uint8_t shift = spans_[span].shift;
  if (shift == 0) return nullptr;
  if (shift > 16) {
    span &= ~((std::size_t{1} << (shift - 16)) - 1);
    return descriptor(span, 0);
  }
  return descriptor(span, static_cast<std::uint32_t>((offset % span_size) >> shift));
}

std::uint32_t arena::spans_of_size(std::size_t extent, std::uint8_t shift) const {
  std::uint32_t found = 0;
  const std::lock_guard lock(mutex_);
  for (std::uint32_t at = 0; at < spans_per_extent; at += spans_of(shift))
    if (spans_[extent * spans_per_extent + at].shift == shift) found |= 1u << at;
  return found;
}

// Without the lock, as every core asks once a turn.
std::size_t arena::committed() const {
  return std::atomic_ref(const_cast<std::size_t&>(committed_)).load(std::memory_order_relaxed);
}

}  // namespace catenet
