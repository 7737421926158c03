// A small model checker: runs two or three threads in every order in which their atomic operations can fall.
//
// Threads are fibers; each operation of interleave::atomic and interleave::mutex is a point where any other
// may go on. An execution is a list of choices; the next one differs in the last choice that had an
// alternative (depth first). Executions are sequentially consistent; what weaker orders would allow is caught
// by `plain`, which follows happens-before with vector clocks and reports a race when an access is not
// ordered by acquire and release. With linger(), a store that is not sequentially consistent may stay unseen
// by others for as long as its thread does nothing that orders it (total store order, as on x86): what a full
// fence is for.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace interleave {

/// For scenes with more executions than a test has time for; CATENET_EXECUTIONS raises it.
inline std::uint64_t executions_max() {
  const char* asked = std::getenv("CATENET_EXECUTIONS");
  return asked == nullptr ? 20'000 : std::strtoull(asked, nullptr, 10);
}

constexpr std::size_t threads_max = 3;
using clock = std::array<std::uint32_t, threads_max>;

inline void join(clock& into, const clock& from) {
  for (std::size_t i = 0; i != threads_max; ++i) into[i] = std::max(into[i], from[i]);
}

class checker {
 public:
  /// Runs every interleaving: `start` builds the state and gives the threads' bodies and a final check (which
  /// returns what is wrong, or ""). Returns the first thing that went wrong, or "".
  struct scene {
    std::vector<std::function<void()>> threads;
    std::function<std::string()> verdict;
  };
  std::string explore(const std::function<scene()>& start, std::uint64_t executions_max = 3'000'000) {
    current_ = this;  // the state is built with atomics too
    choices_.clear();
    for (executions_ = 0; executions_ != executions_max; ++executions_) {
      if (std::string wrong = run(start()); !wrong.empty()) return wrong;
      while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().of) choices_.pop_back();
      if (choices_.empty()) {
        complete_ = true;
        return {};
      }
      ++choices_.back().taken;
    }
    return {};
  }
  [[nodiscard]] std::uint64_t executions() const { return executions_; }
  [[nodiscard]] bool complete() const { return complete_; }
  void linger() { linger_ = true; }

  // ---- for the atomics
  static checker& now() { return *current_; }
  void yield() {
    if (running_ == none) return;
    switch_out();
    while (!fibers_[running_]->stores.empty() && choose(2) == 1) let_store_out();
  }
  void let_stores_out() {
    while (running_ != none && !fibers_[running_]->stores.empty()) let_store_out();
  }
  /// A store; done now, or when it is let out.
  void store(const void* at, std::function<void()> done, bool at_once) {
    if (at_once || !linger_ || running_ == none) {
      let_stores_out();
      done();
    } else {
      fibers_[running_]->stores.push_back({at, std::move(done)});
    }
  }
  /// A thread sees its own stores at once: lets them out up to the last one to that place.
  bool has_stored(const void* at) const {
    if (running_ == none) return false;
    const auto& stores = fibers_[running_]->stores;
    return std::any_of(stores.begin(), stores.end(), [at](const pending& p) { return p.at == at; });
  }
  void block_until(const std::function<bool()>& free) {
    while (!free()) {
      fibers_[running_]->waits = free;
      switch_out();
    }
  }
  clock& mine() { return running_ == none ? outside_ : fibers_[running_]->seen; }
  std::size_t self() const { return running_; }
  void fail(const std::string& why) {
    if (wrong_.empty()) wrong_ = why;
  }

 private:
  static constexpr std::size_t none = ~std::size_t{0};
  static constexpr std::size_t stack_bytes = 256 << 10;
  struct pending {
    const void* at;
    std::function<void()> done;
  };
  struct fiber {
    std::deque<pending> stores;  // not seen by others yet
    ucontext_t context{};
    std::function<void()> body;
    std::function<bool()> waits;
    clock seen{};
    bool done = false;
  };
  struct choice {
    std::size_t taken, of;
  };

  std::string run(scene s) {
    current_ = this;
    wrong_.clear();
    fibers_.clear();
    for (std::size_t i = 0; i != s.threads.size(); ++i) {
      auto f = std::make_unique<fiber>();
      if (stacks_.size() == i) stacks_.push_back(std::make_unique<std::byte[]>(stack_bytes));
      getcontext(&f->context);
      f->context.uc_stack.ss_sp = stacks_[i].get();
      f->context.uc_stack.ss_size = stack_bytes;
      f->context.uc_link = &scheduler_;
      f->body = std::move(s.threads[i]);
      f->seen[i] = 1;
      makecontext(&f->context, reinterpret_cast<void (*)()>(&checker::enter), 0);
      fibers_.push_back(std::move(f));
    }
    for (depth_ = 0;;) {
      std::vector<std::size_t> ready;
      bool all_done = true;
      for (std::size_t i = 0; i != fibers_.size(); ++i) {
        fiber& f = *fibers_[i];
        all_done &= f.done;
        if (!f.done && (!f.waits || f.waits())) ready.push_back(i);
      }
      if (all_done) break;
      if (ready.empty()) return "deadlock";
      running_ = ready[choose(ready.size())];
      fibers_[running_]->waits = nullptr;
      swapcontext(&scheduler_, &fibers_[running_]->context);
      running_ = none;
      if (!wrong_.empty()) return wrong_;
    }
    for (const auto& f : fibers_) join(outside_, f->seen);
    return s.verdict();
  }
  static void enter() {
    fiber& f = *current_->fibers_[current_->running_];
    f.body();
    if (!f.stores.empty()) current_->switch_out();  // others may go on before they see them
    current_->let_stores_out();
    f.done = true;
  }
  std::size_t choose(std::size_t of) {
    if (depth_ == choices_.size()) choices_.push_back({0, of});
    return choices_[depth_++].taken;
  }
  void let_store_out() {
    pending first = std::move(fibers_[running_]->stores.front());
    fibers_[running_]->stores.pop_front();
    first.done();
    switch_out();
  }
  void switch_out() { swapcontext(&fibers_[running_]->context, &scheduler_); }

  static inline checker* current_ = nullptr;
  ucontext_t scheduler_{};
  std::vector<std::unique_ptr<fiber>> fibers_;
  std::vector<std::unique_ptr<std::byte[]>> stacks_;
  std::vector<choice> choices_;
  std::size_t depth_ = 0;
  std::size_t running_ = none;
  bool linger_ = false;
  clock outside_{};
  std::string wrong_;
  std::uint64_t executions_ = 0;
  bool complete_ = false;
};

inline bool releases(std::memory_order o) {
  return o == std::memory_order_release || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}
inline bool acquires(std::memory_order o) {
  return o == std::memory_order_acquire || o == std::memory_order_acq_rel || o == std::memory_order_seq_cst;
}

/// The shape of catenet::atomic.
template <typename T>
class atomic {
 public:
  atomic() = default;
  atomic(T value) : value_(value) {}
  T load(std::memory_order o) const {
    checker& c = checker::now();
    c.yield();
    if (c.has_stored(this)) c.let_stores_out();
    take(o);
    return value_;
  }
  void store(T value, std::memory_order o) {
    checker& c = checker::now();
    c.yield();
    clock released{};
    if (releases(o)) {
      released = c.mine();
      if (c.self() < threads_max) ++c.mine()[c.self()];
    }
    c.store(
        this, [this, value, released] { released_ = released, value_ = value; },
        o == std::memory_order_seq_cst);
  }
  T exchange(T value, std::memory_order o) {
    checker::now().yield();
    checker::now().let_stores_out();
    take(o);
    put(o);
    return std::exchange(value_, value);
  }
  bool compare_exchange(T& expected, T desired, std::memory_order success, std::memory_order failure) {
    checker::now().yield();
    checker::now().let_stores_out();
    if (value_ != expected) {
      take(failure);
      expected = value_;
      return false;
    }
    take(success);
    put(success);
    value_ = desired;
    return true;
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success, std::memory_order failure) {
    return compare_exchange(expected, desired, success, failure);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success, std::memory_order failure) {
    return compare_exchange(expected, desired, success, failure);
  }
  T fetch_add(T n, std::memory_order o) {
    checker::now().yield();
    checker::now().let_stores_out();
    take(o);
    put(o);
    return std::exchange(value_, static_cast<T>(value_ + n));
  }
  T fetch_sub(T n, std::memory_order o) { return fetch_add(static_cast<T>(0 - n), o); }
  /// For what wakes a thread that is blocked: no operation of its own.
  [[nodiscard]] bool is(T value) const { return value_ == value; }
  static void full_fence() { checker::now().let_stores_out(); }

 private:
  void take(std::memory_order o) const {
    if (acquires(o)) join(checker::now().mine(), released_);
  }
  // A read-modify-write continues what earlier releases began.
  void put(std::memory_order o) {
    if (!releases(o)) return;
    checker& c = checker::now();
    join(released_, c.mine());
    if (c.self() < threads_max) ++c.mine()[c.self()];
  }
  T value_{};
  clock released_{};
};

/// Memory that is not atomic: every access must be ordered after every write.
template <typename T>
class plain {
 public:
  plain() = default;
  explicit plain(T value) : value_(value) {}
  void write(T value) {
    check();
    checker& c = checker::now();
    writer_ = c.self();
    written_ = writer_ < threads_max ? c.mine()[writer_] : 0;
    value_ = value;
  }
  T read() const {
    check();
    return value_;
  }

 private:
  void check() const {
    checker& c = checker::now();
    if (writer_ >= threads_max || c.self() >= threads_max || writer_ == c.self()) return;
    if (c.mine()[writer_] < written_) c.fail("data race: a read is not ordered after the write it sees");
  }
  T value_{};
  std::size_t writer_ = ~std::size_t{0};
  std::uint32_t written_ = 0;
};

class mutex {
 public:
  void lock() {
    checker& c = checker::now();
    c.yield();
    c.let_stores_out();
    c.block_until([this] { return !held_; });
    held_ = true;
    join(c.mine(), released_);
  }
  void unlock() {
    checker& c = checker::now();
    c.let_stores_out();
    join(released_, c.mine());
    if (c.self() < threads_max) ++c.mine()[c.self()];
    held_ = false;
  }

 private:
  bool held_ = false;
  clock released_{};
};

}  // namespace interleave
