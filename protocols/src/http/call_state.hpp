// What a call keeps. It outlives its connection: what came before the end is still read from here.
#pragma once

#include <catenet/engine/timer.hpp>
#include <catenet/http/body_decoder.hpp>
#include <catenet/http/call.hpp>
#include <catenet/http/client_request.hpp>
#include <catenet/http/reply_parser.hpp>
#include <catenet/http/response_head.hpp>

#include "http/redirection.hpp"

#include <coroutine>
#include <cstdint>
#include <memory>
#include <string>

namespace catenet::http {

class calls;
struct call_pool;
struct call_connection;

struct call_state final : timer, std::enable_shared_from_this<call_state> {
  call_state(calls& of, call_pool& to) : home(of), pool(&to) {}

  calls& home;
  call_pool* pool;
  call_connection* conn = nullptr;  ///< null: waits for one, or is over

  // The request.
  chain outgoing;  ///< not handed to a connection yet
  chain replay;    ///< the whole request once more, as long as it might have to be sent again
  std::string trailers_out;
  std::unique_ptr<redirection>
      onward;                     ///< where redirects are to be followed: the request, for the next place
  std::uint64_t length_left = 0;  ///< of a body given piecewise with a length
  http::framing framing = http::framing::none;
  bool to_head = false;
  bool idempotent = false;
  bool close_after = false;  ///< the request said so
  bool sent_all = false;     ///< the request's last byte is handed over
  bool retried = false;
  bool waiting = false;  ///< in the pool's queue
  bool kept = false;     ///< went out on a kept connection

  // The answer.
  reply_parser parser;
  reply_head head;
  body_decoder decoder;
  chain input;  ///< received and not yet looked at
  chain part;   ///< of the body, on its way to the reader
  client_error failed;
  callback<void(const reply_head&)> told;  ///< of informational answers
  std::uint32_t informational = 0;
  std::uint32_t redirects = 0;  ///< followed
  std::uint64_t skipped = 0;    ///< bytes of a redirect's body
  bool has_head = false;
  bool moved = false;      ///< a redirect came that is followed once its body is over
  bool until_end = false;  ///< the body ends with the connection
  bool fin = false;        ///< the connection has ended cleanly
  bool cut = false;        ///< the connection has ended
  bool done = false;       ///< the answer is complete

  std::coroutine_handle<> reader;  ///< waits in reply() or next()
  std::coroutine_handle<> writer;
  bool wants_body = false;  ///< the reader waits in next()
  std::uint32_t started_ms = 0;

  [[nodiscard]] bool over() const { return done || failed; }
  /// It may be sent again: nothing of an answer came, and twice is as good as once (RFC 9110 §9.2.2).
  [[nodiscard]] bool repeatable() const {
    return idempotent && !retried && !has_head && informational == 0 && parser.untouched() && input.empty() &&
           !replay.empty();
  }

  void expire() override;
};

}  // namespace catenet::http
