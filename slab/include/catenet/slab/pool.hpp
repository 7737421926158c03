// The pool: a thread's cache of free blocks, and the only place where references are counted.
//
//   rent ◀── active list ──▶ return            all plain loads and stores; no atomics, no locks
//              │  ▲
//              ▼  │ swap whole lists
//             spare list ◀── batch ──▶ depot
//
// Two lists of at most a batch each: a thread that swings around a batch's edge swaps the lists and never
// runs to the depot and back for every block.
//
// What belongs to another pool and is dropped here goes into the outbox, and from there, a whole list at a
// time, into the inbox of its home, which settles it at its next turn.
#pragma once

#include <catenet/slab/block.hpp>
#include <catenet/slab/counter.hpp>
#include <catenet/slab/depot.hpp>
#include <catenet/slab/ownership.hpp>
#include <catenet/slab/poison.hpp>
#include <catenet/slab/segment.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace catenet {

struct parcel;
class account;
class waiter;

namespace detail {
struct waiting_lists;
// Control objects, from mimalloc; null when memory ran out.
void* allocate_control(std::size_t bytes);
// For tests: asked before every control allocation and before the depot is asked for blocks; true makes it
// fail.
inline bool (*injected_fault)() = nullptr;
void release_control(void* at);
segment* allocate_segment();
void release_segment(segment* s);

// Keeps an address in a register of its own. Memory renaming (see block.hpp) works for a register plus a
// constant and not for base + index, which is what a compiler makes of an array element.
template <typename T>
inline T* in_register(T* at) {
  asm("" : "+r"(at));
  return at;
}
}  // namespace detail

/// A thread's pool. Makes itself the thread's current pool while it lives (the one before it, if any, is
/// current again afterwards). Used on the thread that made it only. Must not outlive its depot.
class pool {
 public:
  explicit pool(depot& from);
  ~pool();
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;

  /// The calling thread's pool, or null.
  static pool* current() { return current_; }
  /// Makes another pool of this thread the current one (null: none) and returns the one before: for who runs
  /// several cores on one thread in turn, as the simulation does.
  static pool* make_current(pool* p) { return std::exchange(current_, p); }

  [[nodiscard]] depot& home_depot() const { return depot_; }
  [[nodiscard]] const size_class_table& classes() const { return depot_.classes(); }
  [[nodiscard]] pool_id id() const { return id_; }

  /// Rents a block: refs 1, state rented; its bytes are whatever they were. Null when the depot's capacity is
  /// reached. O(1), no atomic operation while the cache has one.
  block* rent(size_class c, const caller& who = caller::current());

  /// The same for a purpose: priority::transmit may take from what the depot keeps aside, and a request is
  /// refused while one of the same or a higher priority waits. rent() asks as priority::in_process.
  block* rent_for(size_class c, priority urgency, const caller& who = caller::current());

  /// A block of class `c` from the same extent as `with` (so that one registered buffer holds both) when
  /// this cache or the depot has one or the extent has room, else from anywhere. For a header and its body.
  /// O(blocks in the cache), and where the extent is full O(blocks on the shelf). Null when the capacity is
  /// reached.
  block* rent_beside(size_class c, const block* with, const caller& who = caller::current());

  /// Rents a block, or, when none is to be had, notes the waiter down and returns null: it is served from
  /// turn(), first-in first-out within its priority. Null without w.waiting() means that not even the note
  /// found memory.
  block* rent_or_wait(waiter& w);
  /// Withdraws a waiter's request. O(1).
  void stop_waiting(waiter& w);

  /// Called, mostly from a foreign thread, when turn() has something to do for somebody who waits: it must
  /// wake this pool's thread if that sleeps (write to an eventfd, say), and nothing else. Null to set it off.
  void set_wake(void (*hook)(void* context), void* context);

  /// Idle memory goes back, here and at the depot. Cheap when nothing is due: call it once a turn, or every
  /// 100 ms. `now_ms` is any monotonic clock, the same for all pools of a depot. True when this call stopped
  /// at its bounds: call it again in some ten milliseconds, then.
  bool decay(std::uint64_t now_ms);

  /// Gives a block back whose last reference has ended (refs 0). At home only.
  void give(block* b, const caller& who = caller::current());

  /// Marks a rented block as lent to the kernel, and back.
  void lend(block* b) {
    detail::move_block(*b, block_state::lent);
    caches_[b->cls].lent.add(1);
  }
  void unlend(block* b) {
    detail::move_block(*b, block_state::rented);
    caches_[b->cls].lent.sub(1);
  }

  /// A segment for a new view of `b`, whose reference the caller has counted already: the built-in one when
  /// it is free, else an overflow segment (charged to who pays for the block). Null when memory ran out, or
  /// the payer's hard limit stands against it.
  segment* segment_for(block* b);
  /// An overflow segment, home here, unmarked. Null when memory ran out.
  segment* new_segment(segment_kind kind);

  /// Ends a segment and the reference it holds: at once if its home is here, else by way of the outbox.
  void drop(segment* s) {
    if (s->home == id_) [[likely]]
      settle(s);
    else
      post(s);
  }

  /// The same for a whole list by `next`.
  void drop_list(segment* s) {
    while (s != nullptr) {
      segment* next = s->next;
      drop(s);
      s = next;
    }
  }

  /// Ends one reference to foreign memory that was made here.
  void drop_foreign(foreign_memory* f);

  /// Ends a segment from a thread that has no pool: straight to the home's inbox.
  static void drop_from_outside(segment* s);

  /// Once a turn of the loop: sends the outboxes off, settles what came home, serves who waits. True when
  /// somebody who waits here could be served at once by another turn, because a block came back meanwhile: do
  /// not sleep before it.
  bool turn();

  /// Gives every cached block back to the depot.
  void spill_all();

 private:
  friend class depot;

  // What rent and give touch comes first and lies in one cache line. A power of two, so that it is found by a
  // shift.
  struct alignas(256) cache {
    block* head = nullptr;    // active list
    counter count;            // blocks in it
    std::uint64_t limit = 0;  // overflow at this many; 1 while somebody waits
    block* spare = nullptr;   // a list to swap with
    counter spare_count;
    counter lent;
    counter taken, given;     // blocks moved from and to the depot
    counter refills, spills;  // batches
    counter waiters;
    detail::want want;  // at the depot
  };

  block* rent_slow(size_class c, const caller& who);
  bool refill(size_class c);
  void load(size_class c, arena::run batch);
  void overflow(size_class c);
  void swap_lists(cache& k);
  void spill(size_class c);
  void put(size_class c, arena::run batch);
  void decay_class(size_class c);
  arena::run cut_coldest(cache& k, std::uint64_t count);

  bool someone_waits(size_class c, priority at_least) const;
  void stop_all_waiting();
  bool serve_waiters();
  bool serve(size_class c);
  void ask_depot(size_class c);
  bool help_who_wait(std::uint32_t wanted);
  void uncharge(block* b);
  segment* charged_segment(account& payer);
  static void uncharge_segment(segment* s);
  void settle(segment* s);
  void settle_holder(segment* s);
  void settle_parcel(parcel* p);
  void settle_all(segment* s);
  segment* take_segment();
  segment* make_segment();
  void keep_segment(segment* s);
  void post(segment* s);
  parcel* open_parcel(pool_id home);
  static void send_alone(segment* s);
  static void send(pool_id home, segment* s);
  bool await_arrivals(bool awaited);
  void flush();
  bool resign();
  pool(depot& from, pool_id number);
  static void settle_if_gone(pool_id home);
  static void settle_all_gone(depot& of);

  static constexpr std::uint32_t segment_cache_max = 256;

  static thread_local constinit pool* current_;

  std::array<cache, size_class_count_max> caches_;
  segment* free_segments_ = nullptr;  // home here, kind block, no marks: a view needs no label
  std::uint32_t free_segment_count_ = 0;
  pool_id id_ = no_pool;
  depot& depot_;
  parcel** outboxes_ = nullptr;               // the open parcel for each home; made at the first foreign drop
  parcel* dirty_ = nullptr;                   // every open parcel, by next_open
  counter posted_, settled_;                  // segments sent to other homes, and come home from others
  counter moves_;                             // odd while blocks move between this pool and the depot
  detail::waiting_lists* waiting_ = nullptr;  // made when somebody waits for the first time
  std::uint32_t waited_ = 0;                  // classes somebody here waits for, a bit a class
  std::uint32_t pressed_ = 0;                 // what the depot was seen to want: caches were spilled for it
  atomic<bool> delivery_{false};              // the depot has put blocks aside for us
  void (*wake_)(void*) = nullptr;             // guarded by the depot's pools_mutex_
  void* wake_context_ = nullptr;
  std::uint64_t decay_due_ = 0;
  pool* previous_ = nullptr;
};

inline block* pool::rent(size_class c, const caller& who) {
  cache* k = detail::in_register(&caches_[c]);
  block* b = k->head;
  if (b == nullptr) [[unlikely]]
    return rent_slow(c, who);
  k->head = b->own.next_free;
  k->count.sub(1);
  b->refs = 1;
  b->in_flight = 0;
  b->idle = false;
  detail::move_block(*b, block_state::rented);
#ifdef CATENET_CHECKS
  ++b->generation;
#endif
  detail::note_rent(b, who);
  unpoison(b->data, b->capacity());
  return b;
}

inline void pool::give(block* b, const caller& who) {
  detail::note_return(b, who);
  b->refs = 0;
  b->in_flight = 0;
  b->idle = false;
  detail::move_block(*b, block_state::cached);
  if (b->payer != nullptr) [[unlikely]]
    uncharge(b);
  cache* k = detail::in_register(&caches_[b->cls]);
  poison(b->data, b->capacity());
  b->own.next_free = k->head;
  k->head = b;
  const std::uint64_t count = k->count.get() + 1;
  k->count.set(count);
  if (count >= k->limit) [[unlikely]]
    overflow(b->cls);
}

inline segment* pool::take_segment() {
  segment* s = free_segments_;
  if (s == nullptr) [[unlikely]]
    return make_segment();
  free_segments_ = s->next;
  --free_segment_count_;
  return s;
}

inline segment* pool::new_segment(segment_kind kind) {
  segment* s = take_segment();
  if (s != nullptr) s->label(id_, kind);
  return s;
}

inline segment* pool::segment_for(block* b) {
  segment* s = &b->own;
  if (!b->own_used) {
    b->own_used = true;
  } else {
    s = b->payer == nullptr ? take_segment() : charged_segment(*b->payer);
    if (s == nullptr) [[unlikely]]
      return nullptr;
  }
  s->blk = b;
  return s;
}

inline void pool::settle(segment* s) {
  if (s->kind != segment_kind::block) [[unlikely]]
    return settle_holder(s);
  block* b = s->blk;
  if (s == &b->own) {
    b->own_used = false;
    s->clear_marks();
  } else {
    if (s->charged) [[unlikely]]
      uncharge_segment(s);
    keep_segment(s);
  }
  if (--b->refs == 0) give(b);
}

inline void pool::keep_segment(segment* s) {
  if (free_segment_count_ < segment_cache_max) [[likely]] {
    s->clear_marks();
    s->next = free_segments_;
    free_segments_ = s;
    ++free_segment_count_;
  } else {
    detail::release_segment(s);
  }
}

}  // namespace catenet
