// From what a handler left behind to bytes on their way.
#include <catenet/engine/log.hpp>
#include <catenet/engine/stream.hpp>
#include <catenet/http/status.hpp>

#include <algorithm>
#include <cstring>
#include <string>

#include "http/sessions.hpp"

namespace catenet::http {

namespace {

// With more requests behind this one, the block for their answers is this big at once.
constexpr std::size_t batch_block_bytes = 4096;
// A text up to here goes behind its head; a longer one into blocks of its own.
constexpr std::size_t text_bytes_max = 2048;

bool in_memory(const chain& c) {
  for (const segment* s = c.head(); s != nullptr; s = s->next)
    if (s->kind == segment_kind::file) return false;
  return true;
}

void log_failure(const exchange& x, std::string_view what) {
  std::string line = "http: ";
  line += x.head.method_name;
  line += ' ';
  line += x.head.target;
  line += ": ";
  line += what;
  log(log_level::error, line);
}

}  // namespace

void exchange::reset_answer() {
  status = 0;
  answered = refused = close_after = has_type = has_date = has_length = false;
  default_type = {};
  fields.clear();
  text.clear();
  payload.clear();
  if (trailers) trailers.reset();
  if (take_over) take_over = {};
}

void exchange::reset() {
  running.reset();
  reset_answer();
  wire = nullptr;
  conn = nullptr;
  if (!decoder.unused()) decoder = {};
  part.clear();
  head_bytes.clear();
  decoded.clear();
  where.hit = nullptr;
  broken = {};
  body_waiter = {};
  write_waiter = {};
  continue_owed = piecewise = cut = false;
}

void exchange::answer(std::uint16_t code, std::string_view line) {
  status = code;
  answered = true;
  default_type = "text/plain; charset=utf-8";
  text.clear();
  text.append(line);
  text.append("\n");
}

bool exchange::bodiless() const { return head.method == method::head || never_has_body(status); }

sessions::outcome sessions::conclude(batch& b, exchange& x, bool more_follows) {
  if (x.running && x.running.failure()) explain(x, x.running.failure());
  if (x.wire == nullptr || x.wire->closing()) return outcome::over;
  settle(x);
  if (x.take_over) {
    write_answer(b, x, false);
    return outcome::over;
  }
  x.close_after = must_close(x);
  if (x.piecewise)
    end_pieces(b, x);
  else
    write_answer(b, x, more_follows);
  if (x.close_after) {
    flush(b);
    x.wire->close();
    return outcome::over;
  }
  if (x.conn != nullptr && x.body_left()) return discard(*x.conn);
  return outcome::answered;
}

// Sees to it that there is an answer, and one that may go out.
void sessions::settle(exchange& x) {
  if (x.piecewise) return;
  if (x.refused) {
    log_failure(x, "the handler set a status, field or trailer that is not valid");
    x.reset_answer();
    x.answer(500, "the answer could not be given");
  } else if (!x.answered) {
    log_failure(x, "the handler gave no answer");
    x.reset_answer();
    x.answer(500, "there was no answer");
  } else if (x.take_over && (x.head.has_body() || x.head.minor == 0)) {
    x.reset_answer();
    x.answer(400, "an upgrade takes HTTP/1.1 and no body");
  }
}

// An exception came out of the handler.
void sessions::explain(exchange& x, const std::exception_ptr& what) {
  fault why{500, "the handler failed"};
  try {
    std::rethrow_exception(what);
  } catch (const aborted& a) {
    why = a.why();
    x.close_after = true;
  } catch (const std::exception& e) {
    log_failure(x, std::string{"the handler threw: "} + e.what());
  } catch (...) {
    log_failure(x, "the handler threw");
  }
  if (x.piecewise) {
    x.cut = true;
    return;
  }
  const bool close = x.close_after;
  x.reset_answer();
  x.close_after = close;
  x.answer(why.status, why.reason);
}

bool sessions::wants_close(const exchange& x) const {
  return !x.head.keep_alive || x.close_after || x.cut || core_.draining();
}

// With what the handler left unread in view.
bool sessions::must_close(const exchange& x) const {
  if (wants_close(x)) return true;
  if (x.piecewise && x.framing == framing::close) return true;
  if (x.conn == nullptr || !x.body_left()) return false;
  return x.broken || x.continue_owed || (!x.head.chunked && x.decoder.left() > service_.options.discard_max);
}

response_head sessions::head_of(exchange& x) {
  response_head h;
  h.status = x.status;
  h.framing = never_has_body(x.status) ? framing::none : framing::length;
  if (x.take_over)
    h.persistence = persistence::upgrade;
  else if (x.close_after)
    h.persistence = persistence::close;
  else if (x.head.minor == 0)
    h.persistence = persistence::keep_alive;
  if (!x.has_date) h.date = date();
  if (!x.has_type) h.type = x.default_type;
  h.server = service_.options.server_name;
  h.fields = x.fields.view();
  return h;
}

void sessions::write_answer(batch& b, exchange& x, bool more_follows) {
  response_head h = head_of(x);
  const std::uint64_t bytes = x.payload.empty() ? x.text.size() : x.payload.bytes();
  h.length = bytes;
  const bool with_body = bytes != 0 && !x.bodiless();
  const bool copied = with_body && (x.payload.empty() ? bytes <= text_bytes_max
                                                      : bytes <= copy_bytes_max && in_memory(x.payload));
  const std::size_t most = head_size_max(h) + (copied ? bytes : 0);
  reservation r = b.out.reserve(more_follows && b.room < most ? std::max(most, batch_block_bytes) : most);
  if (!r) return b.to.abort();
  char* const begin = reinterpret_cast<char*>(r.bytes().data());
  char* end = write_head(begin, h);
  if (copied && x.payload.empty())
    std::memcpy(end, x.text.view().data(), bytes);
  else if (copied)
    x.payload.copy_to(r.bytes().subspan(static_cast<std::size_t>(end - begin)));
  if (copied) end += bytes;
  const auto written = static_cast<std::size_t>(end - begin);
  b.room = r.bytes().size() - written;
  r.commit(written);
  if (!with_body || copied) return;
  b.room = 0;
  if (!x.payload.empty())
    b.out.append(std::move(x.payload));
  else if (!b.out.append_copy(x.text.view()))
    b.to.abort();
}

// The head of an answer whose body comes piece by piece.
void sessions::begin_pieces(exchange& x, chain& out) {
  x.piecewise = true;
  if (x.status == 0) x.status = 200;
  x.close_after = wants_close(x);
  response_head h = head_of(x);
  if (h.framing != framing::none)
    h.framing = x.has_length ? framing::length : x.head.minor == 0 ? framing::close : framing::chunks;
  h.length = x.length;
  x.framing = h.framing;
  if (x.framing == framing::close && !x.close_after) {
    x.close_after = true;
    h.persistence = persistence::close;
  }
  reservation r = out.reserve(head_size_max(h));
  if (!r) return x.wire->abort();
  char* const begin = reinterpret_cast<char*>(r.bytes().data());
  r.commit(static_cast<std::size_t>(write_head(begin, h) - begin));
}

bool sessions::write(exchange& x, chain&& piece, bool& waits) {
  if (x.wire == nullptr || x.wire->closing() || x.refused) return false;
  chain out;
  if (!x.piecewise) begin_pieces(x, out);
  bool room = true;
  if (!piece.empty() && !x.bodiless()) {
    if (x.framing == framing::chunks) {
      char line[chunk_line_max];
      const char* end = write_chunk_line(line, piece.bytes());
      room = out.append_copy(std::string_view{line, static_cast<std::size_t>(end - line)});
      out.append(std::move(piece));
      room = room && out.append_constant("\r\n");
    } else if (x.framing == framing::length) {
      std::optional<chain> part = piece.split(x.length);
      room = part.has_value();
      if (room) {
        x.length -= part->bytes();
        out.append(std::move(*part));
      }
    } else {
      out.append(std::move(piece));
    }
  }
  if (!room) {
    x.wire->abort();
    return false;
  }
  send_result result = send_result::sent;
  send_aside(x, std::move(out), result);
  waits = result == send_result::queued;
  return result == send_result::sent || waits;
}

void sessions::end_pieces(batch& b, exchange& x) {
  if (x.framing == framing::chunks && !x.cut && !x.bodiless()) {
    const std::string_view trailers = x.trailers ? std::string_view{*x.trailers} : std::string_view{};
    if (!b.out.append_copy("0\r\n") || !b.out.append_copy(trailers) || !b.out.append_copy("\r\n")) b.to.abort();
    b.room = 0;
  }
  // A body shorter than was promised can be told by the connection's end only.
  if (x.framing == framing::length && x.length != 0 && !x.bodiless()) x.close_after = true;
}

send_result sessions::flush(batch& b) {
  b.room = 0;
  if (b.out.empty()) return send_result::sent;
  const send_result result = b.to.send(std::move(b.out));
  if (result == send_result::over_limit) b.to.abort();
  b.out.clear();
  return result;
}

// Sends for one exchange, behind whatever is gathered for its stream.
void sessions::send_aside(exchange& x, chain&& bytes, send_result& result) {
  for (batch* b = batch_; b != nullptr; b = b->outer)
    if (&b->to == x.wire) flush(*b);
  result = x.wire->send(std::move(bytes));
  if (result == send_result::over_limit) x.wire->abort();
}

// The date is written once a second.
std::string_view sessions::date() {
  if (const std::int64_t now = core_.unix_seconds(); now != date_second_) {
    date_second_ = now;
    write_http_date(date_, now);
  }
  return {date_, sizeof date_};
}

}  // namespace catenet::http
