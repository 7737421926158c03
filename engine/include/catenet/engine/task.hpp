// A coroutine that a handler may be. It starts at once, runs until it has to wait, and is resumed on its own
// core.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

namespace catenet {

namespace detail {
void* allocate_frame(std::size_t bytes);  // from mimalloc; throws std::bad_alloc
void free_frame(void* frame);

struct task_promise_base {
  std::coroutine_handle<> waiter;         // who awaits this task
  void (*done)(void* context) = nullptr;  // or who is told when it ends
  void* context = nullptr;
  std::exception_ptr failure;

  static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* frame) { free_frame(frame); }

  std::suspend_never initial_suspend() noexcept { return {}; }
  struct final_awaiter {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      task_promise_base& p = self.promise();
      if (p.waiter) return p.waiter;
      if (p.done != nullptr) p.done(p.context);
      return std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };
  final_awaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() { failure = std::current_exception(); }
};
}  // namespace detail

/// Owns the coroutine: ending the task ends it, wherever it waits. Await it, or poll done() and on_done().
template <class T = void>
class [[nodiscard]] task;

namespace detail {
template <class T>
struct task_promise : task_promise_base {
  std::optional<T> value;
  task<T> get_return_object();
  template <class U>
  void return_value(U&& v) {
    value.emplace(std::forward<U>(v));
  }
  T take() { return std::move(*value); }
};
template <>
struct task_promise<void> : task_promise_base {
  task<void> get_return_object();
  void return_void() {}
  void take() {}
};
}  // namespace detail

template <class T>
class [[nodiscard]] task {
 public:
  using promise_type = detail::task_promise<T>;

  task() = default;
  explicit task(std::coroutine_handle<promise_type> h) : handle_(h) {}
  task(task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  ~task() { reset(); }

  explicit operator bool() const { return static_cast<bool>(handle_); }
  [[nodiscard]] bool done() const { return handle_.done(); }
  /// What escaped from the coroutine, or null.
  [[nodiscard]] std::exception_ptr failure() const { return handle_.promise().failure; }
  /// Calls `tell(context)` when it ends; only while it has not. The callee may end the task.
  void on_done(void (*tell)(void* context), void* context) {
    handle_.promise().done = tell;
    handle_.promise().context = context;
  }
  /// Ends the coroutine now, wherever it waits.
  void reset() {
    if (handle_) std::exchange(handle_, {}).destroy();
  }

  auto operator co_await() const noexcept {
    struct awaiter {
      std::coroutine_handle<promise_type> h;
      bool await_ready() { return h.done(); }
      void await_suspend(std::coroutine_handle<> waiter) { h.promise().waiter = waiter; }
      T await_resume() {
        if (h.promise().failure) std::rethrow_exception(h.promise().failure);
        return h.promise().take();
      }
    };
    return awaiter{handle_};
  }

 private:
  std::coroutine_handle<promise_type> handle_;
};

namespace detail {
template <class T>
task<T> task_promise<T>::get_return_object() {
  return task<T>{std::coroutine_handle<task_promise<T>>::from_promise(*this)};
}
inline task<void> task_promise<void>::get_return_object() {
  return task<void>{std::coroutine_handle<task_promise<void>>::from_promise(*this)};
}
}  // namespace detail

}  // namespace catenet
