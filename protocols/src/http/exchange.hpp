// What the server keeps for a connection while there is something to keep.
//
//   stream ──session──▶ connection (small: a partial head, input held back) ──▶ exchange (one request and its
//   answer)
//     idle: null           from the core's free list                              from the core's free list
//
// A synchronous handler of a request without a body needs neither beyond the call: its exchange goes back at
// once.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/task.hpp>
#include <catenet/http/body_decoder.hpp>
#include <catenet/http/head_parser.hpp>
#include <catenet/http/request.hpp>
#include <catenet/http/response.hpp>
#include <catenet/http/response_head.hpp>

#include "http/content_coding.hpp"
#include "http/routes.hpp"
#include "http/text_buffer.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace catenet {
class stream;
}

namespace catenet::http {

class sessions;
struct connection;

/// One request and its answer. Lives until the handler is done, also when the connection has ended before.
struct exchange {
  explicit exchange(sessions& of) : rq(*this), rs(*this), home(of) {}

  request rq;
  response rs;
  sessions& home;
  stream* wire = nullptr;      ///< null once the connection has ended
  connection* conn = nullptr;  ///< null where none is needed, and once the connection has ended
  exchange* next = nullptr;    ///< of the free list, or with previous of those whose handler waits
  exchange* previous = nullptr;

  // The request.
  request_head head;
  chain head_bytes;     ///< what the views of the head point into, once it had to be kept
  std::string decoded;  ///< the path, where it had escapes
  routes::found where;
  body_decoder decoder;
  chain part;                         ///< of the body, on its way to the handler
  std::unique_ptr<expander> expands;  ///< of a body with a content coding
  fault broken;                       ///< the body will never be complete
  std::coroutine_handle<> body_waiter;
  std::uint32_t started_ms = 0;
  std::uint32_t spoke_ms = 0;  ///< when the last piece of the answer was given
  std::uint64_t id = 0;

  // The answer.
  std::uint16_t status = 0;  ///< 0: not said yet
  bool answered = false;
  bool refused = false;  ///< the handler set what must not go out
  bool close_after = false;
  bool has_type = false;  ///< Content-Type is among the fields
  bool has_date = false;
  bool has_length = false;                ///< length() was called
  bool continue_owed = false;             ///< the peer waits for 100
  bool piecewise = false;                 ///< write() was called: the head is out
  bool cut = false;                       ///< a body given piecewise will not be complete
  http::framing framing = framing::none;  ///< of a body given piecewise
  std::uint64_t length = 0;      ///< bytes still to be written, of a body given piecewise with a length
  std::uint64_t body_bytes = 0;  ///< given to the connection
  std::string_view default_type;
  std::unique_ptr<compressor> packs;  ///< of a body given piecewise
  text_buffer<256> fields;            ///< lines, each with its CR LF
  text_buffer<384> text;              ///< the body, where it is text
  chain payload;                      ///< the body, otherwise
  std::unique_ptr<std::string> trailers;
  callback<void(stream&, chain&&)> take_over;
  std::coroutine_handle<> write_waiter;
  callback<void()> gone;  ///< told once nobody is there any more
  bool telling = false;   ///< that it is so: the exchange stays until all who wait know
  bool over = false;      ///< the handler ended meanwhile

  task<> running;  ///< the handler, where it waits

  /// Forgets the answer given so far, for another one.
  void reset_answer();
  /// Ready for the next request; keeps memory for it.
  void reset();
  /// Answers with a status and a line of text.
  void answer(std::uint16_t code, std::string_view line);
  [[nodiscard]] bool body_left() const { return !decoder.done(); }
  /// No byte of a body may follow the head.
  [[nodiscard]] bool bodiless() const;
};

/// A connection with something under way.
struct connection {
  stream* wire = nullptr;
  connection* next = nullptr;   ///< of the free list
  exchange* current = nullptr;  ///< the request that is being answered
  chain input;                  ///< received and not yet looked at
  head_parser parser;
  std::uint64_t body_bytes = 0;        ///< received since the rate was last looked at
  std::uint64_t discarded = 0;         ///< bytes of an unread body that were taken in
  bool ended = false;                  ///< the peer's FIN came
  bool partial = false;                ///< a head has begun, and its deadline is set
  bool discarding = false;             ///< answered; the rest of the body is taken in
  bool congested = false;              ///< above the high watermark: no further request until writable()
  bool introduced = false;             ///< its PROXY header was read; then it is kept while it is idle, too
  std::unique_ptr<endpoint> client{};  ///< who it is from, where a proxy told
  bool watching = false;               ///< the rate of a body is being looked at
};

// What a client costs that sends its head or takes its answer slowly, besides one small block.
static_assert(sizeof(connection) <= 136);

}  // namespace catenet::http
