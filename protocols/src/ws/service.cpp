// A connection's life: frames in, handlers called, the closing handshake, liveness.
#include "ws/service.hpp"

#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/ws/encoder.hpp>
#include <catenet/ws/utf8.hpp>

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <utility>

namespace catenet::ws {

namespace {

// What lies in a stream cannot be replaced any more.
constexpr std::uint64_t conflate_stream_bytes_max = 16_KiB;
constexpr std::size_t large_frame_bytes = 128_KiB;  // of which the stream is told to expect them

connection& connection_of(const stream& s) { return *static_cast<connection*>(s.session()); }

decoder_limits limits_of(const options& o) {
  decoder_limits limits;
  limits.message_bytes_max = o.max_message;
  limits.fragments_max = o.max_fragments;
  limits.empty_fragments_max = o.max_empty_fragments;
  limits.whole_messages = !o.part;
  return limits;
}

// Spreads connections evenly over the second half of a period, so that those which came together are not
// pinged together: before it nobody has been quiet for long.
std::uint32_t first_ping_ms(const stream& s, std::uint32_t period_ms) {
  const std::uint32_t spread = s.id().slot * 2654435769u;  // 2^32 divided by the golden ratio
  const std::uint32_t half_ms = period_ms / 2;
  return period_ms - half_ms + static_cast<std::uint32_t>((std::uint64_t{spread} * half_ms) >> 32);
}

}  // namespace

service::service(core& home, std::shared_ptr<const ws::options> o, hub& of, role self)
    : home_(home),
      options_(std::move(o)),
      limits_(limits_of(*options_)),
      topics_(of.at(home)),
      stream_bytes_max_(std::min(options_->when_slow == slow_policy::conflate
                                     ? conflate_stream_bytes_max
                                     : home.owner().options().high_watermark,
                                 options_->max_queued / 4)),
      self_(self) {
  if (options_->deflate.enabled) topics_.deflate = options_->deflate;
}

void log_thrown() {
  try {
    throw;
  } catch (const std::exception& e) {
    log(log_level::error, std::string("a WebSocket handler threw: ") + e.what());
  } catch (...) {
    log(log_level::error, "a WebSocket handler threw something that is no std::exception");
  }
}

template <class F>
void service::call(connection& c, const F& handler) {
  if (muted_) return;
  try {
    handler();
  } catch (...) {
    log_thrown();
    begin_close(c, close_code::internal_error, {});
  }
}

void service::call_missed(connection& c, std::uint64_t count) {
  call(c, [&] { options_->missed(c, count); });
}

// ---- opening

void service::adopt(stream& s, chain&& leftover, const deflate_agreement& deflate,
                    const callback<void(connection&)>& first) {
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
  std::uint32_t first_ms = options_->ping_every_ms == 0 ? 0 : first_ping_ms(s, options_->ping_every_ms);
  const std::uint32_t idle_ms = options_->idle_timeout_ms;
  if (idle_ms != 0 && (first_ms == 0 || idle_ms < first_ms)) first_ms = idle_ms;
  if (first_ms != 0) s.set_deadline(first_ms);
  if (deflate.agreed) c->set(connection::flag_deflate);
  const bool narrow = self_ == role::client && deflate.client_window_bits != window_bits_max;
  if (deflate.agreed && (narrow || !deflate.is_plain())) {
    activity* a = activity_of(*c);
    if (a == nullptr) return s.abort();
    a->deflate = deflate;
    if (theirs_takes_over(deflate)) topics_.counters.context_bytes.add(inflater::bytes);
    a->frames = make_decoder(*c);
  }
  if (first) call(*c, [&] { first(*c); });
  if (options_->open && c->is_open()) call(*c, [&] { options_->open(*c); });
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
  // Mostly whole frames come, and nothing need be kept.
  decoder frames = make_decoder(c);
  decode(c, frames, bytes);
  if (c.has(connection::flag_finished) || s.closing() ||
      (frames.idle() && bytes.empty() && c.activity_ == nullptr))
    return;
  activity* a = activity_of(c);
  if (a == nullptr) return fail(c, close_code::internal_error, "out of memory");
  a->frames = std::move(frames);
  a->rest = std::move(bytes);
  after_decoding(c);
}

activity* service::activity_of(connection& c) {
  if (c.activity_ != nullptr) return c.activity_;
  c.activity_ = new activity(make_decoder(c));
  if (c.activity_ != nullptr) topics_.counters.session_bytes.add(sizeof(activity));
  return c.activity_;
}

void service::end_activity(connection& c) {
  if (c.activity_ == nullptr) return;
  drop_compressor(c);
  if (theirs_takes_over(c.activity_->deflate)) topics_.counters.context_bytes.sub(inflater::bytes);
  delete std::exchange(c.activity_, nullptr);
  topics_.counters.session_bytes.sub(sizeof(activity));
}

void service::end_activity_if_over(connection& c) {
  if (c.activity_ != nullptr && (c.has(connection::flag_finished) || c.activity_->over())) end_activity(c);
}

// Goes on with what is kept of this connection's input.
void service::read_on(connection& c) {
  decode(c, c.activity_->frames, c.activity_->rest);
  after_decoding(c);
}

// What is kept from here on outlives the turn, so it should not pin more than it uses.
void service::after_decoding(connection& c) {
  end_activity_if_over(c);
  if (c.activity_ == nullptr) return;
  activity& a = *c.activity_;
  if (theirs_takes_over(a.deflate) || a.messages != 0) park_later(c);
  if (!c.has(connection::flag_held)) a.rest.compact();
  if (a.frames.frame_left() >= large_frame_bytes) c.stream_->expect(a.frames.frame_left());
}

void service::decode(connection& c, decoder& frames, chain& in) {
  chain pong_payload;
  bool pong_due = false;
  while (!c.has(connection::flag_finished | connection::flag_held) && !c.stream_->closing()) {
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
      send_control(c, opcode::pong, std::exchange(pong_payload, {}));
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
    case event::kind::part:
      return on_message(c, std::move(e));
    case event::kind::close:
      return on_close(c, e);
    case event::kind::failure:
      return fail(c, e.code, e.reason);
    default:
      return;
  }
}

void service::on_message(connection& c, event&& e) {
  if (!c.is_open()) return;  // we have said Close
  if (e.first) {
    topics_.counters.messages_in.add(1);
    if (options_->max_messages_per_second != 0 && !may_talk(c))
      return fail(c, close_code::policy_violation, "too many messages");
  }
  if (options_->part)
    call(c, [&] { options_->part(c, {std::move(e.bytes), e.text, e.first, e.last}); });
  else if (options_->message)
    call(c, [&] { options_->message(c, ws::message{std::move(e.bytes), e.text, e.headroom}); });
  hold_if_behind(c);
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

bool service::may_talk(connection& c) {
  activity* a = activity_of(c);
  if (a == nullptr) return false;
  const std::uint32_t second = home_.now_ms() >> 10;
  if (second != std::exchange(a->second, second)) a->messages = 0;
  return ++a->messages <= options_->max_messages_per_second;
}

// A peer that does not take what it asked for is not listened to until it has.
void service::hold_if_behind(connection& c) {
  if (self_ == role::client) return;  // or both ends might wait for the other to read
  if (!c.is_open() || c.unsent() <= home_.owner().options().high_watermark) return;
  c.set(connection::flag_held);
  c.stream_->pause();
}

void service::writable(stream& s) {
  connection& c = connection_of(s);
  flush(c);
  const std::uint64_t enough = home_.owner().options().high_watermark;
  if (c.unsent() > enough) return;
  if (options_->writable && c.is_open()) call(c, [&] { options_->writable(c); });
  if (!c.has(connection::flag_held) || c.unsent() > enough) return;
  c.clear(connection::flag_held);
  if (c.activity_ != nullptr) read_on(c);
  if (!c.has(connection::flag_held)) s.resume();
}

// ---- closing

void service::begin_close(connection& c, close_code code, std::string_view reason) {
  if (!c.is_open()) return;
  if (!may_be_sent(code) && code != close_code::no_status) code = close_code::internal_error;
  if (!is_utf8(reason)) reason = {};
  send_close(c, code, reason);
  topics_.leave(c);
  c.stream_->set_deadline(options_->close_timeout_ms);
  if (!c.has(connection::flag_held)) return;
  // To see the peer's answer, which may be here already. From the loop, as we may be within decode().
  c.clear(connection::flag_held);
  c.stream_->resume();
  home_.post([this, name = c.stream_->id()] {
    stream* s = home_.find(name);
    if (s == nullptr) return;
    if (connection& closing = connection_of(*s); closing.activity_ != nullptr) read_on(closing);
  });
}

// Behind all that was sent before.
void service::send_close(connection& c, close_code code, std::string_view reason) {
  pass_on(c, close_frame(code, reason));
  c.set(connection::flag_close_sent);
}

// What waits is of no use to a peer that has said Close, or that we do not listen to any more: ours goes at
// once.
void service::answer_close(connection& c, close_code code, std::string_view reason) {
  const bool unsaid = c.is_open() || (c.activity_ != nullptr && c.activity_->waiting);
  drop_waiting(c);
  if (unsaid) c.stream_->send(close_frame(code, reason));
}

void service::on_close(connection& c, const event& e) {
  answer_close(c, e.code, {});
  end(c, e.code, e.bytes.to_string());
}

void service::fail(connection& c, close_code code, std::string_view reason) {
  topics_.counters.failed.add(1);
  answer_close(c, code, reason);
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
  drop_waiting(c);
  topics_.counters.connections.sub(1);
  if (options_->close) call(c, [&] { options_->close(c, code, reason); });
}

void service::ended(stream& s) { end(connection_of(s), close_code::abnormal, {}); }

void service::drain(stream& s) {
  const char* const reason = self_ == role::server ? "the server is shutting down" : "";
  begin_close(connection_of(s), close_code::going_away, reason);
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

// A peer that is not read from shows by what it takes that it is there. (What is published meanwhile looks
// like that, too, where the policy makes room for it.)
bool service::takes_something(connection& c) {
  activity* a = activity_of(c);
  if (a == nullptr) return false;
  const std::uint64_t unsent = c.unsent();
  return unsent != std::exchange(a->unsent_seen, unsent);
}

void service::expired(stream& s) {
  connection& c = connection_of(s);
  if (!c.is_open()) return end(c, close_code::abnormal, {});  // no answer to our Close
  if (c.has(connection::flag_held) && takes_something(c)) c.heard_ms_ = home_.now_ms();
  const std::uint32_t quiet_ms = home_.now_ms() - c.heard_ms_;
  const ws::options& o = *options_;
  if (o.idle_timeout_ms != 0 && quiet_ms >= o.idle_timeout_ms)
    return begin_close(c, close_code::going_away, "idle for too long");
  if (c.has(connection::flag_parking) && quiet_ms >= park_after_ms) park(c);
  std::uint32_t next_ms = ~std::uint32_t{0};
  if (o.ping_every_ms != 0) {
    // Halves of the period, so that who has just talked keeps its phase and is asked within a period, too.
    const bool due = quiet_ms >= o.ping_every_ms / 2;
    if (due) send_control(c, opcode::ping, {});
    next_ms = due ? o.ping_every_ms : o.ping_every_ms / 2;
  }
  if (o.idle_timeout_ms != 0) next_ms = std::min(next_ms, o.idle_timeout_ms - quiet_ms);
  if (c.has(connection::flag_parking)) next_ms = std::min(next_ms, park_after_ms - quiet_ms);
  if (next_ms != ~std::uint32_t{0}) s.set_deadline(next_ms);
}

}  // namespace catenet::ws
