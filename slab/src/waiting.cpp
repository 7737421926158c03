// Waiting for blocks, seen from a pool: its queues, how they are served, and what it gives up while others
// wait.
//
// A request is queued here and told to the depot, once a class. What comes back here is dealt out here first;
// what the depot puts aside for us is picked up in the next turn. While anybody waits for a class, nothing of
// it stays in a cache.
#include <catenet/slab/waiter.hpp>

#include "moving.hpp"

#include <boost/intrusive/list.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <new>
#include <utility>

namespace catenet {

namespace detail {

struct waiting_lists {
  using queue = boost::intrusive::list<waiter, boost::intrusive::constant_time_size<false>>;
  std::array<std::array<queue, priority_count>, size_class_count_max> of;
};

}  // namespace detail

namespace {

waiter* first_of(detail::waiting_lists& lists, size_class c) {
  for (auto& queue : lists.of[c])
    if (!queue.empty()) return &queue.front();
  return nullptr;
}

}  // namespace

// Whether somebody waits here for that class with this priority or a higher one.
bool pool::someone_waits(size_class c, priority at_least) const {
  if ((waited_ >> c & 1) == 0) return false;
  for (std::size_t p = 0; p <= static_cast<std::size_t>(at_least); ++p)
    if (!waiting_->of[c][p].empty()) return true;
  return false;
}

block* pool::rent_or_wait(waiter& w) {
  if (block* b = rent_for(w.cls_, w.urgency_)) return b;
  if (waiting_ == nullptr) {
    void* room = detail::allocate_control(sizeof(detail::waiting_lists));
    if (room == nullptr) return nullptr;
    waiting_ = new (room) detail::waiting_lists;
  }
  cache& k = caches_[w.cls_];
  waiting_->of[w.cls_][static_cast<std::size_t>(w.urgency_)].push_back(w);
  w.at_ = this;
  k.waiters.add(1);
  k.limit = 1;
  waited_ |= 1u << w.cls_;
  ask_depot(w.cls_);
  return nullptr;
}

void pool::stop_waiting(waiter& w) {
  waiting_->of[w.cls_][static_cast<std::size_t>(w.urgency_)].erase(
      detail::waiting_lists::queue::s_iterator_to(w));
  w.at_ = nullptr;
  caches_[w.cls_].waiters.sub(1);  // the depot hears of it in the next turn
}

void pool::stop_all_waiting() {
  if (waiting_ == nullptr) return;
  for (std::size_t c = 0; c != classes().count(); ++c)
    while (waiter* w = first_of(*waiting_, static_cast<size_class>(c))) stop_waiting(*w);
  serve_waiters();
  waiting_->~waiting_lists();
  detail::release_control(std::exchange(waiting_, nullptr));
}

// Tells the depot how many blocks of a class are wanted here, and picks up what it has already.
void pool::ask_depot(size_class c) {
  cache& k = caches_[c];
  const waiter* first = first_of(*waiting_, c);
  if (first == nullptr) return depot_.forget(c, k.want);
  const auto missing =
      static_cast<std::int64_t>(k.waiters.get()) - static_cast<std::int64_t>(k.spare_count.get());
  depot_.want_blocks(c, k.want, static_cast<std::uint32_t>(std::max<std::int64_t>(missing, 0)),
                     first->urgency());
}

// Deals out what is here; true when somebody still waits. A callback may ask again: that is served next turn.
bool pool::serve(size_class c) {
  cache& k = caches_[c];
  if (const arena::run got = depot_.collect(c, k.want); got.head != nullptr) {
    load(c, got);
    overflow(c);  // out of rent()'s reach
  }
  for (std::uint64_t n = k.waiters.get(); n != 0; --n) {
    waiter* w = first_of(*waiting_, c);
    if (w == nullptr) break;
    if (k.head == nullptr && k.spare == nullptr) {
      // What is kept aside for transmitting is not in the depot's hand-out.
      const arena::run kept = w->urgency() == priority::transmit ? depot_.take_reserved(c) : arena::run{};
      if (kept.head == nullptr) break;
      load(c, kept);
    }
    if (k.head == nullptr) {
      const detail::moving mark(moves_);
      block* b = k.spare;
      k.spare = b->own.next_free;
      b->own.next_free = nullptr;
      k.head = b;
      k.spare_count.sub(1);
      k.count.add(1);
    }
    block* b = rent(c);
    stop_waiting(*w);
    w->then_(*w, lease{b});
  }
  return first_of(*waiting_, c) != nullptr;
}

bool pool::serve_waiters() {
  bool more = false;
  delivery_.store(false, std::memory_order_seq_cst);
  for (std::uint32_t left = waited_; left != 0; left &= left - 1) {
    const auto c = static_cast<size_class>(std::countr_zero(left));
    if (serve(c)) {
      ask_depot(c);
      more |= caches_[c].spare != nullptr;
      continue;
    }
    waited_ &= ~(1u << c);  // its cache's limit follows at the end of the turn
    depot_.forget(c, caches_[c].want);
    if (const arena::run late = depot_.collect(c, caches_[c].want); late.head != nullptr) load(c, late);
  }
  return more;
}

bool pool::help_who_wait(std::uint32_t wanted) {
  const bool more = waited_ != 0 && serve_waiters();
  // For what others want our caches are kept empty; when somebody begins to want, the other classes go too,
  // since their spans may be what is missing.
  const std::uint32_t news = wanted & ~pressed_;
  for (std::size_t i = 0; i != classes().count(); ++i) {
    const auto c = static_cast<size_class>(i);
    const bool mine = waited_ >> c & 1;
    const bool others = wanted >> c & 1;
    if (!mine) caches_[c].limit = others ? 1 : depot_.batch(c) + 1;
    if (!mine && (others || news != 0)) spill(c);
  }
  pressed_ = wanted;
  return more;
}

void pool::set_wake(void (*hook)(void* context), void* context) {
  const std::lock_guard lock(depot_.pools_mutex_);
  wake_ = hook;
  wake_context_ = context;
}

}  // namespace catenet
