// A connection's life: frames in, handlers called, the closing handshake, liveness.
#include "service.hpp"

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
    : home_(home), options_(std::move(o)), limits_(limits_of(*options_)), topics_(of.at(home)) {}

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

void service::adopt(stream& s, chain&& leftover) {
  auto* c = new connection(s);
  if (c == nullptr) {
    s.hand_to(*this, nullptr);
    return s.abort();
  }
  s.hand_to(*this, c);
  topics_.counters.opened.add(1);
  topics_.counters.connections.add(1);
  c->heard_ms_ = home_.now_ms();
  s.clear_deadline();
  if (options_->ping_every_ms != 0)
    s.set_deadline(phase_of(s, options_->ping_every_ms));
  else if (options_->idle_timeout_ms != 0)
    s.set_deadline(options_->idle_timeout_ms);
  if (options_->open) call(*c, [&] { options_->open(*c); });
  if (!leftover.empty()) received(s, std::move(leftover));
}

// ---- receiving

void service::received(stream& s, chain&& bytes) {
  connection& c = connection_of(s);
  c.heard_ms_ = home_.now_ms();
  if (c.reading_ != nullptr) {
    c.reading_->rest.append(std::move(bytes));
    return read_on(c);
  }
  decoder frames{limits_};
  decode(c, frames, bytes);
  if (c.has(connection::flag_finished) || (frames.idle() && bytes.empty())) return;
  c.reading_ = new reading(std::move(frames));
  if (c.reading_ == nullptr) return fail(c, close_code::internal_error, "out of memory");
  c.reading_->rest = std::move(bytes);
  after_decoding(c);
}

// Goes on with what is kept of this connection's input.
void service::read_on(connection& c) {
  decode(c, c.reading_->frames, c.reading_->rest);
  after_decoding(c);
}

// What is kept from here on outlives the turn, so it should not pin more than it uses.
void service::after_decoding(connection& c) {
  reading& r = *c.reading_;
  if (c.has(connection::flag_finished) || (r.frames.idle() && r.rest.empty())) {
    delete std::exchange(c.reading_, nullptr);
    return;
  }
  if (!c.has(connection::flag_held)) r.rest.compact();
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
  if (c.reading_ != nullptr) read_on(c);
  if (!c.has(connection::flag_held)) s.resume();
}

// ---- sending

send_result service::send(connection& c, chain&& frame) {
  if (!c.is_open()) return send_result::gone;
  if (frame.empty()) return send_result::over_limit;
  const send_result result = c.stream_->send(std::move(frame));
  if (result <= send_result::queued) topics_.counters.messages_out.add(1);
  return result;
}

bool service::deliver(connection& c, chain& frame) {
  if (!c.is_open()) return false;
  if (c.would_exceed(frame.bytes())) {
    topics_.counters.dropped.add(1);
    if (options_->when_slow == slow_policy::close) {
      topics_.counters.slow_closed.add(1);
      begin_close(c, close_code::policy_violation, "too slow");
    }
    return false;
  }
  std::optional<chain> twin = frame.share();
  if (twin && c.stream_->send(std::move(*twin)) <= send_result::queued) return true;
  topics_.counters.dropped.add(1);
  return false;
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
  delete c.reading_;
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
  std::uint32_t next_ms = ~std::uint32_t{0};
  if (o.ping_every_ms != 0) {
    if (quiet_ms >= o.ping_every_ms / 2) s.send(encode(opcode::ping, std::string_view{}));
    next_ms = o.ping_every_ms;
  }
  if (o.idle_timeout_ms != 0) next_ms = std::min(next_ms, o.idle_timeout_ms - quiet_ms);
  s.set_deadline(next_ms);
}

}  // namespace catenet::ws
