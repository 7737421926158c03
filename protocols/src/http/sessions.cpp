// Connections: what comes for one that has something under way, bodies, deadlines, the end.
#include "http/sessions.hpp"

#include <catenet/engine/stream.hpp>

#include "http/proxy_header.hpp"

#include <algorithm>
#include <array>

namespace catenet::http {

namespace {

// Bytes of a body handed to a handler at a time.
constexpr std::uint64_t part_bytes_max = 256 << 10;
// What is kept for reuse.
constexpr std::uint32_t free_exchanges_max = 32;
constexpr std::uint32_t free_connections_max = 256;

constexpr std::uint32_t no_limit = ~std::uint32_t{0};

constexpr fault gone{400, "the connection ended before the body did"};

connection* connection_at(const stream& s) { return static_cast<connection*>(s.session()); }

}  // namespace

sessions::sessions(core& at, const service& of, const listener& through, session_counters& counters)
    : core_(at), service_(of), listener_(through), counters_(counters) {}

sessions::~sessions() {
  while (waiting_ != nullptr) {  // their connections have ended; nobody will resume them any more
    exchange* x = waiting_;
    // Nobody is before the first, so waiting_ moves on: NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete)
    unlink(*x);
    x->running.reset();
    delete x;
  }
  while (free_exchanges_ != nullptr) delete std::exchange(free_exchanges_, free_exchanges_->next);
  while (free_connections_ != nullptr) delete std::exchange(free_connections_, free_connections_->next);
}

void sessions::opened(stream& s) {
  if (limits_addresses() && !listener_.proxy_protocol && !admit(s, s.peer())) return s.abort();
  s.set_deadline(listener_.idle_ms);
}

// Counts a connection of its client's address until its stream ends, whoever owns that then; false when there
// are enough of them (bad-input.md row 60). Of no address, as from a UNIX socket, they are not counted.
bool sessions::admit(stream& s, const endpoint& client) {
  const auto from = ip_address::of(client);
  if (!from) return true;
  std::uint32_t& count = per_address_[from->network()];
  if (count == service_.options.connections_per_address_max) return false;
  ++count;
  s.on_end([this, network = from->network()] {
    const auto counted = per_address_.find(network);
    if (--counted->second == 0) per_address_.erase(counted);
  });
  return true;
}

void sessions::received(stream& s, chain&& bytes) {
  connection* c = connection_at(s);
  if (c == nullptr && listener_.proxy_protocol) c = &connection_of(s);
  if (c != nullptr) {
    if (c->current != nullptr && c->current->body_left()) c->body_bytes += bytes.bytes();
    c->input.append(std::move(bytes));
    return go_on(*c);
  }
  chain input = std::move(bytes);
  run(s, input);
}

// Reads who a connection is from, as the proxy tells it. False when there is nothing more to read yet.
bool sessions::introduce(connection& c) {
  std::array<std::byte, proxy_header::bytes_max> bytes;
  const std::size_t count = c.input.copy_to(bytes);
  proxy_header header;
  switch (header.read({bytes.data(), count})) {
    case proxy_header::progress::broken:
      c.wire->abort();
      return false;
    case proxy_header::progress::more:
      if (!std::exchange(c.partial, true)) c.wire->set_deadline(listener_.head_ms);
      return false;
    case proxy_header::progress::complete:
      break;
  }
  c.partial = false;
  c.introduced = true;
  if (header.source) c.client = std::make_unique<endpoint>(*header.source);
  if (limits_addresses() && c.client && !admit(*c.wire, *c.client)) {
    c.wire->abort();
    return false;
  }
  c.input.consume(header.bytes);
  return true;
}

std::uint32_t sessions::send_stall_ms(std::uint32_t general) const {
  const std::uint32_t own = listener_.send_ms;
  return own != 0 ? std::min(own, timer_wheel::delay_ms_max) : general;
}

// There is more input, or room for more output.
void sessions::go_on(connection& c) {
  if (listener_.proxy_protocol && !c.introduced && !introduce(c)) return;
  if (c.current == nullptr) {
    if (c.congested) return hold_back(c);
    return run(*c.wire, c.input);
  }
  exchange& x = *c.current;
  if (c.discarding) {
    const outcome o = discard(c);
    if (o == outcome::waiting) return;
    c.current = nullptr;
    give(x);
    if (o == outcome::answered) run(*c.wire, c.input);
    return;
  }
  if (x.body_waiter && pull(x)) {
    x.spoke_ms = core_.now_ms();  // it was the client who kept it waiting
    return std::exchange(x.body_waiter, {}).resume();
  }
  hold_back(c);
}

void sessions::ended(stream& s) {
  connection* c = connection_at(s);
  if (c == nullptr) return s.close();
  c->ended = true;
  if (c->current == nullptr) {
    if (!c->congested) s.close();
    return;
  }
  if (c->discarding) return s.close();
  if (!service_.options.answer_after_fin && !c->current->body_left()) return s.abort();
  // A body that is here already, and not yet read, is complete all the same: pull() finds out.
  if (c->current->body_waiter) fail_body(*c->current, gone);
}

void sessions::writable(stream& s) {
  connection* c = connection_at(s);
  if (c == nullptr) return;
  if (c->current != nullptr && c->current->write_waiter) {
    const std::coroutine_handle<> waiter = std::exchange(c->current->write_waiter, {});
    c->current->spoke_ms = core_.now_ms();
    watch_handler(*c);
    return waiter.resume();
  }
  if (!c->congested) return;
  c->congested = false;
  if (c->current == nullptr) run(s, c->input);
}

void sessions::expired(stream& s) {
  if (connection* c = connection_at(s)) return time_out(*c);
  s.close();
}

void sessions::time_out(connection& c) {
  stream& s = *c.wire;
  const auto give_up = [&](const fault& why) {
    exchange& answer = take_exchange();
    c.parser.recall(c.input, answer.head);
    {
      batch b{*this, s};
      refuse(b, s, answer, why);
    }
    give(answer);
  };
  if (c.current == nullptr) {
    if (c.partial && (c.introduced || !listener_.proxy_protocol))
      return give_up({408, "the request's head took too long"});
    return c.congested ? void() : s.close();
  }
  exchange& x = *c.current;
  if (!c.discarding && handler_left_ms(x) == 0) {
    if (x.piecewise) return s.abort();
    constexpr fault too_long{503, "the request took too long"};
    c.current = nullptr;
    give_up(too_long);
    return desert(x, too_long);
  }
  const bool waits = c.discarding || x.body_waiter;
  if (c.watching && waits &&
      c.body_bytes < std::uint64_t{listener_.body_rate_min} * listener_.body_ms / 1000) {
    if (c.discarding) return s.close();
    return fail_body(x, {408, "the request's body came too slowly"});
  }
  c.watching = false;
  watch(c);
}

void sessions::drain(stream& s) {
  connection* c = connection_at(s);
  if (c == nullptr || (c->current == nullptr && !c->congested)) s.close();
}

void sessions::closed(stream& s) {
  connection* c = connection_at(s);
  if (c == nullptr) return;
  s.set_session(nullptr);
  exchange* x = c->current;
  const bool discarding = c->discarding;
  give(*c);
  if (x == nullptr) return;
  if (discarding) return give(*x);
  desert(*x, gone);
}

// Nobody hears any more what this handler says: all that wait in it are told. Each may end it, or those
// behind him.
void sessions::desert(exchange& x, const fault& why) {
  x.wire = nullptr;
  x.conn = nullptr;
  x.broken = why;
  x.telling = true;
  if (x.gone) std::exchange(x.gone, {})();
  if (x.write_waiter) std::exchange(x.write_waiter, {}).resume();
  if (x.body_waiter) std::exchange(x.body_waiter, {}).resume();
  x.telling = false;
  if (x.over) give(x);
}

// ---- bodies

std::uint64_t sessions::body_max(const exchange& x) const {
  if (x.where.hit == nullptr || x.where.hit->options.max_body == route_options::as_server)
    return service_.options.max_body;
  return x.where.hit->options.max_body;
}

bool sessions::pull(exchange& x) {
  if (x.broken || x.wire == nullptr || !x.body_left()) return true;
  connection& c = *x.conn;
  if (x.decoder.next(c.input, x.part, service_.options.limits, part_bytes_max) ==
      body_decoder::progress::broken) {
    x.broken = x.decoder.why();
    x.close_after = true;
    x.part.clear();  // a handler that has said nothing yet can still be answered for with the fault's status
  }
  if (x.expands) expand(x);
  if (!x.part.empty()) x.continue_owed = false;
  if (!x.part.empty() || x.broken || !x.body_left()) {
    let_go(c);
    return true;
  }
  if (c.ended) {
    x.broken = gone;
    return true;
  }
  if (std::exchange(x.continue_owed, false) && !x.piecewise) {  // inside an answer it would be a piece of it
    chain go_ahead;
    send_result result = send_result::sent;
    if (go_ahead.append_constant("HTTP/1.1 100 Continue\r\n\r\n")) send_aside(x, std::move(go_ahead), result);
  }
  let_go(c);
  watch(c);
  return false;
}

// Puts what the part holds, expanded, in its place.
void sessions::expand(exchange& x) {
  chain packed = std::move(x.part);
  x.part.clear();
  const expander::progress p = x.expands->add(packed, x.part);
  if (p == expander::progress::too_long) x.broken = {413, "the body is too long when it is expanded"};
  if (p == expander::progress::broken || (p == expander::progress::more && !x.body_left() && !x.broken))
    x.broken = {400, "the body is not what its Content-Encoding says"};
  if (!x.broken) return;
  x.close_after = true;
  x.part.clear();
}

// The body will never be complete: who waits for it is told.
void sessions::fail_body(exchange& x, const fault& why) {
  x.broken = why;
  x.close_after = true;
  if (x.body_waiter) std::exchange(x.body_waiter, {}).resume();
}

// Answered already: takes the rest of the body in, up to a limit. What is wrong with it changes no answer,
// whether it came along with the head or later; it ends the connection.
sessions::outcome sessions::discard(connection& c) {
  exchange& x = *c.current;
  c.discarding = true;
  for (;;) {
    chain dropped;
    const auto p = x.decoder.next(c.input, dropped, service_.options.limits, part_bytes_max);
    c.discarded += dropped.bytes();
    const bool too_much = c.discarded > service_.options.discard_max;
    if (p == body_decoder::progress::end && !too_much) {
      c.discarding = false;
      c.watching = false;
      return outcome::answered;
    }
    if (p == body_decoder::progress::broken || too_much || c.ended) {
      flush_gathered(*c.wire);
      c.wire->close();
      return outcome::over;
    }
    if (p == body_decoder::progress::full) continue;
    let_go(c);
    watch(c);
    return outcome::waiting;
  }
}

// One deadline serves a connection whose request is under way: for the handler, or for the rate of the body.
void sessions::watch(connection& c) {
  const exchange& x = *c.current;
  if (!x.body_left()) {
    c.watching = false;
    return watch_handler(c);
  }
  if (c.watching) return;
  c.watching = true;
  c.body_bytes = 0;
  c.wire->set_deadline(listener_.body_ms);
}

// While the rate of the body is looked at, so is the handler.
void sessions::watch_handler(connection& c) {
  if (c.watching) return;
  const std::uint32_t left_ms = handler_left_ms(*c.current);
  if (left_ms == no_limit)
    c.wire->clear_deadline();
  else
    c.wire->set_deadline(left_ms);
}

// How long the handler may yet take to say something; 0: no longer.
std::uint32_t sessions::handler_left_ms(const exchange& x) const {
  const route_options own = x.where.hit != nullptr ? x.where.hit->options : route_options{};
  const std::uint32_t limit_ms =
      x.piecewise ? own.piece_ms.value_or(listener_.piece_ms) : own.handler_ms.value_or(listener_.handler_ms);
  const bool client_is_slow = x.piecewise && (x.write_waiter || x.body_waiter);
  if (limit_ms == 0 || client_is_slow) return no_limit;
  return limit_ms - std::min(limit_ms, core_.now_ms() - (x.piecewise ? x.spoke_ms : x.started_ms));
}

void sessions::hold_back(connection& c) {
  const bool reads = c.current != nullptr && c.current->body_left();
  const std::uint64_t most = reads ? service_.options.read_ahead : service_.options.input_max;
  if (c.input.bytes() > most) c.wire->pause();
}

void sessions::let_go(connection& c) {
  if (!c.wire->paused() || c.congested || c.input.bytes() > service_.options.input_max / 2) return;
  c.wire->resume();
  c.watching = false;  // while we did not read, the peer could not send
}

// ---- the handler's end

void sessions::task_done(void* context) {
  auto& x = *static_cast<exchange*>(context);
  x.home.finished(x);
}

void sessions::finished(exchange& x) {
  unlink(x);
  x.gone = {};
  if (x.wire == nullptr) {
    x.over = true;
    return x.telling ? void() : give(x);
  }
  stream& s = *x.wire;
  connection& c = *x.conn;
  outcome o = outcome::over;
  {
    batch b{*this, s};
    o = conclude(b, x, false);
    if (flush(b) == send_result::queued) c.congested = true;
  }
  if (o == outcome::waiting) return;
  c.current = nullptr;
  c.watching = false;
  if (x.take_over && o == outcome::over && !s.closing()) hand_over(s, x, std::move(c.input));
  give(x);
  if (o == outcome::answered && !c.congested) run(s, c.input);
}

// ---- free lists

exchange& sessions::take_exchange() {
  if (free_exchanges_ == nullptr) {
    counters_.bytes.add(sizeof(exchange));
    return *new exchange(*this);
  }
  --free_exchange_count_;
  exchange& x = *free_exchanges_;
  free_exchanges_ = x.next;
  return x;
}

void sessions::give(exchange& x) {
  if (free_exchange_count_ == free_exchanges_max) {
    counters_.bytes.sub(sizeof(exchange));
    delete &x;
    return;
  }
  x.reset();
  ++free_exchange_count_;
  x.next = free_exchanges_;
  free_exchanges_ = &x;
}

connection& sessions::connection_of(stream& s) {
  if (connection* c = connection_at(s)) return *c;
  connection* c = free_connections_;
  if (c != nullptr) {
    --free_connection_count_;
    free_connections_ = c->next;
  } else {
    counters_.bytes.add(sizeof(connection));
    c = new connection;
  }
  counters_.busy.add(1);
  c->wire = &s;
  s.set_session(c);
  return *c;
}

void sessions::give(connection& c) {
  counters_.busy.sub(1);
  c = connection{};
  if (free_connection_count_ == free_connections_max) {
    counters_.bytes.sub(sizeof(connection));
    delete &c;
    return;
  }
  ++free_connection_count_;
  c.next = free_connections_;
  free_connections_ = &c;
}

void sessions::link(exchange& x) {
  x.previous = nullptr;
  x.next = waiting_;
  if (waiting_ != nullptr) waiting_->previous = &x;
  waiting_ = &x;
}

void sessions::unlink(exchange& x) {
  (x.previous == nullptr ? waiting_ : x.previous->next) = x.next;
  if (x.next != nullptr) x.next->previous = x.previous;
  x.next = x.previous = nullptr;
}

}  // namespace catenet::http
