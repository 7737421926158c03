// Waiting for a block when none is free: with a callback, or in a coroutine.
//
//   if (block* b = pool.rent_or_wait(w)) …   there was one
//   else …                                   w's callback gets a lease later, from the pool's turn()
#pragma once

#include <catenet/slab/lease.hpp>
#include <catenet/slab/pool.hpp>

#include <boost/intrusive/list_hook.hpp>

#include <coroutine>
#include <utility>

namespace catenet {

/// One who asked when nothing was free. Caller-owned; used on its pool's thread. Ending it, or cancel(),
/// withdraws the request in O(1). It may be used again once it was served.
class waiter
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>> {
 public:
  /// Called once, from pool::turn(), with the block. It may rent, wait again, and destroy the waiter.
  using served = void (*)(waiter& self, lease block);

  waiter(size_class cls, priority urgency, served then) : then_(then), cls_(cls), urgency_(urgency) {}
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;
  ~waiter() { cancel(); }

  [[nodiscard]] bool waiting() const { return at_ != nullptr; }
  void cancel() {
    if (at_ != nullptr) at_->stop_waiting(*this);
  }
  [[nodiscard]] size_class cls() const { return cls_; }
  [[nodiscard]] priority urgency() const { return urgency_; }

 private:
  friend class pool;
  served then_;
  pool* at_ = nullptr;
  size_class cls_;
  priority urgency_;
};

/// co_await next_block{bytes, priority::read} gives a lease: of the smallest class that holds so many bytes,
/// at once or when it is this coroutine's turn. The lease is empty only when even the note of the request
/// found no memory. Destroying the coroutine withdraws the request.
class next_block {
 public:
  next_block(std::size_t bytes, priority urgency)
      : entry_{pool::current()->classes().fitting(bytes), urgency, this} {}

  bool await_ready() {
    if (block* b = pool::current()->rent_or_wait(entry_)) got_ = lease{b};
    return !entry_.waiting();
  }
  void await_suspend(std::coroutine_handle<> h) { who_ = h; }
  lease await_resume() { return std::move(got_); }

 private:
  struct entry : waiter {
    entry(size_class c, priority p, next_block* of) : waiter(c, p, &entry::arrived), self(of) {}
    static void arrived(waiter& w, lease l) {
      next_block& me = *static_cast<entry&>(w).self;
      me.got_ = std::move(l);
      me.who_.resume();
    }
    next_block* self;
  };
  entry entry_;
  lease got_;
  std::coroutine_handle<> who_;
};

}  // namespace catenet
