// A connection's life: frames in, handlers called, the closing handshake, liveness.
#include "ws/service.hpp"

#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/ws/encoder.hpp>

#include <algorithm>
#include <exception>
#include <new>
#include <string>

namespace catenet::ws {

namespace {

constexpr std::uint32_t park_after_ms = 10'000;  // a quiet connection's contexts are let go of

connection& connection_of(const stream& s) { return *static_cast<connection*>(s.session()); }

decoder_limits limits_of(const options& o) {
  decoder_limits limits;
  limits.message_bytes_max = o.max_message;
  limits.fragments_max = o.max_fragments;
  limits.empty_fragments_max = o.max_empty_fragments;
  return limits;
}

// Spreads connections evenly over a period, so that those which came together are not pinged together.
std::uint32_t phase_of(const stream& s, std::uint32_t period_ms) {
  const std::uint32_t spread = s.id().slot * 2654435769u;  // 2^32 divided by the golden ratio
  return static_cast<std::uint32_t>((std::uint64_t{spread} * period_ms) >> 32) + 1;
}

}  // namespace

service::service(core& home, std::shared_ptr<const ws::options> o, hub& of)
    : home_(home), options_(std::move(o)), limits_(limits_of(*options_)), topics_(of.at(home)) {
  if (options_->deflate.enabled) topics_.deflate = options_->deflate;
}

template <class F>
void service::call(connection& c, const F& handler) {
  try {
    handler();
  } catch (const std::exception& e) {
    log(log_level::error, std::string("a WebSocket handler threw: ") + e.what());
    begin_close(c, close_code::internal_error, {});
  } catch (...) {
    log(log_level::error, "a WebSocket handler threw something that is no std::exception");
    begin_close(c, close_code::internal_error, {});
  }
}

// ---- opening

void service::adopt(stream& s, chain&& leftover, const deflate_agreement& deflate) {
  auto* c = new connection(s);
  if (c == nullptr) {
    s.hand_to(*this, nullptr);
    return s.abort();
  }
  s.hand_to(*this, c);
  topics_.counters.opened.add(1);
  topics_.counters.connections.add(1);
  topics_.counters.session_bytes.add(sizeof(connection));
  c->heard_ms_ = home_.now_ms();
  s.clear_deadline();
  if (options_->ping_every_ms != 0)
    s.set_deadline(phase_of(s, options_->ping_every_ms));
  else if (options_->idle_timeout_ms != 0)
    s.set_deadline(options_->idle_timeout_ms);
  if (deflate.agreed) c->set(connection::flag_deflate);
  if (deflate.agreed && !deflate.is_plain()) {
    if (!begin_activity(*c, decoder{limits_})) return s.abort();
    c->activity_->deflate = deflate;
    c->activity_->frames = make_decoder(*c);
  }
  if (options_->open) call(*c, [&] { options_->open(*c); });
  if (!leftover.empty()) received(s, std::move(leftover));
}

// ---- receiving

void service::received(stream& s, chain&& bytes) {
  connection& c = connection_of(s);
  c.heard_ms_ = home_.now_ms();
  if (c.activity_ != nullptr) {
    c.activity_->rest.append(std::move(bytes));
    return read_on(c);
  }
  decoder frames = make_decoder(c);
  decode(c, frames, bytes);
  if (c.has(connection::flag_finished) || (frames.idle() && bytes.empty())) return;
  if (!begin_activity(c, std::move(frames))) return fail(c, close_code::internal_error, "out of memory");
  c.activity_->rest = std::move(bytes);
  after_decoding(c);
}

bool service::begin_activity(connection& c, decoder&& frames) {
  c.activity_ = new activity(std::move(frames));
  if (c.activity_ == nullptr) return false;
  topics_.counters.session_bytes.add(sizeof(activity));
  return true;
}

void service::end_activity(connection& c) {
  if (c.activity_ == nullptr) return;
  delete std::exchange(c.activity_, nullptr);
  topics_.counters.session_bytes.sub(sizeof(activity));
}

decoder service::make_decoder(const connection& c) {
  decoder made{limits_};
  if (c.has(connection::flag_deflate)) made.use_deflate(topics_.shelf, agreement_of(c).client_context_takeover);
  return made;
}

// Goes on with what is kept of this connection's input.
void service::read_on(connection& c) {
  decode(c, c.activity_->frames, c.activity_->rest);
  after_decoding(c);
}

// What is kept from here on outlives the turn, so it should not pin more than it uses.
void service::after_decoding(connection& c) {
  activity& a = *c.activity_;
  if (c.has(connection::flag_finished) || (a.frames.idle() && a.rest.empty() && !a.deflate.agreed)) {
    return end_activity(c);
  }
  if (a.deflate.client_context_takeover) park_later(c);
  if (!c.has(connection::flag_held)) a.rest.compact();
}

void service::decode(connection& c, decoder& frames, chain& in) {
  chain pong_payload;
  bool pong_due = false;
  while (!c.has(connection::flag_finished | connection::flag_held)) {
    event e = frames.next(in);
    if (e.what == event::kind::ping) {
      if (!c.is_open()) continue;
      if (!may_ping(c)) return fail(c, close_code::policy_violation, "too many pings");
      pong_payload = std::move(e.bytes);
      pong_due = true;
      continue;
    }
    // The pong goes out before whatever else the peer's next frame causes; of several pings in a row, the
    // last is answered (RFC 6455 §5.5.3).
    if (pong_due && c.is_open()) {
      c.stream_->send(encode(opcode::pong, std::move(pong_payload)));
      hold_if_behind(c);
    }
    pong_due = false;
    if (e.what == event::kind::need_more) return;
    on_event(c, std::move(e));
  }
}

void service::on_event(connection& c, event&& e) {
  switch (e.what) {
    case event::kind::message:
      if (!c.is_open()) return;
      topics_.counters.messages_in.add(1);
      if (options_->message) call(c, [&] { options_->message(c, ws::message{std::move(e.bytes), e.text}); });
      return hold_if_behind(c);
    case event::kind::close:
      return on_close(c, e);
    case event::kind::failure:
      return fail(c, e.code, e.reason);
    default:
      return;
  }
}

bool service::may_ping(connection& c) {
  const auto second = static_cast<std::uint16_t>(home_.now_ms() >> 10);
  if (second != c.ping_second_) {
    c.ping_second_ = second;
    c.pings_ = 0;
  }
  if (c.pings_ >= options_->max_pings_per_second) return false;
  ++c.pings_;
  return true;
}

// A peer that does not take what it asked for is not listened to until it has.
void service::hold_if_behind(connection& c) {
  if (!c.is_open() || c.unsent() <= home_.owner().options().high_watermark) return;
  c.set(connection::flag_held);
  c.stream_->pause();
}

void service::writable(stream& s) {
  connection& c = connection_of(s);
  if (options_->writable && c.is_open()) call(c, [&] { options_->writable(c); });
  if (!c.has(connection::flag_held)) return;
  c.clear(connection::flag_held);
  if (c.activity_ != nullptr) read_on(c);
  if (!c.has(connection::flag_held)) s.resume();
}

// ---- sending

send_result service::send_frame(connection& c, chain&& frame) {
  if (!c.is_open()) return send_result::gone;
  if (frame.empty()) return send_result::over_limit;
  const send_result result = c.stream_->send(std::move(frame));
  if (result <= send_result::queued) topics_.counters.messages_out.add(1);
  return result;
}

send_result service::send(connection& c, message&& m) {
  chain frame;
  if (compresses(c, m.size())) frame = compressed_frame(c, m);
  if (frame.empty()) frame = encode(m.is_text() ? opcode::text : opcode::binary, std::move(m.payload()));
  const send_result result = send_frame(c, std::move(frame));
  if (result > send_result::queued) drop_compressor(c);  // the peer's context lacks what it has
  return result;
}

bool service::deliver(connection& c, publication& p) {
  if (!c.is_open()) return false;
  chain* frame = &p.plain();
  if (compresses(c, p.payload_bytes())) {
    chain* small = p.deflated(agreement_of(c).server_window_bits, options_->deflate.level, topics_.shelf);
    if (small != nullptr) {
      frame = small;
      drop_compressor(c);  // the peer's context gets what it lacks
    }
  }
  if (c.would_exceed(frame->bytes())) {
    topics_.counters.dropped.add(1);
    if (options_->when_slow == slow_policy::close) {
      topics_.counters.slow_closed.add(1);
      begin_close(c, close_code::policy_violation, "too slow");
    }
    return false;
  }
  std::optional<chain> twin = frame->share();
  if (twin && c.stream_->send(std::move(*twin)) <= send_result::queued) return true;
  topics_.counters.dropped.add(1);
  return false;
}

// ---- compressing

bool service::compresses(const connection& c, std::uint64_t bytes) const {
  return c.has(connection::flag_deflate) && bytes >= options_->deflate.bytes_min;
}

deflate_agreement service::agreement_of(const connection& c) const {
  if (c.activity_ != nullptr && c.activity_->deflate.agreed) return c.activity_->deflate;
  deflate_agreement plain;
  plain.agreed = true;
  return plain;
}

// Empty when that would be no smaller, or memory ran out: then it goes as it is. With context take-over the
// compressor stays with the connection while it is busy.
chain service::compressed_frame(connection& c, const message& m) {
  const deflate_agreement agreed = agreement_of(c);
  std::unique_ptr<deflater> passing;
  std::unique_ptr<deflater>& d = agreed.server_context_takeover ? c.activity_->compressor : passing;
  if (!d) d = topics_.shelf.take_deflater(agreed.server_window_bits, options_->deflate.level);
  chain small = d->compress(m.payload());
  const bool smaller = !small.empty() && small.bytes() < m.size();
  if (!agreed.server_context_takeover || !smaller) topics_.shelf.give(std::move(d));
  if (smaller && agreed.server_context_takeover) park_later(c);
  return smaller ? encode(m.is_text() ? opcode::text : opcode::binary, std::move(small), true) : chain{};
}

// A sender may begin its context anew at any message.
void service::drop_compressor(connection& c) {
  if (c.activity_ != nullptr && c.activity_->compressor) topics_.shelf.give(std::move(c.activity_->compressor));
}

// Contexts are let go of when a connection is quiet: its deadline looks after that.
void service::park_later(connection& c) {
  if (c.has(connection::flag_parking)) return;
  c.set(connection::flag_parking);
  if (options_->ping_every_ms == 0 && options_->idle_timeout_ms == 0) c.stream_->set_deadline(park_after_ms);
}

void service::park(connection& c) {
  c.clear(connection::flag_parking);
  drop_compressor(c);
  if (c.activity_ != nullptr) c.activity_->frames.park();
}

// ---- closing

void service::begin_close(connection& c, close_code code, std::string_view reason) {
  if (!c.is_open()) return;
  if (!may_be_sent(code) && code != close_code::no_status) code = close_code::internal_error;
  c.stream_->send(encode_close(code, reason));
  c.set(connection::flag_close_sent);
  topics_.leave(c);
  c.stream_->set_deadline(options_->close_timeout_ms);
  if (!c.has(connection::flag_held)) return;
  c.clear(connection::flag_held);  // to see the peer's answer
  c.stream_->resume();
}

void service::on_close(connection& c, const event& e) {
  if (c.is_open()) c.stream_->send(encode_close(e.code));
  end(c, e.code, e.bytes.to_string());
}

void service::fail(connection& c, close_code code, std::string_view reason) {
  topics_.counters.failed.add(1);
  if (c.is_open()) c.stream_->send(encode_close(code, reason));
  end(c, code, reason);
}

// Our last frame is out: the handler is told, and the connection ends, by force when the peer takes nothing
// more.
void service::end(connection& c, close_code code, std::string_view reason) {
  finish(c, code, reason);
  c.stream_->set_deadline(options_->close_timeout_ms);
  c.stream_->close();
}

void service::finish(connection& c, close_code code, std::string_view reason) {
  if (c.has(connection::flag_finished)) return;
  c.set(connection::flag_finished | connection::flag_close_sent);
  topics_.leave(c);
  topics_.counters.connections.sub(1);
  if (options_->close) call(c, [&] { options_->close(c, code, reason); });
}

void service::ended(stream& s) { end(connection_of(s), close_code::abnormal, {}); }

void service::drain(stream& s) {
  begin_close(connection_of(s), close_code::going_away, "the server is shutting down");
}

void service::closed(stream& s) {
  if (s.session() == nullptr) return;  // there was no memory for a connection
  connection& c = connection_of(s);
  finish(c, close_code::abnormal, {});
  end_activity(c);
  topics_.counters.session_bytes.sub(sizeof(connection));
  delete &c;
}

// ---- time

void service::expired(stream& s) {
  connection& c = connection_of(s);
  if (!c.is_open()) return end(c, close_code::abnormal, {});  // no answer to our Close
  const std::uint32_t quiet_ms = c.has(connection::flag_held) ? 0 : home_.now_ms() - c.heard_ms_;
  const ws::options& o = *options_;
  if (o.idle_timeout_ms != 0 && quiet_ms >= o.idle_timeout_ms)
    return begin_close(c, close_code::going_away, "idle for too long");
  if (c.has(connection::flag_parking) && quiet_ms >= park_after_ms) park(c);
  std::uint32_t next_ms = ~std::uint32_t{0};
  if (o.ping_every_ms != 0) {
    if (quiet_ms >= o.ping_every_ms / 2) s.send(encode(opcode::ping, std::string_view{}));
    next_ms = o.ping_every_ms;
  }
  if (o.idle_timeout_ms != 0) next_ms = std::min(next_ms, o.idle_timeout_ms - quiet_ms);
  if (c.has(connection::flag_parking)) next_ms = std::min(next_ms, park_after_ms);
  if (next_ms != ~std::uint32_t{0}) s.set_deadline(next_ms);
}

}  // namespace catenet::ws
