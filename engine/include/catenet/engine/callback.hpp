// A callable that may be moved but not copied, so it can own a chain. (std::move_only_function comes with
// C++23.)
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace catenet {

template <class Signature>
class callback;

/// Empty when made by default; calling an empty one is undefined.
template <class R, class... Args>
class callback<R(Args...)> {
 public:
  callback() = default;
  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, callback> && std::is_invocable_r_v<R, F&, Args...>)
      callback(F&& f)
      : target_(std::make_unique<holder<std::remove_cvref_t<F>>>(std::forward<F>(f))) {}

  explicit operator bool() const { return target_ != nullptr; }
  R operator()(Args... args) const { return target_->call(std::forward<Args>(args)...); }

 private:
  struct base {
    virtual ~base() = default;
    virtual R call(Args... args) = 0;
  };
  template <class F>
  struct holder final : base {
    explicit holder(F&& f) : function(std::move(f)) {}
    explicit holder(const F& f) : function(f) {}
    R call(Args... args) override { return std::invoke(function, std::forward<Args>(args)...); }
    F function;
  };
  std::unique_ptr<base> target_;
};

}  // namespace catenet
