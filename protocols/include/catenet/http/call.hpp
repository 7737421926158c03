// A call: one request and its answer, on a client. Both bodies may come and go piece by piece, at the same
// time.
//
//   start() ─▶ [waits for a connection] ─▶ request out ─▶ reply() ─▶ next() … next() ─▶ complete()
//                                          write() … finish()   (a body given piece by piece)
//
// What goes wrong is a value: reply(), next() and write() say that it is over, why() says how.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/engine/task.hpp>
#include <catenet/http/client_error.hpp>
#include <catenet/http/head_parser.hpp>
#include <catenet/http/reply_head.hpp>
#include <catenet/slab/chain.hpp>

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace catenet::http {

struct call_state;

/// Used on the core where it was started. One coroutine may wait for reply() or next(), another for write().
/// Ending it before the answer is complete gives it up and ends its connection.
class call {
 public:
  call() = default;
  explicit call(std::shared_ptr<call_state> of) : state_(std::move(of)) {}
  call(call&& other) noexcept = default;
  call& operator=(call&& other) noexcept;
  ~call();

  struct reply_awaiter {
    call_state& of;
    [[nodiscard]] bool await_ready() const;
    void await_suspend(std::coroutine_handle<> who);
    [[nodiscard]] const reply_head* await_resume() const;
  };
  /// co_await it: the head of the answer proper (for informational ones see below), or null when there will
  /// be none. It holds as long as the call does.
  [[nodiscard]] reply_awaiter reply() { return {*state_}; }

  /// f(head) is called for each informational answer (102, 103, …) that comes before the answer proper. The
  /// head holds for that long only.
  void on_informational(callback<void(const reply_head&)> f);

  struct next_awaiter {
    call_state& of;
    bool await_ready();
    void await_suspend(std::coroutine_handle<> who);
    std::optional<chain> await_resume();
  };
  /// co_await it, once reply() was there: the next part of the body (never empty), or nothing when it is
  /// over: see complete(). While nobody asks, no more than client_options::read_ahead is read.
  [[nodiscard]] next_awaiter next() { return {*state_}; }

  /// All of the body behind `into`. False when it was not complete, or longer than `bytes_max` (the call is
  /// given up).
  task<bool> collect(chain& into, std::uint64_t bytes_max);

  /// The whole answer has come.
  [[nodiscard]] bool complete() const;
  /// Why there is no (complete) answer; nothing while it is under way.
  [[nodiscard]] const client_error& why() const;
  /// A trailer of a complete body. Names that say how a message is framed or authorised are never here.
  [[nodiscard]] std::optional<std::string_view> trailer(std::string_view name) const;
  /// All of them, or null.
  [[nodiscard]] const trailer_parser* trailers() const;

  struct write_awaiter {
    call_state& of;
    bool sent;
    bool waits;
    [[nodiscard]] bool await_ready() const { return !waits; }
    void await_suspend(std::coroutine_handle<> who);
    [[nodiscard]] bool await_resume() const;
  };
  /// Sends a piece of the body that client_request::length() or chunked() announced. co_await it: it waits
  /// while too much is unsent, or while there is no connection. False: there is no use in writing on (it
  /// failed, or the answer is complete already). Bytes beyond the length are cut off.
  write_awaiter write(chain&& piece);
  /// Adds a trailer to a body in chunks, before finish(). False when it may not be sent.
  bool trailer(std::string_view name, std::string_view value);
  /// The body is complete. Less than its length gives the call up.
  void finish();

  /// Gives the call up; who waits is told so from the loop.
  void abort();
  /// Redirects that were followed.
  [[nodiscard]] std::uint32_t redirects() const;
  /// It went out on a connection that had been used before.
  [[nodiscard]] bool on_kept_connection() const;

 private:
  std::shared_ptr<call_state> state_;
};

}  // namespace catenet::http
