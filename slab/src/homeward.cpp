// How references of every kind end, and how what belongs to another pool travels home: parcels, inboxes, and
// what happens when the home's thread has ended.
#include <catenet/slab/pool.hpp>

#include "inbox.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

namespace catenet {

// Segments on their way home together: one allocation and one push for a whole batch, and the home can fetch
// them into its cache ahead of settling, where a list would make it wait for each. Dressed as a segment so
// that an inbox is one list.
struct parcel {
  static constexpr std::uint32_t capacity = 59;
  segment head;                 // kind parcel; length = how many items
  parcel* next_open = nullptr;  // among the sender's open parcels
  std::array<segment*, capacity> items;
};
static_assert(sizeof(parcel) == 512);

namespace {

// Every pool of the process has a number, and its inbox outlives it. A number stays with its depot until that
// ends, so a block never comes home to a stranger.
struct alignas(64) home_slot {
  inbox<segment> arrivals;
  atomic<bool> awaited{false};  // somebody waits for blocks: what arrives must not lie beside a sleeping home
  depot* owner = nullptr;       // guarded by registry_mutex
};
constexpr std::size_t pools_max = 1024;
home_slot homes[pools_max];
std::mutex registry_mutex;

pool_id take_number(depot& from) {
  const std::lock_guard lock(registry_mutex);
  for (std::size_t i = 0; i != pools_max; ++i) {
    home_slot& slot = homes[i];
    if ((slot.owner != nullptr && slot.owner != &from) || !slot.arrivals.claim()) continue;
    if (slot.owner == nullptr) slot.owner = &from;
    return static_cast<pool_id>(i);
  }
  std::fprintf(stderr, "catenet: more than %zu threads with a pool at one time\n", pools_max);
  std::abort();
}

bool take_over(pool_id id, const depot* from) {
  const std::lock_guard lock(registry_mutex);
  home_slot& slot = homes[id];
  if (slot.owner == nullptr || (from != nullptr && slot.owner != from)) return false;
  return slot.arrivals.claim();
}

}  // namespace

pool::pool(depot& from) : pool(from, take_number(from)) {}

pool::pool(depot& from, pool_id number)
    : id_(number), depot_(from), previous_(std::exchange(current_, this)) {
  for (std::size_t c = 0; c != classes().count(); ++c) {
    caches_[c].limit = from.batch(static_cast<size_class>(c)) + 1;
    caches_[c].want.who = this;
  }
  from.enroll(*this);
}

pool::~pool() {
  stop_all_waiting();
  // What comes home may send other things home to others, so both ends are emptied before the number is given
  // up.
  do turn();
  while (dirty_ != nullptr || !resign());
  spill_all();
  depot_.leave(*this);
  while (free_segments_ != nullptr) {
    segment* s = free_segments_;
    free_segments_ = s->next;
    detail::release_segment(s);
  }
  detail::release_control(static_cast<void*>(outboxes_));
  current_ = previous_;
}

bool pool::resign() {
  const std::lock_guard lock(registry_mutex);
  return homes[id_].arrivals.resign();
}

void pool::drop_foreign(foreign_memory* f) {
  if (--f->refs != 0) return;
  f->release(f->context, f->data, f->size);
  detail::release_control(f);
}

void pool::settle_holder(segment* s) {
  switch (s->kind) {
    case segment_kind::foreign:
      drop_foreign(s->foreign);
      break;
    case segment_kind::file:
      if (--s->file->refs == 0) {
        if (s->file->owned) ::close(s->file->fd);
        if (s->file->keeper != nullptr) drop_foreign(s->file->keeper);
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
  s->kind = segment_kind::block;
  keep_segment(s);
}

// ---- to other homes
// ------------------------------------------------------------------------------------------

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
  posted_.add(1);
  parcel* p =
      outboxes_ != nullptr && outboxes_[s->home] != nullptr ? outboxes_[s->home] : open_parcel(s->home);
  if (p == nullptr) return send_alone(s);
  p->items[p->head.length++] = s;
  if (p->head.length == parcel::capacity) flush();
}

// Sends every open parcel off.
void pool::flush() {
  while (parcel* p = dirty_) {
    dirty_ = p->next_open;
    const pool_id home = p->head.home;
    outboxes_[home] = nullptr;
    send(home, &p->head);
  }
}

void pool::send_alone(segment* s) { send(s->home, s); }

// Pushed first; then a look whether the home is still there, and whether it must be woken for it.
void pool::send(pool_id home, segment* s) {
  homes[home].arrivals.push(s, s);
  settle_if_gone(home);
  if (!homes[home].awaited.load(std::memory_order_seq_cst)) return;
  // Under the lock the depot cannot end; without it, what was just sent may have been the last it waited for.
  const std::lock_guard lock(registry_mutex);
  if (depot* owner = homes[home].owner) owner->wake_home(home);
}

// The other side of send(): raised first, looked at second.
bool pool::await_arrivals(bool awaited) {
  homes[id_].awaited.store(awaited, std::memory_order_seq_cst);
  return awaited && !homes[id_].arrivals.empty();
}

void pool::drop_from_outside(segment* s) {
  // Counted as posted by nobody; the home counts it as settled, and a snapshot does not go below zero.
  send_alone(s);
}

// When the home's thread has ended, its number is taken over for the moment that settling takes.
void pool::settle_if_gone(pool_id home) {
  if (homes[home].arrivals.held() || !take_over(home, nullptr)) return;
  const pool stand_in(*homes[home].owner, home);
}

void pool::settle_all_gone(depot& of) {
  for (std::size_t i = 0; i != pools_max; ++i)
    if (take_over(static_cast<pool_id>(i), &of)) const pool stand_in(of, static_cast<pool_id>(i));
  const std::lock_guard lock(registry_mutex);
  for (home_slot& slot : homes)
    if (slot.owner == &of) slot.owner = nullptr;
}

// ---- from other homes
// ----------------------------------------------------------------------------------------

void pool::settle_parcel(parcel* p) {
  constexpr std::uint32_t ahead = 12;  // about as many misses as a core keeps in the air
  const std::uint32_t count = p->head.length;
  for (std::uint32_t i = 0; i != std::min(ahead, count); ++i) __builtin_prefetch(p->items[i], 1);
  for (std::uint32_t i = 0; i != count; ++i) {
    if (i + ahead < count) __builtin_prefetch(p->items[i + ahead], 1);
    settle(p->items[i]);
  }
  settled_.add(count);
  detail::release_control(p);
}

void pool::settle_all(segment* s) {
  while (s != nullptr) {
    segment* next = s->next;
    if (s->kind == segment_kind::parcel) {
      settle_parcel(reinterpret_cast<parcel*>(s));
    } else {
      settle(s);
      settled_.add(1);
    }
    s = next;
  }
}

bool pool::turn() {
  flush();
  if (segment* arrived = homes[id_].arrivals.take_all()) settle_all(arrived);
  const std::uint32_t wanted = depot_.wanted();
  return (wanted | waited_ | pressed_) != 0 && help_who_wait(wanted);
}

}  // namespace catenet
