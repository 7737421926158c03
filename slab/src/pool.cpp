// A pool's caches: batches to and from the depot, lists to swap, and what idles.
#include <catenet/slab/pool.hpp>
#include <catenet/slab/sanitizer.hpp>

#include "moving.hpp"

#include <mimalloc.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace catenet {

thread_local constinit pool* pool::current_ = nullptr;

namespace detail {

// ThreadSanitizer does not see how mimalloc hands memory from thread to thread, and would call its second use
// a race.
void* allocate_control(std::size_t bytes) {
  if (injected_fault != nullptr && injected_fault()) [[unlikely]]
    return nullptr;
#ifdef CATENET_TSAN
  return std::malloc(bytes);
#else
  return mi_malloc(bytes);
#endif
}
void release_control(void* at) {
#ifdef CATENET_TSAN
  std::free(at);
#else
  mi_free(at);
#endif
}
segment* allocate_segment() { return static_cast<segment*>(allocate_control(sizeof(segment))); }
void release_segment(segment* s) { release_control(s); }

}  // namespace detail

namespace {

constexpr std::uint64_t decay_interval_ms = 100;
constexpr std::uint64_t decay_hurry_ms = 10;  // while there is more to give than one call does

}  // namespace

segment* pool::make_segment() {
  segment* s = detail::allocate_segment();
  if (s != nullptr) s->label(id_, segment_kind::block);
  return s;
}

block* pool::rent_slow(size_class c, const caller& who) { return rent_for(c, priority::in_process, who); }

block* pool::rent_for(size_class c, priority urgency, const caller& who) {
  cache& k = caches_[c];
  if (waited_ == 0 || !someone_waits(c, urgency)) {
    if (k.head != nullptr || refill(c)) return rent(c, who);
  }
  if (urgency != priority::transmit) return nullptr;
  const arena::run kept = depot_.take_reserved(c);
  if (kept.head == nullptr) return nullptr;
  load(c, kept);
  return rent(c, who);
}

block* pool::rent_beside(size_class c, const block* with, const caller& who) {
  arena& a = depot_.memory();
  const std::size_t extent = a.extent_index(with);
  if (waited_ != 0) return rent(c, who);
  cache& k = caches_[c];
  const auto bring_forward = [&](block*& list) {
    for (block** link = &list; *link != nullptr; link = &(*link)->own.next_free) {
      if (a.extent_index(*link) != extent) continue;
      block* b = std::exchange(*link, (*link)->own.next_free);
      b->own.next_free = std::exchange(k.head, b);
      return true;
    }
    return false;
  };
  if (bring_forward(k.head)) return rent(c, who);
  if (bring_forward(k.spare)) {
    const detail::moving mark(moves_);
    k.spare_count.sub(1);
    k.count.add(1);
    return rent(c, who);
  }
  if (const arena::run near = depot_.take_near(c, extent); near.head != nullptr) load(c, near);
  return rent(c, who);
}

// Puts a batch from the depot on top of the active list.
void pool::load(size_class c, arena::run batch) {
  const detail::moving mark(moves_);
  cache& k = caches_[c];
  block* last = batch.head;
  for (block* b = batch.head; b != nullptr; last = b, b = b->own.next_free) {
    b->home = id_;
    b->own.home = id_;
    b->idle = false;
    detail::move_block(*b, block_state::cached);
  }
  last->own.next_free = k.head;
  k.head = batch.head;
  k.count.add(batch.count);
  k.taken.add(batch.count);
  k.refills.add(1);
}

// Within a `moving` of the caller's, who has taken the batch off its list.
void pool::put(size_class c, arena::run batch) {
  cache& k = caches_[c];
  for (block* b = batch.head; b != nullptr; b = b->own.next_free) detail::move_block(*b, block_state::depot);
  k.given.add(batch.count);
  k.spills.add(1);
  depot_.put(c, batch);
}

// The spare list becomes the active one.
void pool::swap_lists(cache& k) {
  const detail::moving mark(moves_);
  k.head = std::exchange(k.spare, nullptr);
  k.count.set(k.spare_count.get());
  k.spare_count.set(0);
}

bool pool::refill(size_class c) {
  cache& k = caches_[c];
  if (k.spare != nullptr) {
    swap_lists(k);
    return true;
  }
  if (detail::injected_fault != nullptr && detail::injected_fault()) [[unlikely]]
    return false;
  const arena::run batch = depot_.take(c);
  if (batch.head == nullptr) return false;
  load(c, batch);
  return true;
}

// The active list is full: it becomes the spare one, and that goes to the depot.
void pool::overflow(size_class c) {
  const detail::moving mark(moves_);
  cache& k = caches_[c];
  if ((waited_ | pressed_) >> c & 1) {
    // Somebody waits: not even rent() may have what has just come back. The next turn deals it out.
    while (block* b = k.head) {
      k.head = b->own.next_free;
      b->own.next_free = std::exchange(k.spare, b);
    }
    k.spare_count.add(k.count.get());
    k.count.set(0);
    if ((waited_ >> c & 1) == 0) spill(c);
    return;
  }
  const arena::run old{k.spare, static_cast<std::uint32_t>(k.spare_count.get())};
  k.spare = std::exchange(k.head, nullptr);
  k.spare_count.set(k.count.get());
  k.count.set(0);
  if (old.head != nullptr) put(c, old);
}

void pool::spill(size_class c) {
  const detail::moving mark(moves_);
  cache& k = caches_[c];
  for (int list = 0; list != 2; ++list) {
    if (k.head != nullptr) {
      const arena::run all{k.head, static_cast<std::uint32_t>(k.count.get())};
      k.head = nullptr;
      k.count.set(0);
      put(c, all);
    }
    if (k.spare != nullptr) swap_lists(k);
  }
}

void pool::spill_all() {
  for (std::size_t c = 0; c != classes().count(); ++c) spill(static_cast<size_class>(c));
}

// ---- what idles
// ----------------------------------------------------------------------------------------------

// The `count` blocks that were used longest ago: of the spare list, then the end of the active one.
arena::run pool::cut_coldest(cache& k, std::uint64_t count) {
  arena::run cut;
  while (cut.count != count && k.spare != nullptr) {
    block* b = k.spare;
    k.spare = b->own.next_free;
    k.spare_count.sub(1);
    b->own.next_free = std::exchange(cut.head, b);
    ++cut.count;
  }
  if (cut.count == count) return cut;
  const std::uint64_t rest = count - cut.count;
  block** link = &k.head;
  for (std::uint64_t keep = k.count.get() - rest; keep != 0; --keep) link = &(*link)->own.next_free;
  while (block* b = *link) {
    *link = b->own.next_free;
    b->own.next_free = std::exchange(cut.head, b);
    ++cut.count;
  }
  k.count.sub(rest);
  return cut;
}

// Half of the low-water mark, rounded up, so that an idle cache ends at nothing. The mark is not kept in
// rent(): what was here all the time since the last call is what bears its mark still.
void pool::decay_class(size_class c) {
  cache& k = caches_[c];
  std::uint64_t low = 0;
  for (block* const list : {k.head, k.spare})
    for (const block* b = list; b != nullptr; b = b->own.next_free) low += b->idle;
  if (low != 0) {
    const detail::moving mark(moves_);
    put(c, cut_coldest(k, (low + 1) / 2));
  }
  for (block* const list : {k.head, k.spare})
    for (block* b = list; b != nullptr; b = b->own.next_free) b->idle = true;
}

bool pool::decay(std::uint64_t now_ms) {
  if (now_ms >= decay_due_) {
    decay_due_ = now_ms + decay_interval_ms;
    for (std::size_t c = 0; c != classes().count(); ++c) decay_class(static_cast<size_class>(c));
    // Segments come from mimalloc and go back there.
    for (std::uint32_t half = (free_segment_count_ + 1) / 2; half != 0; --half) {
      segment* s = free_segments_;
      free_segments_ = s->next;
      --free_segment_count_;
      detail::release_segment(s);
    }
  }
  // The depot's share is done by whichever pool comes first.
  std::uint64_t due = depot_.decay_due_.load(std::memory_order_relaxed);
  if (now_ms < due ||
      !depot_.decay_due_.compare_exchange(due, now_ms + decay_interval_ms, std::memory_order_relaxed,
                                          std::memory_order_relaxed))
    return false;
  constexpr std::size_t blocks_max = 16'384;  // a millisecond or so
  const bool more = depot_.decay(blocks_max);
  if (more) depot_.decay_due_.store(now_ms + decay_hurry_ms, std::memory_order_relaxed);
  return more;
}

}  // namespace catenet
