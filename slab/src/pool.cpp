// A pool's slow paths: batches, the outbox and the inbox, and how references of every kind end.
#include <catenet/slab/pool.hpp>

#include <mimalloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

namespace catenet {

// Segments on their way home together: one allocation and one push for a whole batch, and the home can fetch them
// into its cache ahead of settling, where a list would make it wait for each. Dressed as a segment so that an inbox is one list.
struct parcel {
  static constexpr std::uint32_t capacity = 59;
  segment head;                 // kind parcel; length = how many items
  parcel* next_open = nullptr;  // among the sender's open parcels
  std::array<segment*, capacity> items;
};
static_assert(sizeof(parcel) == 512);

thread_local constinit pool* pool::current_ = nullptr;

namespace {

// Every pool of the process has a number and an inbox that outlives it: what still travels towards a thread that
// ended waits there until it is settled by a pool that takes the number over. A number stays with its depot until
// that ends, so a block never comes home to a stranger.
struct alignas(64) inbox_slot {
  std::atomic<segment*> incoming{nullptr};
  std::atomic<bool> taken{false};
  depot* owner = nullptr;  // guarded by registry_mutex
};
constexpr std::size_t pools_max = 1024;
inbox_slot inboxes[pools_max];

std::mutex registry_mutex;

pool_id take_number(depot& from) {
  const std::lock_guard lock(registry_mutex);
  for (std::size_t i = 0; i != pools_max; ++i) {
    inbox_slot& slot = inboxes[i];
    if (slot.taken.load(std::memory_order_relaxed) || (slot.owner != nullptr && slot.owner != &from)) continue;
    slot.owner = &from;
    slot.taken.store(true, std::memory_order_seq_cst);
    return static_cast<pool_id>(i);
  }
  std::fprintf(stderr, "catenet: more than %zu threads with a pool at one time\n", pools_max);
  std::abort();
}

bool take_over(pool_id id, const depot* from) {
  const std::lock_guard lock(registry_mutex);
  inbox_slot& slot = inboxes[id];
  if (slot.taken.load(std::memory_order_relaxed) || slot.owner == nullptr) return false;
  if (from != nullptr && slot.owner != from) return false;
  slot.taken.store(true, std::memory_order_seq_cst);
  return true;
}

// Sequentially consistent, as is every access to `taken`: of a push and a pool's end, at least one sees the other.
void push_inbox(pool_id home, segment* first, segment* last) {
  std::atomic<segment*>& incoming = inboxes[home].incoming;
  segment* below = incoming.load(std::memory_order_relaxed);
  do last->next = below;
  while (!incoming.compare_exchange_weak(below, first, std::memory_order_seq_cst, std::memory_order_relaxed));
}

}  // namespace

namespace detail {

void* allocate_control(std::size_t bytes) {
  if (injected_fault != nullptr && injected_fault()) [[unlikely]] return nullptr;
  return mi_malloc(bytes);
}
void release_control(void* at) { mi_free(at); }
segment* allocate_segment() { return static_cast<segment*>(allocate_control(sizeof(segment))); }
void release_segment(segment* s) { release_control(s); }

}  // namespace detail

pool::pool(depot& from) : pool(from, take_number(from)) {}

pool::pool(depot& from, pool_id number) : id_(number), depot_(from), previous_(std::exchange(current_, this)) {
  for (std::size_t c = 0; c != classes().count(); ++c)
    caches_[c].limit = from.batch(static_cast<size_class>(c)) + 1;
  from.enroll(*this);
}

pool::~pool() {
  // What comes home may send other things home to others, so both ends are emptied before the number is given up.
  do turn();
  while (dirty_ != nullptr || !resign());
  spill_all();
  depot_.leave(*this);
  while (free_segments_ != nullptr) {
    segment* s = free_segments_;
    free_segments_ = s->next;
    detail::release_segment(s);
  }
  detail::release_control(outboxes_);
  current_ = previous_;
}

block* pool::rent_slow(size_class c) { return refill(c) ? rent(c) : nullptr; }

bool pool::refill(size_class c) {
  cache& k = caches_[c];
  if (k.spare != nullptr) {
    k.head = std::exchange(k.spare, nullptr);
    k.count.set(k.spare_count.get());
    k.spare_count.set(0);
    return true;
  }
  if (detail::injected_fault != nullptr && detail::injected_fault()) [[unlikely]] return false;
  const arena::run batch = depot_.take(c);
  if (batch.head == nullptr) return false;
  for (block* b = batch.head; b != nullptr; b = b->link) b->home = id_;
  k.head = batch.head;
  k.count.set(batch.count);
  k.taken.add(batch.count);
  k.refills.add(1);
  return true;
}

void pool::overflow(size_class c) {
  cache& k = caches_[c];
  if (k.spare != nullptr) {
    const auto count = static_cast<std::uint32_t>(k.spare_count.get());
    depot_.put(c, {k.spare, count});
    k.given.add(count);
    k.spills.add(1);
  }
  k.spare = std::exchange(k.head, nullptr);
  k.spare_count.set(k.count.get());
  k.count.set(0);
}

void pool::spill_all() {
  for (std::size_t c = 0; c != classes().count(); ++c) {
    cache& k = caches_[c];
    for (int list = 0; list != 2; ++list)
      if (k.head != nullptr || k.spare != nullptr) overflow(static_cast<size_class>(c));
    if (k.spare == nullptr) continue;
    depot_.put(static_cast<size_class>(c), {k.spare, static_cast<std::uint32_t>(k.spare_count.get())});
    k.given.add(k.spare_count.get());
    k.spare = nullptr;
    k.spare_count.set(0);
  }
}

void pool::settle_holder(segment* s) {
  switch (s->kind) {
    case segment_kind::foreign:
      if (--s->foreign->refs == 0) {
        foreign_memory* f = s->foreign;
        f->release(f->context, f->data, f->size);
        detail::release_control(f);
      }
      break;
    case segment_kind::file:
      if (--s->file->refs == 0) {
        if (s->file->owned) ::close(s->file->fd);
        detail::release_control(s->file);
      }
      break;
    case segment_kind::proxy:
      if (--s->proxy->refs == 0) {
        drop(s->proxy->original);
        detail::release_control(s->proxy);
      }
      break;
    case segment_kind::constant:
    case segment_kind::block:
    case segment_kind::parcel:
      break;
  }
  free_segment(s);
}

// The open parcel for a home, or null when memory ran out.
parcel* pool::open_parcel(pool_id home) {
  if (outboxes_ == nullptr) {
    outboxes_ = static_cast<parcel**>(detail::allocate_control(pools_max * sizeof(parcel*)));
    if (outboxes_ == nullptr) return nullptr;
    std::fill_n(outboxes_, pools_max, nullptr);
  }
  if (outboxes_[home] != nullptr) return outboxes_[home];
  void* room = detail::allocate_control(sizeof(parcel));
  if (room == nullptr) return nullptr;
  auto* p = new (room) parcel;
  p->head.label(home, segment_kind::parcel);
  p->head.length = 0;
  p->next_open = std::exchange(dirty_, p);
  return outboxes_[home] = p;
}

void pool::post(segment* s) {
  parcel* p = outboxes_ != nullptr && outboxes_[s->home] != nullptr ? outboxes_[s->home] : open_parcel(s->home);
  if (p == nullptr) return drop_from_outside(s);  // no memory for a parcel: it travels alone
  p->items[p->head.length++] = s;
  if (p->head.length == parcel::capacity) flush();
}

// Sends every open parcel off.
void pool::flush() {
  while (parcel* p = dirty_) {
    dirty_ = p->next_open;
    const pool_id home = p->head.home;
    outboxes_[home] = nullptr;
    push_inbox(home, &p->head, &p->head);
    settle_if_gone(home);
  }
}

void pool::settle_parcel(parcel* p) {
  constexpr std::uint32_t ahead = 12;  // about as many misses as a core keeps in the air
  const std::uint32_t count = p->head.length;
  for (std::uint32_t i = 0; i != std::min(ahead, count); ++i) __builtin_prefetch(p->items[i], 1);
  for (std::uint32_t i = 0; i != count; ++i) {
    if (i + ahead < count) __builtin_prefetch(p->items[i + ahead], 1);
    settle(p->items[i]);
  }
  detail::release_control(p);
}

void pool::drop_from_outside(segment* s) {
  const pool_id home = s->home;
  push_inbox(home, s, s);
  settle_if_gone(home);
}

// When the home's thread has ended, its number is taken over for the moment that settling takes.
void pool::settle_if_gone(pool_id home) {
  if (inboxes[home].taken.load(std::memory_order_seq_cst) || !take_over(home, nullptr)) return;
  const pool stand_in(*inboxes[home].owner, home);
}

void pool::settle_all_gone(depot& of) {
  for (std::size_t i = 0; i != pools_max; ++i)
    if (take_over(static_cast<pool_id>(i), &of)) const pool stand_in(of, static_cast<pool_id>(i));
  const std::lock_guard lock(registry_mutex);
  for (inbox_slot& slot : inboxes)
    if (slot.owner == &of) slot.owner = nullptr;
}

// Gives the number up, unless something came home in the meantime.
bool pool::resign() {
  const std::lock_guard lock(registry_mutex);
  inbox_slot& slot = inboxes[id_];
  slot.taken.store(false, std::memory_order_seq_cst);
  if (slot.incoming.load(std::memory_order_seq_cst) == nullptr) return true;
  slot.taken.store(true, std::memory_order_seq_cst);
  return false;
}

void pool::settle_all(segment* s) {
  while (s != nullptr) {
    segment* next = s->next;
    if (s->kind == segment_kind::parcel)
      settle_parcel(reinterpret_cast<parcel*>(s));
    else
      settle(s);
    s = next;
  }
}

void pool::turn() {
  flush();
  std::atomic<segment*>& incoming = inboxes[id_].incoming;
  if (incoming.load(std::memory_order_relaxed) == nullptr) return;
  settle_all(incoming.exchange(nullptr, std::memory_order_acquire));
}

}  // namespace catenet
