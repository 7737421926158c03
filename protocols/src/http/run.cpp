// From received bytes to handlers: every complete request of what is there is answered in one go, and the
// answers leave together.
#include <catenet/engine/log.hpp>
#include <catenet/engine/stream.hpp>

#include "http/chars.hpp"
#include "http/percent.hpp"
#include "http/sessions.hpp"

#include <algorithm>

namespace catenet::http {

namespace {
// Answers gathered before they are handed to the stream, which then may say that it is enough.
constexpr std::uint64_t batch_bytes_max = 64 << 10;

// The one element of a list, empty ones left out (RFC 9110 §5.6.1.2): "" where there is none, the whole list
// where there are several.
std::string_view only_element(std::string_view list) {
  std::string_view only;
  const bool one = for_each_element(list, [&](std::string_view element) {
    if (element.empty()) return true;
    return std::exchange(only, element).empty();
  });
  return one ? only : list;
}
}  // namespace

// Where the bytes and the state of the parser lie: with the caller while the connection needs nothing kept,
// in its connection from the moment it does.
struct sessions::reading {
  stream& s;
  chain* input;
  head_parser* parser;
  connection* conn;
  exchange* x;
};

void sessions::run(stream& s, chain& input) {
  auto* const c = static_cast<connection*>(s.session());
  head_parser passing;
  reading r{s, &input, c != nullptr ? &c->parser : &passing, c, &take_exchange()};
  {
    batch b{*this, s};
    while (!r.input->empty() && step(b, r)) {
    }
    flush(b);
  }
  if (r.x != nullptr) give(*r.x);
  if (s.owner_protocol() == this && !s.closing()) rest(r);
}

// One request. False when no further one may be read now.
bool sessions::step(batch& b, reading& r) {
  switch (r.parser->next(*r.input, service_.options.limits, r.x->head)) {
    case head_parser::progress::more:
      return false;
    case head_parser::progress::broken:
      r.parser->recall(*r.input, r.x->head);
      refuse(b, r.s, *r.x, r.parser->why());
      return false;
    case head_parser::progress::complete:
      break;
  }
  if (begin(b, r) != outcome::answered) return false;
  if (r.parser->in_place()) r.input->consume(r.x->head_bytes.empty() ? r.x->head.bytes : 0);
  r.parser->reset();
  if (!r.input->empty()) r.x->reset();  // otherwise it is given back
  if (b.out.bytes() < batch_bytes_max) return true;
  if (flush(b) != send_result::queued) return !r.s.closing();
  r.conn = &connection_of(r.s);
  r.conn->congested = true;
  return false;
}

sessions::outcome sessions::begin(batch& b, reading& r) {
  exchange& x = *r.x;
  counters_.requests.add(1);
  x.wire = &r.s;
  x.started_ms = core_.now_ms();
  x.id = std::uint64_t{core_.index()} << 48 | counters_.requests.get();
  if (r.conn != nullptr) r.conn->partial = false;
  const bool routed = find_route(x);
  if (x.head.has_body()) [[unlikely]] {
    if (x.head.method == method::trace) return refuse(b, r.s, x, {400, "TRACE has no body"});
    if (x.head.content_length > body_max(x)) return refuse(b, r.s, x, {413, "the body is too long"});
    keep_for_body(r);
    if (x.conn == nullptr) return outcome::over;
  }
  if (routed && expects_plain(x)) call(x);
  if (x.running && !x.running.done()) {
    keep_while_waiting(r);
    return outcome::waiting;
  }
  const outcome o = conclude(b, x, r.input->bytes() > x.head.bytes);
  if (o == outcome::waiting) {
    r.x = nullptr;
    return o;
  }
  if (r.conn != nullptr) r.conn->current = nullptr;
  if (x.take_over && o == outcome::over && !r.s.closing()) {
    flush(b);
    if (x.head_bytes.empty() && r.parser->in_place()) r.input->consume(x.head.bytes);
    hand_over(r.s, x, std::move(*r.input));
    r.conn = nullptr;
  }
  return o;
}

// Answers what is no proper request, or one that is too much, and closes.
sessions::outcome sessions::refuse(batch& b, stream& s, exchange& x, const fault& why) {
  if (x.wire == nullptr) x.started_ms = core_.now_ms();  // no request was begun
  x.reset();
  x.wire = &s;
  x.close_after = true;
  x.answer(why.status, why.reason);
  write_answer(b, x, false);
  if (service_.on_access) tell_access(x);
  flush(b);
  s.close();
  return outcome::over;
}

// The connection is another protocol's from now on.
void sessions::hand_over(stream& s, exchange& x, chain&& left) {
  const callback<void(stream&, chain &&)> take = std::move(x.take_over);
  chain bytes = std::move(left);
  if (auto* c = static_cast<connection*>(s.session())) {
    s.set_session(nullptr);
    give(*c);
  }
  s.clear_deadline();
  s.resume();  // what was held back, and the end, are for who takes over
  take(s, std::move(bytes));
  if (s.owner_protocol() == this) s.close();
}

// The head's bytes stay with the exchange, and what follows them with the connection.
void sessions::keep_while_waiting(reading& r) {
  exchange& x = *r.x;
  if (x.conn == nullptr) {
    keep_for_body(r);
    if (x.conn == nullptr) x.wire = nullptr;  // no memory: the stream is being aborted
  }
  x.running.on_done(&task_done, &x);
  link(x);
  if (x.conn != nullptr) watch(*x.conn);
  r.x = nullptr;
}

void sessions::keep_for_body(reading& r) {
  exchange& x = *r.x;
  if (r.parser->in_place()) {
    std::optional<chain> head = r.input->split(x.head.bytes);
    if (!head) return r.s.abort();
    x.head_bytes = std::move(*head);
  } else {
    x.head_bytes = r.parser->take_gathered();
  }
  connection& c = connection_of(r.s);
  if (r.input != &c.input) c.input = std::move(*r.input);
  r.input = &c.input;
  r.parser = &c.parser;
  r.parser->reset();
  r.conn = &c;
  c.current = &x;
  c.discarding = false;
  c.discarded = 0;
  c.body_bytes = 0;
  x.conn = &c;
  if (x.head.chunked)
    x.decoder = body_decoder::of_chunks(body_max(x));
  else
    x.decoder = body_decoder::of_length(x.head.content_length);
  x.continue_owed = x.head.expect_continue && x.body_left();
  if (x.head.content_length > c.input.bytes()) r.s.expect(x.head.content_length - c.input.bytes());
}

// Everything readable was read: what is left, if anything, moves into the connection; without anything, there
// is none.
void sessions::rest(reading& r) {
  stream& s = r.s;
  connection* c = r.conn;
  if (c != nullptr && (c->current != nullptr || c->congested)) {
    if (r.input != &c->input) c->input = std::move(*r.input);
    if (r.parser != &c->parser) c->parser = std::move(*r.parser);
    if (c->congested) s.pause();
    return c->current != nullptr ? hold_back(*c) : void();
  }
  if (!r.parser->untouched()) {
    if (c == nullptr) {
      c = &connection_of(s);
      c->parser = std::move(*r.parser);
    }
    if (!c->parser.idle() && !c->partial) {
      c->partial = true;
      s.set_deadline(listener_.head_ms);
    }
    if (c->ended) return s.close();
    return let_go(*c);
  }
  if (c != nullptr) {
    if (c->ended) return s.close();
    let_go(*c);
    if (!c->introduced) {
      s.set_session(nullptr);
      give(*c);
    }
  }
  if (core_.draining()) return s.close();
  s.set_deadline(listener_.idle_ms);
}

// Finds the handler; where there is none, answers. False when it answered.
bool sessions::find_route(exchange& x) {
  std::string_view path = x.head.path;
  x.where.hit = nullptr;
  if (path.size() == 1 && path.front() == '*') {
    x.status = 204;
    x.answered = true;
    return false;
  }
  if (x.head.method == method::other) {
    x.answer(501, "the method is not known");
    return false;
  }
  const char* const path_end = path.data() + path.size();
  const bool escaped = find_byte(path.data(), path_end, '%') != path_end;
  if (escaped) {
    if (!decode_path(path, x.decoded)) {
      x.answer(400, "the path has an escape that is not valid");
      return false;
    }
    path = x.decoded;
  }
  service_.table.find(x.head.method, path, x.where);
  if (escaped) std::replace(x.decoded.begin(), x.decoded.end(), encoded_slash, '/');
  if (x.where.hit != nullptr) [[likely]]
    return true;
  if (x.where.allowed == 0) {
    x.answer(404, "there is nothing here");
    return false;
  }
  x.rs.header("Allow", allow_value(x.where.allowed));
  if (x.head.method == method::options) {
    x.status = 204;
    x.answered = true;
  } else {
    x.answer(405, "the method is not allowed here");
  }
  return false;
}

// Sees to a body with a content coding. False when it answered, because the coding is not known, or one of
// several.
bool sessions::expects_plain(exchange& x) {
  const std::uint64_t most = x.where.hit->options.expand_max;
  if (most == 0 || !x.head.has_body()) return true;
  const auto content_encoding = x.head.fields.find("Content-Encoding");
  if (!content_encoding) return true;
  if (x.head.fields.count("Content-Encoding") == 1) {
    const std::string_view coding = only_element(*content_encoding);
    if (coding.empty() || equal_ignoring_case(coding, "identity")) return true;
    x.expands = expander::make(coding, most);
    if (x.expands) return true;
  }
  x.rs.header("Accept-Encoding", "gzip, deflate");
  x.answer(415, "the content coding is not known");
  return false;
}

void sessions::call(exchange& x) {
  const route& to = *x.where.hit;
  try {
    for (const handler& f : to.filters) {
      f(x.rq, x.rs, x.running);
      if (x.answered) return;
    }
    to.answer(x.rq, x.rs, x.running);
  } catch (...) {
    explain(x, std::current_exception());
  }
}

}  // namespace catenet::http
