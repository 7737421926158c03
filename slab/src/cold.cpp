// The depot's cold store: free blocks kept by span, so that a span that is free as a whole can go back.
//
// A batch is a list of blocks from anywhere. What nobody needed for a while is taken apart here, each block
// laid to the others of its span; when a span is complete it is uncarved, and its memory returns to the
// system.
#include <catenet/slab/depot.hpp>
#include <catenet/slab/pool.hpp>
#include <catenet/slab/registry.hpp>

#include <algorithm>
#include <bit>
#include <utility>

namespace catenet {

// Lays a free block to its span; a complete span goes back to the arena. Under the shelf's mutex.
void depot::chill(shelf& s, block* b) {
  const std::size_t span = arena_.span_index(b);
  span_record& r = arena_.record(span);
  b->own.next_free = std::exchange(r.free, b);
  ++s.cold;
  if (++r.free_count == 1) {
    r.next = std::exchange(s.cold_spans, static_cast<std::uint32_t>(span + 1));
    r.previous = 0;
    if (r.next != 0) arena_.record(r.next - 1).previous = s.cold_spans;
  }
  const std::uint32_t all = arena::blocks_in_span(b);
  if (r.free_count != all) return;
  unlist(s, span);
  s.cold -= all;
  s.total.fetch_sub(all, std::memory_order_relaxed);
  arena_.uncarve(arena_.first_block(span));
}

void depot::unlist(shelf& s, std::size_t span) {
  span_record& r = arena_.record(span);
  if (r.next != 0) arena_.record(r.next - 1).previous = r.previous;
  (r.previous == 0 ? s.cold_spans : arena_.record(r.previous - 1).next) = r.next;
  r.next = r.previous = 0;
}

// Blocks out of the cold store. Under the shelf's mutex.
arena::run depot::take_cold(shelf& s, std::uint32_t most) {
  arena::run got;
  while (got.count != most && s.cold_spans != 0) {
    const std::size_t span = s.cold_spans - 1;
    span_record& r = arena_.record(span);
    while (got.count != most && r.free != nullptr) {
      block* b = r.free;
      r.free = b->own.next_free;
      b->own.next_free = std::exchange(got.head, b);
      ++got.count;
      --r.free_count;
      --s.cold;
    }
    if (r.free_count == 0) unlist(s, span);
  }
  return got;
}

// One block out of those spans of that extent. Under the shelf's mutex, under which spans of its class come
// to their end.
arena::run depot::take_cold_near(shelf& s, std::uint32_t spans, std::size_t extent) {
  for (; spans != 0; spans &= spans - 1) {
    const std::size_t span = extent * spans_per_extent + static_cast<std::size_t>(std::countr_zero(spans));
    span_record& r = arena_.record(span);
    if (r.free == nullptr) continue;
    block* const b = std::exchange(r.free, r.free->own.next_free);
    b->own.next_free = nullptr;
    --s.cold;
    if (--r.free_count == 0) unlist(s, span);
    return {b, 1};
  }
  return {};
}

// Takes batches apart, at least `blocks` blocks if there are so many; returns how many. Under the shelf's
// mutex.
std::uint64_t depot::chill_batches(shelf& s, std::uint64_t blocks) {
  std::uint64_t done = 0;
  while (done < blocks) {
    block* b = s.store;
    if (b != nullptr)
      s.store = b->own.blk;
    else
      b = s.slots.take();
    if (b == nullptr) break;
    while (b != nullptr) {
      block* next = b->own.next_free;
      chill(s, b);
      b = next;
      ++done;
    }
  }
  return done;
}

// Half of the least that lay here since the last call: what lies here now, less all that came in meanwhile.
bool depot::decay_class(size_class c, std::size_t& budget) {
  shelf& s = shelves_[c];
  std::uint64_t taken = 0, given = 0;
  {
    const std::lock_guard lock(pools_mutex_);
    taken = departed_flows_[c].taken;
    given = departed_flows_[c].given;
    for (const pool* p : pools_) {
      taken += p->caches_[c].taken.get();
      given += p->caches_[c].given.get();
    }
  }
  const std::lock_guard lock(s.mutex);
  const std::uint64_t here = s.total.load(std::memory_order_relaxed) + given;
  const std::uint64_t not_batched = taken + s.cold + s.reserved;
  const std::uint64_t batched = here > not_batched ? here - not_batched : 0;
  const std::uint64_t came = given - std::exchange(s.given_before, given);
  const std::uint64_t half = batched > came ? (batched - came + 1) / 2 : 0;
  const std::uint64_t done = chill_batches(s, std::min<std::uint64_t>(half, budget));
  budget -= std::min<std::uint64_t>(done, budget);
  return done < half;
}

bool depot::decay(std::size_t blocks_max) {
  bool more = false;
  for (std::size_t c = 0; c != options_.classes.count(); ++c)
    more |= decay_class(static_cast<size_class>(c), blocks_max);
  extent_registry* const registry = registry_.load(std::memory_order_acquire);
  const std::size_t given = registry == nullptr
                                ? arena_.trim(trim_bytes_max)
                                : arena_.trim(
                                      trim_bytes_max,
                                      [](void* context, std::size_t extent) {
                                        return static_cast<extent_registry*>(context)->holds(extent);
                                      },
                                      registry);
  return more || given >= trim_bytes_max;
}

// The arena has no room for a class: spans of the other classes that are free as a whole make some. True when
// anything was gained.
bool depot::reclaim(size_class but) {
  const std::size_t before = arena_.committed();
  for (std::size_t c = 0; c != options_.classes.count(); ++c) {
    if (c == but) continue;
    shelf& s = shelves_[c];
    const std::lock_guard lock(s.mutex);
    chill_batches(s, ~std::uint64_t{0});
  }
  return arena_.committed() < before;
}

}  // namespace catenet
