// What a service sends, and what it does when a peer is slow. See service.hpp.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/ws/encoder.hpp>

#include "ws/service.hpp"

#include <new>
#include <optional>
#include <utility>

namespace catenet::ws {

// ---- one frame to one connection

chain service::framed(opcode op, chain&& payload, bool compressed) const {
  return self_ == role::server ? encode(op, std::move(payload), compressed)
                               : encode_masked(op, std::move(payload), true, compressed);
}

chain service::close_frame(close_code code, std::string_view reason) const {
  return framed(opcode::close, close_payload(code, reason));
}

// Whether the stream may have it at once; otherwise it waits in front, where it can still be dropped.
bool service::stream_has_room(const connection& c, std::uint64_t bytes) const {
  if (c.activity_ != nullptr && c.activity_->waiting) return false;
  const std::uint64_t unsent = c.stream_->unsent();
  return unsent == 0 || unsent + bytes <= stream_bytes_max_;
}

send_result service::pass_on(connection& c, chain&& frame) {
  if (stream_has_room(c, frame.bytes())) return c.stream_->send(std::move(frame));
  if (c.stream_->closing()) return send_result::gone;
  outbox* waiting = outbox_of(c);
  if (waiting == nullptr) return send_result::over_limit;
  waiting->add(std::move(frame));
  return send_result::queued;
}

send_result service::send_frame(connection& c, chain&& frame) {
  if (!c.is_open()) return send_result::gone;
  if (frame.empty()) return send_result::over_limit;
  const send_result result = pass_on(c, std::move(frame));
  if (result <= send_result::queued) topics_.counters.messages_out.add(1);
  return result;
}

send_result service::send(connection& c, message&& m) {
  chain frame;
  if (compresses(c, m.size())) frame = compressed_frame(c, m);
  if (frame.empty() && self_ == role::client) {
    frame = framed(m.is_text() ? opcode::text : opcode::binary, m.take_payload());
    if (frame.empty()) return send_result::over_limit;
  }
  // A message that has to wait may not be worth the block it came in.
  const bool waits = c.unsent() != 0;
  if (frame.empty()) frame = std::move(m).into_frame(waits ? copy_bytes_max : 0);
  if (waits) frame.compact();
  const send_result result = send_frame(c, std::move(frame));
  if (result > send_result::queued) drop_compressor(c);  // the peer's context lacks what it has
  return result;
}

// Past what waits, as ping and pong may.
send_result service::send_control(connection& c, opcode op, chain&& payload) {
  chain frame = framed(op, std::move(payload));
  return frame.empty() ? send_result::over_limit : c.stream_->send(std::move(frame));
}

// ---- published messages

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
  std::optional<chain> twin = frame->share();
  if (!twin) {
    miss(c);
    return false;
  }
  if (stream_has_room(c, twin->bytes())) return c.stream_->send(std::move(*twin)) <= send_result::queued;
  return queue_published(c, std::move(*twin), p);
}

// Whether so many bytes would find room if what may be dropped were.
bool service::fits_without(const connection& c, std::uint64_t droppable, std::uint64_t bytes) const {
  const std::uint64_t rest = c.unsent() - droppable;
  return rest == 0 || rest + bytes <= options_->max_queued;
}

bool service::queue_published(connection& c, chain&& frame, const publication& p) {
  const bool conflate = options_->when_slow == slow_policy::conflate;
  const auto what_waits = [&] { return c.activity_ == nullptr ? nullptr : c.activity_->waiting.get(); };
  // Nobody is slow before the kernel was asked.
  const bool at_a_loss = (conflate && what_waits() != nullptr) || c.would_exceed(frame.bytes());
  if (at_a_loss && offer(c)) return c.stream_->send(std::move(frame)) <= send_result::queued;
  outbox* waiting = what_waits();
  if (conflate && waiting != nullptr && waiting->replace(frame, p.topic())) {
    miss(c);
    while (c.unsent() > options_->max_queued && waiting->drop_oldest()) miss(c);
    return true;
  }
  const bool may_drop = options_->when_slow == slow_policy::drop_oldest || conflate;
  if (may_drop && waiting != nullptr && fits_without(c, waiting->published_bytes(), frame.bytes()))
    while (c.would_exceed(frame.bytes()) && waiting->drop_oldest()) miss(c);
  if (c.would_exceed(frame.bytes())) {
    if (options_->when_slow != slow_policy::close) {
      miss(c);
      return false;
    }
    topics_.counters.slow_closed.add(1);
    drop_waiting(c);
    begin_close(c, close_code::policy_violation, "too slow");
    return false;
  }
  waiting = outbox_of(c);
  if (waiting == nullptr) {
    miss(c);
    return false;
  }
  waiting->add_published(std::move(frame), p.topic(), conflate);
  return true;
}

// A message is lost on this subscriber. It is told later, from the loop: who publishes is not to be
// disturbed.
void service::miss(connection& c) {
  topics_.counters.dropped.add(1);
  if (!options_->missed) return;
  activity* a = activity_of(c);
  if (a == nullptr || a->missed++ != 0) return;
  missed_.push_back(c.stream_->id());
  if (missed_.size() == 1) home_.post([this] { tell_missed(); });
}

void service::tell_missed() {
  for (const handle h : std::exchange(missed_, {})) {
    stream* s = home_.find(h);
    if (s == nullptr) continue;
    connection& c = *static_cast<connection*>(s->session());
    if (c.activity_ == nullptr) continue;
    const std::uint64_t count = std::exchange(c.activity_->missed, 0);
    if (c.is_open()) call_missed(c, count);
    end_activity_if_over(c);
  }
}

// ---- what waits

outbox* service::outbox_of(connection& c) {
  activity* a = activity_of(c);
  if (a == nullptr) return nullptr;
  if (!a->waiting) {
    a->waiting.reset(new (std::nothrow) outbox);
    c.stream_->want_writable();
  }
  return a->waiting.get();
}

// As much of what waits follows as the stream takes. True when nothing is left.
bool service::move_on(connection& c) {
  if (c.activity_ == nullptr || !c.activity_->waiting) return true;
  outbox& waiting = *c.activity_->waiting;
  while (!waiting.empty()) {
    const std::uint64_t unsent = c.stream_->unsent();
    if (unsent != 0 && unsent + waiting.next_bytes() > stream_bytes_max_) return false;
    if (c.stream_->send(waiting.take_next()) > send_result::queued) break;
  }
  c.activity_->waiting.reset();
  return true;
}

// The stream has room again.
void service::flush(connection& c) {
  if (!move_on(c)) return c.stream_->want_writable();
  end_activity_if_over(c);
}

// Past the end of the turn: to the kernel, what it takes now. True when nothing waits any more. The activity
// stays until writable(), as it may be just at work.
bool service::offer(connection& c) {
  while (c.stream_->offer()) {
    if (move_on(c) && c.stream_->unsent() == 0) return true;
  }
  return false;
}

bool service::has_room(connection& c, std::uint64_t bytes) {
  if (!c.would_exceed(bytes)) return true;
  offer(c);
  return !c.would_exceed(bytes);
}

void service::drop_waiting(connection& c) {
  if (c.activity_ != nullptr) c.activity_->waiting.reset();
}

// ---- compressing

decoder service::make_decoder(const connection& c) {
  decoder made{limits_, self_};
  if (c.has(connection::flag_deflate)) made.use_deflate(topics_.shelf, theirs_takes_over(agreement_of(c)));
  return made;
}

// Whether what the peer sends goes on with its context.
bool service::theirs_takes_over(const deflate_agreement& a) const {
  return self_ == role::server ? a.client_context_takeover : a.server_context_takeover;
}
bool service::ours_takes_over(const deflate_agreement& a) const {
  return self_ == role::server ? a.server_context_takeover : a.client_context_takeover;
}

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
  const std::uint8_t bits = self_ == role::server ? agreed.server_window_bits : agreed.client_window_bits;
  std::unique_ptr<deflater> d = take_compressor(c);
  if (!d) d = topics_.shelf.take_deflater(bits, options_->deflate.level);
  chain small = d->compress(m.payload());
  const bool smaller = !small.empty() && small.bytes() < m.size();
  if (smaller && ours_takes_over(agreed) && has_room_for_context(deflater::bytes_of(bits)))
    keep_compressor(c, std::move(d));
  else
    topics_.shelf.give(std::move(d));
  return smaller ? framed(m.is_text() ? opcode::text : opcode::binary, std::move(small), true) : chain{};
}

bool service::has_room_for_context(std::uint64_t bytes) const {
  return topics_.counters.context_bytes.get() + bytes <= options_->deflate.memory_max;
}

void service::keep_compressor(connection& c, std::unique_ptr<deflater> d) {
  topics_.counters.context_bytes.add(deflater::bytes_of(d->window_bits()));
  c.activity_->compressor = std::move(d);
  park_later(c);
}

std::unique_ptr<deflater> service::take_compressor(connection& c) {
  if (c.activity_ == nullptr || !c.activity_->compressor) return nullptr;
  topics_.counters.context_bytes.sub(deflater::bytes_of(c.activity_->compressor->window_bits()));
  return std::move(c.activity_->compressor);
}

// A sender may begin its context anew at any message.
void service::drop_compressor(connection& c) {
  if (std::unique_ptr<deflater> d = take_compressor(c)) topics_.shelf.give(std::move(d));
}

// Contexts are let go of when a connection is quiet: its deadline looks after that.
void service::park_later(connection& c) {
  if (c.has(connection::flag_parking) || !c.is_open()) return;  // the deadline may be that of our Close
  c.set(connection::flag_parking);
  if (options_->ping_every_ms == 0 && options_->idle_timeout_ms == 0) c.stream_->set_deadline(park_after_ms);
}

void service::park(connection& c) {
  c.clear(connection::flag_parking);
  if (c.activity_ == nullptr) return;
  drop_compressor(c);
  c.activity_->frames.park();
  c.activity_->messages = 0;
  end_activity_if_over(c);
}

}  // namespace catenet::ws
