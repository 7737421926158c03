// The depot's shelves: batches in and out, what is kept aside, and who gets what while somebody waits.
#include <catenet/slab/depot.hpp>
#include <catenet/slab/pool.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdio>
#include <utility>

namespace catenet {

namespace {

std::size_t default_capacity() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_size = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_size <= 0) return 4_GiB;
  return static_cast<std::size_t>(pages) * static_cast<std::size_t>(page_size) / 2;
}

constexpr std::size_t reserved_size_max = 64_KiB;

// A batch that stands in the depot keeps its length, and the batch below it, in the built-in segment of its
// first block: nobody uses that while the block is free.
void label(const arena::run& batch) { batch.head->own.length = batch.count; }
arena::run labelled(block* head) { return {head, head->own.length}; }

// Cuts the first `count` blocks off a batch.
arena::run cut(arena::run& from, std::uint32_t count) {
  if (count >= from.count) return std::exchange(from, {});
  const arena::run front{from.head, count};
  block* last = front.head;
  for (std::uint32_t i = 1; i < count; ++i) last = last->own.next_free;
  from.head = count == 0 ? from.head : std::exchange(last->own.next_free, nullptr);
  from.count -= count;
  return count == 0 ? arena::run{} : front;
}

}  // namespace

depot::depot(depot_options options)
    : options_(options),
      arena_(options.capacity == 0 ? default_capacity() : options.capacity, options.huge_pages) {
  if (!options_.classes.valid()) options_.classes = size_class_table{};
  for (std::size_t c = 0; c != options_.classes.count(); ++c) {
    const std::size_t fit = options_.batch_bytes / options_.classes.size(c);
    batch_[c] =
        static_cast<std::uint32_t>(std::clamp<std::size_t>(fit, 1, std::max(1u, options_.batch_blocks)));
  }
}

depot::~depot() {
  pool::settle_all_gone(*this);
#ifdef CATENET_CHECKS
  report_missing();
#endif
}

#ifdef CATENET_CHECKS
// Who has what did not come home, block by block.
void depot::report_missing() {
  constexpr int lines_max = 20;
  for (const class_statistics& c : statistics().classes)
    if (c.rented + c.lent != 0)
      std::fprintf(stderr, "catenet: slab ended with %llu blocks of %zu bytes still out\n",
                   static_cast<unsigned long long>(c.rented + c.lent), c.size);
  int lines = 0;
  for (std::size_t span = 0; span != arena_.extent_count() * spans_per_extent && lines != lines_max; ++span) {
    if (arena_.record(span).shift == 0) continue;
    const block* first = arena_.first_block(span);
    if (first->data == nullptr) continue;
    for (std::uint32_t i = 0; i != arena::blocks_in_span(first) && lines != lines_max; ++i) {
      const block* b = arena_.sibling(first, i);
      if (b->state < block_state::rented) continue;
      detail::report_holder(b);
      ++lines;
    }
  }
}
#endif

// ---- taking
// --------------------------------------------------------------------------------------------------

arena::run depot::take(size_class c) {
  if (wanted() >> c & 1) [[unlikely]]
    return {};
  shelf& s = shelves_[c];
  if (block* head = s.slots.take()) return labelled(head);
  {
    const std::lock_guard lock(s.mutex);
    ++detail::rmw_count;
    if (const arena::run idle = take_idle(s, c); idle.head != nullptr) return idle;
  }
  arena::run made = carve(c);
  if (made.head == nullptr && reclaim(c)) made = carve(c);
  return made;
}

// What lies here beyond the slots. Under the shelf's mutex.
arena::run depot::take_idle(shelf& s, size_class c) {
  if (block* head = s.store) {
    s.store = head->own.blk;
    return labelled(head);
  }
  return s.cold == 0 ? arena::run{} : take_cold(s, batch_[c]);
}

// A batch fresh from the arena; what the span holds beyond that is laid on the shelf.
arena::run depot::carve(size_class c, std::size_t extent) {
  arena::run made = arena_.carve(c, options_.classes.shift(c), extent);
  if (made.head == nullptr) return made;
  shelf& s = shelves_[c];
  s.total.fetch_add(made.count, std::memory_order_relaxed);
  set_aside(c, made);
  const arena::run first = cut(made, batch_[c]);
  while (made.head != nullptr) put(c, cut(made, batch_[c]));
  return first;
}

// The first blocks of a class become the reserve for transmitting.
void depot::set_aside(size_class c, arena::run& fresh) {
  shelf& s = shelves_[c];
  if (options_.transmit_reserve == 0 || options_.classes.size(c) > reserved_size_max) return;
  const std::lock_guard lock(s.mutex);
  if (std::exchange(s.reserve_made, true)) return;
  // A span of one block goes to who asked for it; the reserve then fills from what comes back.
  s.reserve_lacking.store(options_.transmit_reserve, std::memory_order_relaxed);
  if (fresh.count > options_.transmit_reserve) fill_reserve(s, fresh);
}

// Tops the reserve up from a batch. Under the shelf's mutex.
void depot::fill_reserve(shelf& s, arena::run& batch) {
  std::uint32_t lacking = s.reserve_lacking.load(std::memory_order_relaxed);
  for (; lacking != 0 && batch.head != nullptr; --lacking) {
    block* b = batch.head;
    batch.head = b->own.next_free;
    --batch.count;
    b->own.next_free = std::exchange(s.reserve, b);
    ++s.reserved;
  }
  s.reserve_lacking.store(lacking, std::memory_order_relaxed);
}

arena::run depot::take_reserved(size_class c) {
  shelf& s = shelves_[c];
  const std::lock_guard lock(s.mutex);
  ++detail::rmw_count;
  block* b = s.reserve;
  if (b == nullptr) return {};
  s.reserve = std::exchange(b->own.next_free, nullptr);
  --s.reserved;
  s.reserve_lacking.store(s.reserve_lacking.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return {b, 1};
}

arena::run depot::take_near(size_class c, std::size_t extent) {
  if (wanted() >> c & 1) [[unlikely]]
    return {};
  shelf& s = shelves_[c];
  std::uint32_t spans = 0;
  {
    const std::lock_guard lock(s.mutex);
    ++detail::rmw_count;
    spans = arena_.spans_of_size(extent, options_.classes.shift(c));
    if (const arena::run cold = take_cold_near(s, spans, extent); cold.head != nullptr) return cold;
  }
  if (const arena::run fresh = carve(c, extent); fresh.head != nullptr || spans == 0) return fresh;
  const std::lock_guard lock(s.mutex);
  ++detail::rmw_count;
  return take_shelved_near(s, extent);
}

// One block off the batches that lie here. Those of the slots go to the store for it, where nobody misses
// them: who finds the slots empty waits for the mutex and looks there. Under the shelf's mutex.
arena::run depot::take_shelved_near(shelf& s, std::size_t extent) {
  while (block* head = s.slots.take()) head->own.blk = std::exchange(s.store, head);
  for (block** batch = &s.store; *batch != nullptr; batch = &(*batch)->own.blk) {
    block* const head = *batch;
    if (arena_.extent_index(head) == extent) {
      block* const rest = std::exchange(head->own.next_free, nullptr);
      *batch = rest != nullptr ? rest : head->own.blk;
      if (rest != nullptr) {
        rest->own.blk = head->own.blk;
        label({rest, head->own.length - 1});
      }
      return {head, 1};
    }
    for (block *before = head, *b = head->own.next_free; b != nullptr; before = b, b = b->own.next_free) {
      if (arena_.extent_index(b) != extent) continue;
      before->own.next_free = std::exchange(b->own.next_free, nullptr);
      --head->own.length;
      return {b, 1};
    }
  }
  return {};
}

// ---- giving
// --------------------------------------------------------------------------------------------------

void depot::put(size_class c, arena::run batch) {
  shelf& s = shelves_[c];
  if (s.reserve_lacking.load(std::memory_order_relaxed) != 0) [[unlikely]] {
    std::array<pool*, 8> transmitters{};  // may take what the reserve gets; nobody deals it out to them
    std::size_t count = 0;
    {
      const std::lock_guard lock(s.mutex);
      ++detail::rmw_count;
      fill_reserve(s, batch);
      for (const detail::want* w = s.wants; w != nullptr && count != transmitters.size(); w = w->next)
        if (w->best == priority::transmit) transmitters[count++] = w->who;
    }
    for (std::size_t i = 0; i != count; ++i) wake(transmitters[i]);
    if (batch.head == nullptr) return;
  }
  label(batch);
  if (!s.slots.put(batch.head)) {
    const std::lock_guard lock(s.mutex);
    ++detail::rmw_count;
    batch.head->own.blk = s.store;
    s.store = batch.head;
  }
  // After the batch can be seen: of this and want_blocks(), which raises the flag and then looks, one sees
  // the other.
  if (wanted() != 0) [[unlikely]]
    relieve(c);
}

// ---- waiting
// -------------------------------------------------------------------------------------------------

void depot::want_blocks(size_class c, detail::want& w, std::uint32_t needed, priority best) {
  shelf& s = shelves_[c];
  {
    const std::lock_guard lock(s.mutex);
    w.best = best;
    w.needed = needed > w.delivered_count ? needed - w.delivered_count : 0;
    if (!w.listed) {
      w.listed = true;
      w.ticket = tickets_.fetch_add(1, std::memory_order_relaxed);
      w.next = std::exchange(s.wants, &w);
    }
    wanted_.fetch_or(1u << c, std::memory_order_seq_cst);
  }
  if (!hand_out(c) && (reclaim(c), !hand_out(c))) wake_holders(c, w.who);
}

arena::run depot::collect(size_class c, detail::want& w) {
  const std::lock_guard lock(shelves_[c].mutex);
  return {std::exchange(w.delivered, nullptr), std::exchange(w.delivered_count, 0u)};
}

void depot::forget(size_class c, detail::want& w) {
  unlist_want(shelves_[c], c, w);
  if (wanted() == 0) tell_homes();
}

void depot::unlist_want(shelf& s, size_class c, detail::want& w) {
  const std::lock_guard lock(s.mutex);
  for (detail::want** link = &s.wants; *link != nullptr; link = &(*link)->next) {
    if (*link != &w) continue;
    *link = w.next;
    break;
  }
  w.listed = false;
  w.needed = 0;
  if (s.wants == nullptr) wanted_.fetch_and(~(1u << c), std::memory_order_seq_cst);
}

// Puts blocks aside for those who wait, the most urgent first, then the oldest; false when somebody got less
// than needed. A pool that was served keeps its place in the list until it says that nobody waits there any
// more.
bool depot::hand_out(size_class c) {
  shelf& s = shelves_[c];
  std::array<pool*, 8> served{};
  std::size_t count = 0;
  bool all = true;
  {
    const std::lock_guard lock(s.mutex);
    while (count != served.size()) {
      detail::want* next = nullptr;
      for (detail::want* w = s.wants; w != nullptr; w = w->next)
        if (w->needed != 0 &&
            (next == nullptr || std::pair{w->best, w->ticket} < std::pair{next->best, next->ticket}))
          next = w;
      if (next == nullptr) break;
      arena::run batch;
      if (block* head = s.slots.take()) batch = labelled(head);
      if (batch.head == nullptr) batch = take_idle(s, c);
      if (batch.head == nullptr) {
        batch = arena_.carve(c, options_.classes.shift(c));
        s.total.fetch_add(batch.count, std::memory_order_relaxed);
      }
      if (batch.head == nullptr) {
        all = false;
        break;
      }
      arena::run share = cut(batch, next->needed);
      if (batch.head != nullptr) {
        label(batch);
        batch.head->own.blk = s.store;
        s.store = batch.head;
      }
      next->needed -= share.count;
      next->delivered_count += share.count;
      next->ticket = tickets_.fetch_add(1, std::memory_order_relaxed);
      block* last = share.head;
      while (last->own.next_free != nullptr) last = last->own.next_free;
      last->own.next_free = std::exchange(next->delivered, share.head);
      served[count++] = next->who;
    }
  }
  for (std::size_t i = 0; i != count; ++i) wake(served[i]);
  return all && (count != served.size() || hand_out(c));
}

// Something of class `returned` was put down while somebody waits.
void depot::relieve(size_class returned) {
  for (std::uint32_t left = wanted(); left != 0; left &= left - 1) {
    const auto c = static_cast<size_class>(std::countr_zero(left));
    if (hand_out(c) || c == returned) continue;
    if (reclaim(c)) hand_out(c);
  }
}

// Tells a pool's thread that something lies ready. The pool may have ended: then it is not in the list.
void depot::wake(pool* who) {
  const std::lock_guard lock(pools_mutex_);
  if (std::find(pools_.begin(), pools_.end(), who) == pools_.end()) return;
  who->delivery_.store(true, std::memory_order_seq_cst);
  if (who->wake_ != nullptr) who->wake_(who->wake_context_);
}

// Wakes the pools whose caches hold blocks of that class, or to whom blocks have come home: their next turn
// spills them.
void depot::wake_holders(size_class c, const pool* but) {
  const std::lock_guard lock(pools_mutex_);
  for (pool* p : pools_) {
    const pool::cache& k = p->caches_[c];
    const bool mail = p->await_arrivals(true);
    const bool cached = p != but && k.count.get() + k.spare_count.get() != 0;
    if ((mail || cached) && p->wake_ != nullptr) p->wake_(p->wake_context_);
  }
}

// Something has come home there while somebody waits. From any thread.
void depot::wake_home(pool_id home) {
  const std::lock_guard lock(pools_mutex_);
  for (pool* p : pools_)
    if (p->id_ == home && p->wake_ != nullptr) p->wake_(p->wake_context_);
}

// Whether anybody waits, for those who send something home.
void depot::tell_homes() {
  const std::lock_guard lock(pools_mutex_);
  for (pool* p : pools_) p->await_arrivals(wanted() != 0);
}

// ---- pools and sums
// ------------------------------------------------------------------------------------------

void depot::enroll(pool& p) {
  const std::lock_guard lock(pools_mutex_);
  pools_.push_back(&p);
  p.await_arrivals(wanted() != 0);
}

void depot::leave(pool& p) {
  const std::lock_guard lock(pools_mutex_);
  std::erase(pools_, &p);
  p.await_arrivals(false);
  departed_posted_ += p.posted_.get();
  departed_settled_ += p.settled_.get();
  for (std::size_t c = 0; c != options_.classes.count(); ++c) {
    const pool::cache& k = p.caches_[c];
    departed_flows_[c].taken += k.taken.get();
    departed_flows_[c].given += k.given.get();
    departed_flows_[c].refills += k.refills.get();
    departed_flows_[c].spills += k.spills.get();
  }
}

// One reading of every counter. Under pools_mutex_. Counters read between two equal, even readings of `moves`
// belong together: the reader's half of a sequence lock (moving.hpp).
struct depot::tally {
  struct line {
    flows sum;
    std::uint64_t total = 0, cached = 0, lent = 0, waiters = 0;
  };
  std::array<line, size_class_count_max> of;
  std::uint64_t moves = 0, posted = 0, settled = 0;
  bool moving = false;
};

void depot::collect(tally& t) const {
  t = {};
  t.posted = departed_posted_;
  t.settled = departed_settled_;
  for (const pool* p : pools_) {
    t.moving |= (p->moves_.get() & 1) != 0;
    t.moves += p->moves_.get();
    t.posted += p->posted_.get();
    t.settled += p->settled_.get();
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  for (std::size_t c = 0; c != options_.classes.count(); ++c) {
    tally::line& l = t.of[c];
    l.sum = departed_flows_[c];
    l.total = shelves_[c].total.load(std::memory_order_relaxed);
    for (const pool* p : pools_) {
      const pool::cache& k = p->caches_[c];
      l.cached += k.count.get() + k.spare_count.get();
      l.lent += k.lent.get();
      l.waiters += k.waiters.get();
      l.sum.taken += k.taken.get();
      l.sum.given += k.given.get();
      l.sum.refills += k.refills.get();
      l.sum.spills += k.spills.get();
    }
  }
  std::atomic_thread_fence(std::memory_order_acquire);
}

slab_statistics depot::statistics() const {
  slab_statistics all;
  all.committed_bytes = arena_.committed();
  all.capacity_bytes = arena_.capacity();
  const std::lock_guard lock(pools_mutex_);
  // Until no block has moved between two readings: then one cut goes through all that the first one saw.
  constexpr int tries = 50;
  tally t, again;
  collect(t);
  for (int i = 0; i != tries && !all.exact; ++i) {
    collect(again);
    all.exact = !t.moving && !again.moving && t.moves == again.moves;
    if (!all.exact) t = again;
  }
  all.pools = pools_.size();
  all.segments_homeward = t.posted > t.settled ? t.posted - t.settled : 0;
  for (std::size_t c = 0; c != options_.classes.count(); ++c) {
    const tally::line& l = t.of[c];
    class_statistics one;
    one.size = options_.classes.size(c);
    one.total = l.total;
    one.lent = l.lent;
    one.waiters = l.waiters;
    one.refills = l.sum.refills;
    one.spills = l.sum.spills;
    // Terms that belong to different moments must not make one below zero.
    const std::uint64_t outside =
        std::min(l.sum.taken > l.sum.given ? l.sum.taken - l.sum.given : 0, l.total);
    one.lent = std::min(one.lent, outside);
    one.cached = std::min(l.cached, outside - one.lent);
    one.in_depot = one.total - outside;
    one.rented = outside - one.cached - one.lent;
    high_water_[c] = std::max(high_water_[c], one.rented + one.lent);
    one.high_water = high_water_[c];
    all.classes.push_back(one);
  }
  return all;
}

}  // namespace catenet
