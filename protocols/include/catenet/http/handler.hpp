// Whatever can answer a request: a callable that takes (request&, response&) and returns nothing, or a task<>
// when it has to wait.
#pragma once

#include <catenet/engine/task.hpp>
#include <catenet/http/request.hpp>
#include <catenet/http/response.hpp>

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace catenet::http {

/// Copies share the callable, which every core calls, maybe at the same time: what it changes must be made
/// for that.
template <class... Arguments>
class handler_of {
 public:
  handler_of() = default;
  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, handler_of> && std::is_invocable_v<F&, Arguments...>)
      handler_of(F&& f)
      : target_(std::make_shared<std::decay_t<F>>(std::forward<F>(f))), call_(&call<std::decay_t<F>>) {}

  explicit operator bool() const { return call_ != nullptr; }
  /// A handler that waits leaves its task in `running`.
  void operator()(Arguments... with, task<>& running) const { call_(target_.get(), with..., running); }

 private:
  template <class F>
  static void call(void* target, Arguments... with, task<>& running) {
    using result = std::invoke_result_t<F&, Arguments...>;
    static_assert(std::is_void_v<result> || std::is_same_v<result, task<>>,
                  "a handler returns void or task<>");
    if constexpr (std::is_void_v<result>)
      (*static_cast<F*>(target))(with...);
    else
      running = (*static_cast<F*>(target))(with...);
  }

  std::shared_ptr<void> target_;
  void (*call_)(void*, Arguments..., task<>&) = nullptr;
};

using handler = handler_of<request&, response&>;

}  // namespace catenet::http
