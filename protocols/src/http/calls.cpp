// Connections of the client: finding one for a call, what comes over it, and what becomes of it behind the
// call.
#include "http/calls.hpp"

#include <catenet/engine/core.hpp>
#include <catenet/engine/error.hpp>
#include <catenet/engine/stream.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace catenet::http {

namespace {

// Bytes of a body handed to a reader at a time.
constexpr std::uint64_t part_bytes_max = 256 << 10;
// Of a redirect's body so much is read to keep its connection.
constexpr std::uint64_t skipped_max = 64 << 10;

call_connection& connection_at(const stream& s) { return *static_cast<call_connection*>(s.session()); }

}  // namespace

void call_state::expire() {
  const std::uint32_t total_ms = home.options().total_ms;
  if (total_ms != 0 && home.at().now_ms() - started_ms >= total_ms)
    home.fail(*this, {client_failure::total_timeout, "the call took too long"});
  else
    home.fail(*this, {client_failure::busy, "no connection became free in time"});
}

call_pool& calls::pool_of(const origin& to) {
  std::unique_ptr<call_pool>& p = pools_[to.key()];
  if (!p) {
    p = std::make_unique<call_pool>();
    p->where = to.where();
  }
  return *p;
}

std::shared_ptr<call_state> calls::make(const origin& to) {
  counters_.calls.add(1);
  auto c = std::make_shared<call_state>(*this, pool_of(to));
  c->started_ms = core_.now_ms();
  return c;
}

// ---- finding a connection

// The request is in c.outgoing: finds a connection for it, or puts it into the queue.
void calls::begin(call_state& c) {
  call_pool& p = *c.pool;
  if (!p.idle.empty() && !c.retried) {  // a second try does not rely on the good health of kept ones again
    call_connection& conn = *p.idle.back();
    p.idle.pop_back();
    counters_.idle.sub(1);
    return assign(conn, c);
  }
  if (p.open < options_.connections_max) return dial(c);
  if (p.waiting.size() >= options_.waiting_max)
    return fail(c, {client_failure::busy, "too many calls wait for a connection"});
  queue(c.shared_from_this(), c.retried);
}

void calls::queue(const std::shared_ptr<call_state>& c, bool first) {
  c->waiting = true;
  if (first)
    c->pool->waiting.push_front(c);
  else
    c->pool->waiting.push_back(c);
  core_.timers().start(*c, std::min(options_.wait_ms, options_.total_ms == 0 ? ~0u : total_left_ms(*c)));
}

std::uint32_t calls::total_left_ms(const call_state& c) const {
  return options_.total_ms - std::min(options_.total_ms, core_.now_ms() - c.started_ms);
}

void calls::dial(call_state& c) {
  auto conn = std::make_unique<call_connection>(*c.pool);
  error why;
  conn->wire = core_.connect(c.pool->where, *this, why, {options_.connect_ms, conn.get()});
  if (conn->wire == nullptr)
    return fail(c, {client_failure::connect, "the connection could not be made", why.code});
  ++c.pool->open;
  counters_.opened.add(1);
  counters_.connections.add(1);
  assign(*conn.release(), c);  // closed() deletes it
}

void calls::assign(call_connection& conn, call_state& c) {
  conn.current = c.shared_from_this();
  c.conn = &conn;
  c.waiting = false;
  c.kept = conn.used;
  if (conn.used) {
    counters_.reused.add(1);
    std::optional<chain> again;
    if (options_.retry && c.idempotent && c.sent_all) again = c.outgoing.share();
    if (again) c.replay = std::move(*again);
  }
  if (options_.total_ms != 0)
    core_.timers().start(c, total_left_ms(c));
  else
    c.stop();
  const send_result result = conn.wire->send(std::move(c.outgoing));
  if (result == send_result::sent && c.writer) wake_later(c);
  arm(c);
}

void calls::arm(call_state& c) {
  if (c.conn == nullptr || c.conn->wire->connecting()) return;
  stream& s = *c.conn->wire;
  if (!c.has_head && !c.moved && c.sent_all)
    s.set_deadline(options_.head_ms);
  else if (c.moved || (c.has_head && c.reader))
    s.set_deadline(options_.body_ms);
  else
    s.clear_deadline();
}

// ---- what becomes of a connection

// The answer is complete, and both sides would go on.
void calls::release(call_connection& conn) {
  call_pool& p = conn.pool;
  conn.used = true;
  conn.wire->resume();
  if (core_.draining() || conn.wire->closing()) return let_go(conn, false);
  if (!p.waiting.empty()) {
    const std::shared_ptr<call_state> next = std::move(p.waiting.front());
    p.waiting.pop_front();
    return assign(conn, *next);
  }
  if (p.idle.size() >= options_.idle_max) return let_go(conn, false);
  p.idle.push_back(&conn);
  counters_.idle.add(1);
  conn.wire->set_deadline(options_.idle_ms);
}

void calls::let_go(call_connection& conn, bool reset) {
  detach(conn);
  if (reset)
    conn.wire->abort();
  else
    conn.wire->close();
}

// From here on the pool has room for another one.
void calls::detach(call_connection& conn) {
  if (std::exchange(conn.detached, true)) return;
  call_pool& p = conn.pool;
  counters_.idle.sub(std::erase(p.idle, &conn));
  --p.open;
  while (!p.waiting.empty() && p.open < options_.connections_max) {
    const std::shared_ptr<call_state> next = std::move(p.waiting.front());
    p.waiting.pop_front();
    dial(*next);
  }
}

// The other side has ended it.
void calls::lost(call_connection& conn, bool clean) {
  const std::shared_ptr<call_state> c = std::move(conn.current);
  detach(conn);
  if (c == nullptr) return;
  c->conn = nullptr;
  if (conn.used && c->repeatable()) {
    c->retried = true;
    c->outgoing = std::move(c->replay);
    counters_.retries.add(1);
    return begin(*c);
  }
  if (c->moved) return move_on(*c, false);
  c->cut = true;
  c->fin = clean;
  if (!c->has_head)
    return fail(*c, {client_failure::ended_early, "the connection ended before an answer came"});
  if (c->reader && pull(*c) && c->reader) std::exchange(c->reader, {}).resume();
}

// ---- the end of a call

void calls::fail(call_state& c, const client_error& why) {
  if (c.over()) return;
  const std::shared_ptr<call_state> self = c.shared_from_this();
  c.failed = why;
  counters_.failures.add(1);
  c.stop();
  c.outgoing.clear();
  c.replay.clear();
  c.input.clear();
  if (std::exchange(c.waiting, false)) std::erase(c.pool->waiting, self);
  if (call_connection* conn = std::exchange(c.conn, nullptr)) {
    conn->current.reset();
    let_go(*conn, true);
  }
  wake_later(c);
}

void calls::wake_later(call_state& c) {
  if (!c.reader && !c.writer) return;
  core_.post([self = c.shared_from_this()] {
    // Each may end the call, and with it the other.
    if (self->writer) std::exchange(self->writer, {}).resume();
    if (self->over() && self->reader) std::exchange(self->reader, {}).resume();
  });
}

// The whole answer has come out.
void calls::complete(call_state& c) {
  const std::shared_ptr<call_state> self = c.shared_from_this();
  c.done = true;
  c.stop();
  c.replay.clear();
  if (c.writer) wake_later(c);
  leave(c, true);
}

// The call needs its connection no more. `whole`: the answer has come to its end there.
void calls::leave(call_state& c, bool whole) {
  call_connection* conn = std::exchange(c.conn, nullptr);
  const bool more = whole && !c.input.empty();
  c.input.clear();
  if (conn == nullptr) return;
  conn->current.reset();
  if (more) counters_.unasked.add(1);
  const bool in_step = whole && c.sent_all && !more;
  if (in_step && c.head.keep_alive && !c.close_after)
    release(*conn);
  else
    let_go(*conn, !in_step);
}

void calls::begin_skipping(call_state& c) {
  switch (c.head.body(c.to_head)) {
    case reply_body::none:
      return move_on(c, true);
    case reply_body::length:
      c.decoder = body_decoder::of_length(c.head.content_length);
      break;
    case reply_body::chunks:
      c.decoder = body_decoder::of_chunks(options_.max_body);
      break;
    case reply_body::until_end:
      return move_on(c, false);
  }
  skip_body(c);
}

// What a redirect says besides is nobody's concern, but its connection may be of use.
void calls::skip_body(call_state& c) {
  for (;;) {
    chain dropped;
    const body_decoder::progress p = c.decoder.next(c.input, dropped, options_.limits, part_bytes_max);
    c.skipped += dropped.bytes();
    if (p == body_decoder::progress::broken) return broken(c, c.decoder.why());
    if (p == body_decoder::progress::end) return move_on(c, true);
    if (c.skipped > skipped_max) return move_on(c, false);
    if (p == body_decoder::progress::more) return arm(c);
  }
}

// To where the redirect leads.
void calls::move_on(call_state& c, bool whole) {
  const std::shared_ptr<call_state> self = c.shared_from_this();
  leave(c, whole);
  c.parser.reset();
  c.decoder = {};
  c.skipped = 0;
  c.informational = 0;
  c.moved = c.retried = false;
  c.outgoing.clear();
  ++c.redirects;
  counters_.redirects.add(1);
  c.pool = &pool_of(c.onward->to);
  ask_onward(c);
  if (c.writer) wake_later(c);  // there is nothing more to write
}

// Nobody wants the call any more. What has come already may complete it, which saves the connection.
void calls::abandon(call_state& c) {
  c.reader = c.writer = {};
  while (!c.over() && c.has_head && pull(c)) c.part.clear();
  fail(c, {client_failure::given_up, "the call was given up"});
}

// ---- what comes

void calls::read_head(call_state& c) {
  for (;;) {
    switch (c.parser.next(c.input, options_.limits, c.head)) {
      case reply_parser::progress::more:
        return;
      case reply_parser::progress::broken:
        return broken(c, c.parser.why());
      case reply_parser::progress::complete:
        break;
    }
    if (!c.head.informational()) return begin_body(c);
    if (c.head.status == 101) return broken(c, {502, "a change of protocol that nobody asked for"});
    if (++c.informational > options_.informational_max)
      return broken(c, {502, "too many informational answers"});
    if (c.told) c.told(c.head);
    if (c.over()) return;
    c.parser.reset();
  }
}

void calls::begin_body(call_state& c) {
  c.replay.clear();
  c.conn->wire->clear_deadline();
  c.moved = c.onward && c.onward->follow(c.head);
  if (c.moved) {
    if (c.onward->left-- == 0)
      return fail(c, {client_failure::too_many_redirects, "it was sent elsewhere once more than is allowed"});
    return begin_skipping(c);
  }
  c.has_head = true;
  c.onward.reset();
  switch (c.head.body(c.to_head)) {
    case reply_body::none:
      return complete(c);
    case reply_body::length:
      if (c.head.content_length > options_.max_body) return broken(c, {413, "the body is too long"});
      c.decoder = body_decoder::of_length(c.head.content_length);
      if (c.decoder.done()) return complete(c);
      if (c.head.content_length > c.input.bytes())
        c.conn->wire->expect(c.head.content_length - c.input.bytes());
      return;
    case reply_body::chunks:
      c.decoder = body_decoder::of_chunks(options_.max_body);
      return;
    case reply_body::until_end:
      c.decoder = body_decoder::until_end(options_.max_body);
      c.until_end = true;
  }
}

void calls::broken(call_state& c, const fault& why) {
  const client_failure what = why.status == 413   ? client_failure::too_long
                              : why.status == 503 ? client_failure::no_memory
                                                  : client_failure::malformed;
  fail(c, {what, why.reason});
}

// Whether the reader has something to be told: a part, or the end.
bool calls::pull(call_state& c) {
  if (!c.part.empty() || c.over()) return true;
  if (!c.has_head) return false;
  const body_decoder::progress p = c.decoder.next(c.input, c.part, options_.limits, part_bytes_max);
  const bool ended_by_fin = c.part.empty() && c.cut && c.until_end && c.fin;
  if (p == body_decoder::progress::broken)
    broken(c, c.decoder.why());
  else if (p == body_decoder::progress::end || ended_by_fin)
    complete(c);
  else if (c.part.empty() && c.cut)
    fail(c, {client_failure::ended_early, "the connection ended before the body did"});
  if (c.conn != nullptr && c.conn->wire->paused() && c.input.bytes() <= options_.read_ahead / 2)
    c.conn->wire->resume();
  return !c.part.empty() || c.over();
}

// ---- the request's body

bool calls::write(call_state& c, chain&& bytes, bool& waits) {
  if (c.over() || c.sent_all) return false;
  if (c.conn == nullptr) {
    if (!c.waiting) return false;
    c.outgoing.append(std::move(bytes));
    waits = true;
    return true;
  }
  const send_result result = c.conn->wire->send(std::move(bytes));
  if (result == send_result::over_limit)
    fail(c, {client_failure::no_memory, "too much of the request is unsent"});
  waits = result == send_result::queued;
  return waits || result == send_result::sent;
}

void calls::request_complete(call_state& c) {
  c.sent_all = true;
  arm(c);
}

// ---- streams

void calls::opened(stream& s) {
  if (call_connection& conn = connection_at(s); conn.current) arm(*conn.current);
}

void calls::refused(stream& s, const error& why) {
  call_connection& conn = connection_at(s);
  const std::shared_ptr<call_state> c = std::move(conn.current);
  detach(conn);
  if (c == nullptr) return;
  c->conn = nullptr;
  if (why.code == ETIMEDOUT)
    fail(*c, {client_failure::connect_timeout, "the connection could not be made in time"});
  else
    fail(*c, {client_failure::connect, "the connection could not be made", why.code});
}

void calls::received(stream& s, chain&& bytes) {
  call_connection& conn = connection_at(s);
  const std::shared_ptr<call_state> c = conn.current;
  if (c == nullptr) {  // RFC 9112 §9.2: what nobody asked for is no answer
    counters_.unasked.add(1);
    bytes.clear();
    return let_go(conn, true);
  }
  c->input.append(std::move(bytes));
  if (c->moved)
    skip_body(*c);
  else if (!c->has_head)
    read_head(*c);
  const bool tell = c->reader && c->has_head && (!c->wants_body || pull(*c));
  if (c->conn != nullptr && c->input.bytes() > options_.read_ahead) s.pause();
  if (tell && c->reader) std::exchange(c->reader, {}).resume();
}

void calls::ended(stream& s) {
  call_connection& conn = connection_at(s);
  s.close();
  lost(conn, true);
}

void calls::writable(stream& s) {
  const std::shared_ptr<call_state> c = connection_at(s).current;
  if (c != nullptr && c->writer) std::exchange(c->writer, {}).resume();
}

void calls::expired(stream& s) {
  call_connection& conn = connection_at(s);
  const std::shared_ptr<call_state> c = conn.current;
  if (c == nullptr) return let_go(conn, false);
  if (c->has_head || c->moved) return fail(*c, {client_failure::body_timeout, "the body stopped coming"});
  // While the request still leaves, the engine watches that it does.
  if (s.unsent() != 0) return arm(*c);
  fail(*c, {client_failure::head_timeout, "no answer came in time"});
}

void calls::drain(stream& s) {
  if (call_connection& conn = connection_at(s); conn.current == nullptr) let_go(conn, false);
}

void calls::closed(stream& s) {
  call_connection& conn = connection_at(s);
  s.set_session(nullptr);
  lost(conn, false);
  counters_.connections.sub(1);
  delete &conn;
}

}  // namespace catenet::http
