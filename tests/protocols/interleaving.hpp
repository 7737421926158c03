// A small interleaving checker: runs a few threads' worth of code, as fibers, under every order of their
// atomic operations (or a random sample, where there are too many), with sequentially consistent atomics.
//
//   explore([](scheduler& s) { s.thread([&] { … });  s.thread([&] { … });  s.run();  check what came of it })
//
// An order is a list of choices; each run replays a prefix and goes on with the first fiber, then the last
// choice that has an alternative is changed. The body must do the same for the same choices. A plain object
// that two threads use without order between them is what TSan is for: this finds wrong logic, not missing
// fences.
#pragma once

#include <ucontext.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace interleaving {

class scheduler {
 public:
  void thread(std::function<void()> body) { fibers_.push_back(std::make_unique<fiber>(std::move(body))); }

  /// Runs the threads to their end; between two atomic operations any of them may be next.
  void run() {
    active_ = this;
    for (auto& f : fibers_) {
      getcontext(&f->context);
      f->context.uc_stack.ss_sp = f->stack.get();
      f->context.uc_stack.ss_size = stack_bytes;
      f->context.uc_link = &main_;
      makecontext(&f->context, &scheduler::enter, 0);
    }
    for (std::vector<std::size_t> ready = runnable(); !ready.empty(); ready = runnable()) {
      const std::size_t choice = ready.size() == 1 ? 0 : choose(ready.size());
      current_ = fibers_[ready[choice]].get();
      swapcontext(&main_, &current_->context);
    }
    active_ = nullptr;
  }

  /// Called before each atomic operation.
  static void point() {
    if (active_ == nullptr || active_->current_ == nullptr) return;
    fiber* self = active_->current_;
    active_->current_ = nullptr;
    swapcontext(&self->context, &active_->main_);
  }

 private:
  friend std::uint64_t explore(const std::function<void(scheduler&)>& body, std::uint64_t runs_max);
  static constexpr std::size_t stack_bytes = 64 << 10;
  struct fiber {
    explicit fiber(std::function<void()> b)
        : body(std::move(b)), stack(std::make_unique<std::byte[]>(stack_bytes)) {}
    std::function<void()> body;
    std::unique_ptr<std::byte[]> stack;
    ucontext_t context{};
    bool done = false;
  };
  struct decision {
    std::size_t taken;
    std::size_t of;
  };

  static void enter() {
    fiber* self = active_->current_;
    self->body();
    self->done = true;
    active_->current_ = nullptr;
  }
  std::vector<std::size_t> runnable() const {
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i != fibers_.size(); ++i)
      if (!fibers_[i]->done) ready.push_back(i);
    return ready;
  }
  std::size_t choose(std::size_t of) {
    if (at_ == path_.size()) path_.push_back({0, of});
    return path_[at_++].taken;
  }
  /// The next order; false when all were seen.
  bool advance() {
    fibers_.clear();
    at_ = 0;
    while (!path_.empty() && path_.back().taken + 1 == path_.back().of) path_.pop_back();
    if (path_.empty()) return false;
    ++path_.back().taken;
    return true;
  }

  static inline thread_local scheduler* active_ = nullptr;
  std::vector<std::unique_ptr<fiber>> fibers_;
  fiber* current_ = nullptr;
  ucontext_t main_{};
  std::vector<decision> path_;
  std::size_t at_ = 0;
};

/// Runs the body under every order; returns how many there were. Stops at runs_max.
inline std::uint64_t explore(const std::function<void(scheduler&)>& body, std::uint64_t runs_max) {
  scheduler s;
  std::uint64_t runs = 0;
  do {
    body(s);
    ++runs;
  } while (runs != runs_max && s.advance());
  return runs;
}

/// std::atomic's shape, as the bus uses it.
template <class T>
class atomic {
 public:
  atomic() = default;
  atomic(T value) : value_(value) {}
  T load(std::memory_order) const {
    scheduler::point();
    return value_;
  }
  void store(T value, std::memory_order) {
    scheduler::point();
    value_ = value;
  }
  T fetch_add(T n, std::memory_order) {
    scheduler::point();
    const T before = value_;
    value_ = static_cast<T>(value_ + n);
    return before;
  }
  T fetch_sub(T n, std::memory_order order) { return fetch_add(static_cast<T>(0 - n), order); }
  T exchange(T value, std::memory_order) {
    scheduler::point();
    return std::exchange(value_, value);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order, std::memory_order) {
    scheduler::point();
    if (value_ == expected) {
      value_ = desired;
      return true;
    }
    expected = value_;
    return false;
  }

 private:
  T value_{};
};

}  // namespace interleaving
