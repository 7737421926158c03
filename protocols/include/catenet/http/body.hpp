// The body of a request, as a stream of chains. While the handler does not ask for more, reading waits.
#pragma once

#include <catenet/engine/task.hpp>
#include <catenet/http/fault.hpp>
#include <catenet/slab/chain.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

namespace catenet::http {

struct exchange;
class trailer_parser;

/// Thrown into a handler that waits for a body which will not be complete: the connection ended, the body was
/// too long, too slow or malformed. A handler that lets it pass is answered for: with why.status, when
/// anybody is there to get it.
class aborted final : public std::exception {
 public:
  explicit aborted(fault why) : why_(why) {}
  [[nodiscard]] const fault& why() const { return why_; }
  [[nodiscard]] const char* what() const noexcept override { return why_.reason; }

 private:
  fault why_;
};

/// Used by the handler of its request only, on its core.
class body {
 public:
  body(const body&) = delete;
  body& operator=(const body&) = delete;

  struct next_awaiter {
    explicit next_awaiter(exchange& x) : of(x) {}
    ~next_awaiter();  // a coroutine that ends while it waits is not resumed
    next_awaiter(const next_awaiter&) = delete;
    next_awaiter& operator=(const next_awaiter&) = delete;
    exchange& of;
    std::coroutine_handle<> waiter{};
    bool await_ready();
    void await_suspend(std::coroutine_handle<> who);
    std::optional<chain> await_resume();  // throws aborted
  };
  /// The next part (never empty), or nothing once the body is complete. Throws aborted.
  [[nodiscard]] next_awaiter next() { return next_awaiter{exchange_}; }

  /// All of it, as one chain. More than `bytes_max` throws aborted with status 413.
  task<chain> collect(std::uint64_t bytes_max);
  /// The same as a string.
  task<std::string> text(std::uint64_t bytes_max);

  /// Its length where the head tells it; std::nullopt for chunks.
  [[nodiscard]] std::optional<std::uint64_t> length() const;
  /// A trailer, once the body is complete. Names that say how a message is framed or authorised are never
  /// here.
  [[nodiscard]] std::optional<std::string_view> trailer(std::string_view name) const;
  /// All of them, or null.
  [[nodiscard]] const trailer_parser* trailers() const;

 private:
  friend class request;
  explicit body(exchange& of) : exchange_(of) {}
  exchange& exchange_;
};

}  // namespace catenet::http
