// From what a handler left behind to bytes on their way.
#include <catenet/engine/log.hpp>
#include <catenet/engine/stream.hpp>
#include <catenet/http/access.hpp>
#include <catenet/http/status.hpp>

#include "http/conditional.hpp"
#include "http/head_lines.hpp"
#include "http/mime.hpp"
#include "http/sessions.hpp"

#include <algorithm>
#include <cstring>
#include <string>

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
  if (!fields.empty()) fields.clear();
  if (!text.empty()) text.clear();
  if (!payload.empty()) payload.clear();
  if (trailers) trailers.reset();
  if (packs) packs.reset();
  if (take_over) take_over = {};
}

void exchange::reset() {
  running.reset();
  reset_answer();
  wire = nullptr;
  conn = nullptr;
  if (!decoder.unused()) decoder = {};
  if (!part.empty()) part.clear();
  if (!head_bytes.empty()) head_bytes.clear();
  decoded.clear();
  where.hit = nullptr;
  broken = {};
  body_waiter = {};
  write_waiter = {};
  continue_owed = piecewise = cut = false;
  body_bytes = 0;
  if (expands) expands.reset();
  if (gone) gone = {};
  over = false;
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
    if (service_.on_access) tell_access(x);
    return outcome::over;
  }
  x.close_after = must_close(b, x);
  if (x.piecewise)
    end_pieces(b, x);
  else
    write_answer(b, x, more_follows);
  if (service_.on_access) [[unlikely]]
    tell_access(x);
  if (x.close_after) {
    flush(b);
    x.wire->close();
    return outcome::over;
  }
  if (x.conn != nullptr && x.body_left()) return discard(*x.conn);
  return outcome::answered;
}

void sessions::tell_access(exchange& x) {
  service_.on_access({x.rq, x.status, x.body_bytes, core_.now_ms() - x.started_ms, core_.unix_seconds()});
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
  } else if (x.take_over && (x.head.method != method::get || x.head.has_body() || x.head.minor == 0)) {
    x.reset_answer();
    x.answer(400, "an upgrade takes GET, HTTP/1.1 and no body");
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

bool sessions::wants_close(const exchange& x, bool draining) {
  return !x.head.keep_alive || x.close_after || x.cut || draining;
}

// With what the handler left unread in view.
bool sessions::must_close(const batch& b, const exchange& x) const {
  if (wants_close(x, b.draining)) return true;
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
  if (h.status == 200 && !x.has_date) [[likely]]
    h.opening = opening_;
  else if (!x.has_date)
    h.date = {date_, sizeof date_};
  if (!x.has_type) h.type = x.default_type;
  h.server = service_.options.server_name;
  h.fields = x.fields.view();
  return h;
}

// Whether an answer would be compressed for some client, by what the handler said of it.
bool sessions::is_packable(const exchange& x) {
  const std::string_view fields = x.fields.view();
  std::string_view type = x.default_type;
  for (std::size_t at = 0; at < fields.size();) {
    const std::size_t end = fields.find("\r\n", at);
    const std::string_view line = fields.substr(at, end - at);
    const std::string_view name = line.substr(0, line.find(':'));
    if (equal_ignoring_case(name, "Content-Type")) type = line.substr(name.size() + 2);
    if (equal_ignoring_case(name, "Content-Encoding") || equal_ignoring_case(name, "ETag") ||
        equal_ignoring_case(name, "Content-Range"))
      return false;
    at = end + 2;
  }
  return is_compressible(type);
}

// What this client wants it compressed with. Another one may want something else, which caches have to know
// (RFC 9110 §12.5.5).
coding sessions::choose_coding(exchange& x) {
  if (!is_packable(x)) return coding::identity;
  x.rs.header("Vary", "Accept-Encoding");
  const unsigned brotli = coding_weight(x.head.fields, "br");
  const unsigned gzip = coding_weight(x.head.fields, "gzip");
  if (brotli == 0 && gzip == 0) return coding::identity;
  return brotli >= gzip ? coding::brotli : coding::gzip;
}

// Compresses a whole body in its place, where that makes it smaller; for HEAD, too, as its length is told.
void sessions::compress(exchange& x) {
  const compression& o = service_.options.compression;
  const std::uint64_t bytes = x.payload.empty() ? x.text.size() : x.payload.bytes();
  if (bytes < o.bytes_min || bytes > o.bytes_max || never_has_body(x.status) || !in_memory(x.payload)) return;
  const coding c = choose_coding(x);
  const std::unique_ptr<compressor> packs = compressor::make(c, o.level);
  if (!packs) return;
  chain plain;
  if (x.payload.empty() && !plain.append_copy(x.text.view())) return;
  chain packed;
  if (!packs->add(x.payload.empty() ? plain : x.payload, packed, compressor::until::end)) return;
  if (packed.bytes() >= bytes) return;
  x.rs.header("Content-Encoding", name_of(c));
  x.payload = std::move(packed);
}

// Most answers: 200 with a short text, on a connection that goes on.
bool sessions::is_plain(const exchange& x) {
  return x.status == 200 && !x.has_date && !x.close_after && !x.take_over && x.payload.empty() &&
         x.text.size() <= text_bytes_max && x.head.minor != 0 && x.head.method != method::head;
}

// What write_answer() would write, in fewer steps.
void sessions::write_plain(batch& b, exchange& x, bool more_follows) {
  const std::string_view text = x.text.view();
  const std::string_view fields = x.fields.view();
  const std::string_view type = x.has_type ? std::string_view{} : x.default_type;
  const std::size_t most = opening_.size() + type.size() + fields.size() + head_lines_bytes_max + text.size();
  char* at = b.out.room(most, more_follows ? batch_block_bytes : 0);
  if (at == nullptr) return b.to.abort();
  at = put(at, opening_);
  if (!type.empty()) at = put_type(at, type);
  at = put(put_length(put(at, fields), text.size()), "\r\n");
  b.out.written_to(put(at, text));
  x.body_bytes = text.size();
}

void sessions::write_answer(batch& b, exchange& x, bool more_follows) {
  if (service_.options.compression.on) [[unlikely]]
    compress(x);
  renew_dates();
  if (is_plain(x)) [[likely]]
    return write_plain(b, x, more_follows);
  response_head h = head_of(x);
  const std::uint64_t bytes = x.payload.empty() ? x.text.size() : x.payload.bytes();
  h.length = bytes;
  const bool with_body = bytes != 0 && !x.bodiless();
  if (with_body) x.body_bytes = bytes;
  const bool copied = with_body && (x.payload.empty() ? bytes <= text_bytes_max
                                                      : bytes <= copy_bytes_max && in_memory(x.payload));
  const std::size_t most = head_size_max(h) + (copied ? bytes : 0);
  char* at = b.out.room(most, more_follows ? batch_block_bytes : 0);
  if (at == nullptr) return b.to.abort();
  at = write_head(at, h);
  if (copied && x.payload.empty())
    at = put(at, x.text.view());
  else if (copied)
    at += x.payload.copy_to({reinterpret_cast<std::byte*>(at), bytes});
  b.out.written_to(at);
  if (!with_body || copied) return;
  if (!x.payload.empty())
    b.out.all().append(std::move(x.payload));
  else if (!b.out.all().append_copy(x.text.view()))
    b.to.abort();
}

// The head of an answer whose body comes piece by piece.
void sessions::begin_pieces(exchange& x, chain& out) {
  x.piecewise = true;
  if (x.status == 0) x.status = 200;
  x.close_after =
      wants_close(x, core_.draining()) || x.continue_owed;  // nobody knows whether the body will come
  if (const compression& o = service_.options.compression;
      o.on && !x.has_length && !never_has_body(x.status)) {
    const coding c = choose_coding(x);
    x.packs = compressor::make(c, o.level);
    if (x.packs) x.rs.header("Content-Encoding", name_of(c));
  }
  renew_dates();
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

bool sessions::inform(exchange& x, std::uint16_t status, std::string_view lines) {
  if (x.wire == nullptr || x.wire->closing() || x.piecewise || x.head.minor == 0) return false;
  response_head h;
  h.status = status;
  h.framing = framing::none;
  h.fields = lines;
  chain out;
  reservation r = out.reserve(head_size_max(h));
  if (!r) return false;
  char* const begin = reinterpret_cast<char*>(r.bytes().data());
  r.commit(static_cast<std::size_t>(write_head(begin, h) - begin));
  send_result result = send_result::sent;
  send_aside(x, std::move(out), result);
  return result == send_result::sent || result == send_result::queued;
}

bool sessions::write(exchange& x, chain&& piece, bool& waits) {
  if (x.wire == nullptr || x.wire->closing() || x.refused) return false;
  chain out;
  if (!x.piecewise) begin_pieces(x, out);
  if (!piece.empty() && !x.bodiless() &&
      !(pack(x, piece, compressor::until::flush) && frame(x, std::move(piece), out))) {
    x.wire->abort();
    return false;
  }
  send_result result = send_result::sent;
  send_aside(x, std::move(out), result);
  x.spoke_ms = core_.now_ms();
  if (x.conn != nullptr) watch_handler(*x.conn);
  waits = result == send_result::queued;
  return result == send_result::sent || waits;
}

// Compresses a piece in its place, where the body is compressed.
bool sessions::pack(exchange& x, chain& piece, compressor::until how) {
  if (!x.packs) return true;
  chain packed;
  const bool done = in_memory(piece) && x.packs->add(piece, packed, how);
  piece = std::move(packed);
  return done;
}

// Puts a piece behind `out` the way the end of the body is told. False when memory ran out.
bool sessions::frame(exchange& x, chain&& piece, chain& out) {
  x.body_bytes += piece.bytes();
  if (x.framing == framing::length) {
    std::optional<chain> part = piece.split(x.length);
    if (!part) return false;
    x.length -= part->bytes();
    out.append(std::move(*part));
    return true;
  }
  if (x.framing != framing::chunks || piece.empty()) {
    out.append(std::move(piece));
    return true;
  }
  char line[chunk_line_max];
  const char* end = write_chunk_line(line, piece.bytes());
  if (!out.append_copy(std::string_view{line, static_cast<std::size_t>(end - line)})) return false;
  out.append(std::move(piece));
  return out.append_constant("\r\n");
}

void sessions::end_pieces(batch& b, exchange& x) {
  if (chain last; x.packs && !x.cut && !x.bodiless()) {
    if (!pack(x, last, compressor::until::end) || !frame(x, std::move(last), b.out.all())) b.to.abort();
  }
  if (x.framing == framing::chunks && !x.cut && !x.bodiless()) {
    const std::string_view trailers = x.trailers ? std::string_view{*x.trailers} : std::string_view{};
    chain& out = b.out.all();
    if (!out.append_copy("0\r\n") || !out.append_copy(trailers) || !out.append_copy("\r\n")) b.to.abort();
  }
  // A body shorter than was promised can be told by the connection's end only.
  if (x.framing == framing::length && x.length != 0 && !x.bodiless()) x.close_after = true;
}

send_result sessions::flush(batch& b) {
  chain& out = b.out.all();
  if (out.empty()) return send_result::sent;
  const send_result result = b.to.send(std::exchange(out, {}));
  if (result == send_result::over_limit) b.to.abort();
  return result;
}

// Sends the answers that are gathered for a stream, before something else happens to it.
void sessions::flush_gathered(stream& s) {
  for (batch* b = batch_; b != nullptr; b = b->outer)
    if (&b->to == &s) flush(*b);
}

// Sends for one exchange, behind whatever is gathered for its stream.
void sessions::send_aside(exchange& x, chain&& bytes, send_result& result) {
  flush_gathered(*x.wire);
  result = x.wire->send(std::move(bytes));
  if (result == send_result::over_limit) x.wire->abort();
}

// The date, and the beginning of most answers.
void sessions::write_dates() {
  date_second_ = core_.unix_seconds();
  write_http_date(date_, date_second_);
  response_head h;
  h.date = {date_, sizeof date_};
  h.server = service_.options.server_name;
  opening_.resize(head_size_max(h));
  opening_.resize(static_cast<std::size_t>(write_opening(opening_.data(), h) - opening_.data()));
}

}  // namespace catenet::http
