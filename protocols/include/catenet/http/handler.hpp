// Whatever can answer a request: a callable that takes (request&, response&) and returns nothing, or a task<> when it
// has to wait.
#pragma once

#include <catenet/engine/task.hpp>
#include <catenet/http/request.hpp>
#include <catenet/http/response.hpp>

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace catenet::http {

/// Copies share the callable, which every core calls, maybe at the same time: what it changes must be made for that.
class handler {
 public:
  handler() = default;
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, handler> && std::is_invocable_v<F&, request&, response&>)
  handler(F&& f)
      : target_(std::make_shared<std::decay_t<F>>(std::forward<F>(f))), call_(&call<std::decay_t<F>>) {}

  explicit operator bool() const { return call_ != nullptr; }
  /// A handler that waits leaves its task in `running`.
  void operator()(request& rq, response& rs, task<>& running) const { call_(target_.get(), rq, rs, running); }

 private:
  template <class F>
  static void call(void* target, request& rq, response& rs, task<>& running) {
    using result = std::invoke_result_t<F&, request&, response&>;
    static_assert(std::is_void_v<result> || std::is_same_v<result, task<>>, "a handler returns void or task<>");
    if constexpr (std::is_void_v<result>)
      (*static_cast<F*>(target))(rq, rs);
    else
      running = (*static_cast<F*>(target))(rq, rs);
  }

  std::shared_ptr<void> target_;
  void (*call_)(void*, request&, response&, task<>&) = nullptr;
};

}  // namespace catenet::http
