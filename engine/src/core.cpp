// The loop of a core.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>

#include "core_state.hpp"
#include "engine_state.hpp"
#include "fault.hpp"

#include <cerrno>

namespace catenet {

namespace {

thread_local constinit core* current_core = nullptr;

constexpr std::uint32_t accept_retry_ms = 100;
constexpr std::uint32_t accept_complaint_ms = 10'000;  // one line in so long, however often accepting fails

// What says something about one connection, not about accepting.
bool passes(int code) { return code == ECANCELED || code == ECONNABORTED || code == EINTR || code == EAGAIN; }

bool has_left(const completion& c) { return c.about.what() == operation::send && c.result > 0; }

constexpr std::uint32_t memory_look_ms = 250;     // how often idle memory is looked at
constexpr std::uint32_t memory_hurry_ms = 10;     // while there is more to give than one look does
constexpr std::uint32_t memory_still_looks = 12;  // so many looks without a change, and the core sleeps on
constexpr std::size_t memory_kept_bytes = 8_MiB;  // less than this is not worth waking up for

token accept_token(std::size_t listener) {
  return {operation::accept, static_cast<std::uint32_t>(listener), 1};
}

}  // namespace

core::core(engine& of, std::uint16_t index)
    : engine_(of), index_(index), state_(std::make_unique<core_state>(*this)) {}
core::~core() = default;

core* core::current() { return current_core; }
void core::make_current(core* c) { current_core = c; }

error core::start() {
  if (error e = open_io()) return e;
  accept();
  return {};
}

// The pool, and the back end. Again after close_io(), with another.
error core::open_io() {
  core_state& s = *state_;
  current_core = this;
  // What a turn of a moderate load fills, so that no request is the one which makes them grow.
  s.completions.reserve(256);
  s.dirty.reserve(256);
  s.ended.reserve(256);
  if (s.blocks == nullptr) s.blocks = std::make_unique<pool>(engine_.slab());
  s.blocks->set_wake([](void* self) { static_cast<core*>(self)->wake_for_blocks(); }, this);
  s.io = engine_.state_->make_backend({s.io_counters, engine_.state_->wake_fds[index_], index_});
  timers_.set_now(static_cast<std::uint32_t>(s.io->clock().steady_ms));
  return s.io->start();
}

void core::close_io() { state_->io.reset(); }

void core::accept() {
  core_state& s = *state_;
  for (engine::state::listener& l : engine_.state_->listeners) {
    listening mine;
    mine.fd = std::exchange(l.descriptors[index_], -1);
    mine.speaks = l.make(*this);
    mine.accepting = true;
    s.io->accept(mine.fd, accept_token(s.listeners.size()));
    s.listeners.push_back(std::move(mine));
  }
}

void core::run() {
  while (!finished()) turn();
}

bool core::finished() const {
  const core_state& s = *state_;
  if (!s.draining || s.streams.live() != 0 || s.watches.live() != 0) return false;
  for (const listening& l : s.listeners)
    if (l.fd >= 0) return false;
  return true;
}

// One iteration: one wait in the kernel, then what it told, letters, timers, and at last what all that left
// to do.
void core::turn() {
  const std::int64_t timeout_ms = before_wait();
  state_->io->wait(state_->completions, timeout_ms);
  after_wait();
}

// How long to wait; from here on, who posts a letter has to wake us.
std::int64_t core::before_wait() {
  core_state& s = *state_;
  receive_large();
  std::int64_t timeout_ms = timers_.until_next();
  // Who posts after this store wakes us; who posted before it is seen by the look into the box.
  s.sleeping.store(true, std::memory_order_seq_cst);
  if (s.watches.unfinished() || s.blocks_owed || !s.large.empty()) timeout_ms = 0;
  const bool told_to_stop = engine_.state_->stops.load() != 0 && !s.draining;
  return !s.mail.empty() || told_to_stop ? 0 : timeout_ms;
}

// For the streams whose turn it is.
void core::receive_large() {
  core_state& s = *state_;
  if (s.large.empty()) return;
  s.large.serve([&](handle h) {
    stream* const one = s.streams.at(h.slot, h.generation);
    return one == nullptr ? 0 : one->arm_large();
  });
}

void core::after_wait() {
  core_state& s = *state_;
  s.sleeping.store(false, std::memory_order_relaxed);
  s.large.begin_turn();
  const clock_reading now = s.io->clock();
  unix_seconds_ = now.unix_seconds;
  timers_.advance(static_cast<std::uint32_t>(now.steady_ms));
  // What has left is told first, so that none of the others finds a stream fuller than it is.
  for (const completion& c : s.completions)
    if (has_left(c)) dispatch(c);
  for (const completion& c : s.completions)
    if (!has_left(c)) dispatch(c);
  s.completions.clear();
  s.mail.run();
  s.watches.serve_again();
  end_of_turn();
  look_after_memory(now.steady_ms);
  s.turns.add(1);
}

void core::dispatch(const completion& c) {
  const operation what = c.about.what();
  if (what == operation::wake) return;
  if (what == operation::accept) return accepted(c);
  if (what == operation::cancel && c.about.generation() == 0) {
    if (state_->listeners[c.about.slot()].accepting) state_->io->cancel(accept_token(c.about.slot()));
    return;
  }
  if (what == operation::watch) return state_->watches.serve();
  if (what == operation::released) return state_->zero_copy.released(c.about.slot(), c.result, now_ms());
  stream* s = state_->streams.at(c.about.slot(), c.about.generation());
  if (what == operation::cancel) {
    if (s != nullptr) s->on_cancel_missed();
    return;
  }
  if (s == nullptr) {  // cannot be: a slot is free only once every operation on it has ended
    log(log_level::error, "a completion names a stream that is gone");
    lease{c.data}.reset();
    return;
  }
  switch (what) {
    case operation::receive:
    case operation::receive_large:
    case operation::receive_wide:
      return s->on_receive(c);
    case operation::send:
      if (faulty(fault::double_completion)) s->on_send(c.result);
      return s->on_send(c.result);
    case operation::poll:
      return s->on_poll(c.result);
    case operation::writable:
      return s->on_writable(c.result);
    case operation::connect:
      return s->on_connect(c.result);
    case operation::warm:
      return s->on_warm(c.result);
    case operation::close:
      return s->on_closed();
    default:
      return;
  }
}

void core::accepted(const completion& c) {
  core_state& s = *state_;
  listening& l = s.listeners[c.about.slot()];
  l.accepting = c.more;
  if (c.result >= 0) {
    stream* made = s.draining ? nullptr : s.streams.take();
    if (made == nullptr) {
      s.io->close_now(c.result);
    } else {
      s.accepted.add(1);
      s.connections.add(1);
      made->start(c.result, *l.speaks);
    }
  } else if (!passes(-c.result) && !s.draining) {
    // Most likely no descriptors are left. To ask again at once would only fail again, at full speed.
    if (l.complained_ms == 0 || now_ms() - l.complained_ms >= accept_complaint_ms) {
      l.complained_ms = now_ms() | 1;
      log(log_level::warning,
          "accept: " + errno_text(-c.result) + "; accepting pauses and is tried again ten times a second");
    }
    l.starved = true;
    if (!s.accept_retry.armed()) timers_.start(s.accept_retry, accept_retry_ms);
    return;
  }
  if (l.accepting) return;
  if (s.draining) {
    s.io->close_now(std::exchange(l.fd, -1));
  } else {
    l.accepting = true;
    s.io->accept(l.fd, c.about);
  }
}

// After descriptors had run out.
void core::accept_again() {
  core_state& s = *state_;
  s.accept_retry.due = false;
  for (std::size_t i = 0; i != s.listeners.size(); ++i) {
    listening& l = s.listeners[i];
    if (!l.starved || l.accepting || l.fd < 0) continue;
    l.starved = false;
    l.accepting = true;
    s.io->accept(l.fd, accept_token(i));
  }
}

void core::end_of_turn() {
  core_state& s = *state_;
  if (!s.draining && engine_.state_->stops.load(std::memory_order_relaxed) != 0) begin_drain();
  if (s.draining) press_drain();
  if (s.accept_retry.due) accept_again();
  // Each of these may, through a protocol, make other streams dirty or end them: they are appended and served
  // in the same turn, as the next one may be long in coming.
  while (!s.dirty.empty() || !s.ended.empty()) {
    for (std::size_t i = 0; i != s.dirty.size(); ++i) s.dirty[i]->flush();
    s.dirty.clear();
    for (std::size_t i = 0; i != s.ended.size(); ++i) s.ended[i]->tell_closed();
    s.ended.clear();
  }
  s.blocks_owed = s.blocks->turn();  // feeds streams that wait for a block
}

// Idle blocks go back to the system in small steps (pool::decay). A core that falls asleep with much memory
// wakes for them now and then, until several steps in a row have found nothing to give.
void core::look_after_memory(std::uint64_t now_ms) {
  core_state& s = *state_;
  const std::uint32_t interval_ms = s.memory_more ? memory_hurry_ms : memory_look_ms;
  if (now_ms - s.memory_looked_ms < interval_ms) {
    // This turn may be the last for long, and may have left much behind.
    const bool much = s.io->may_trim() || engine_.slab().memory().committed() > memory_kept_bytes;
    if (much && !s.memory_look.armed() && !s.draining) timers_.start(s.memory_look, interval_ms);
    return;
  }
  s.io->trim();
  const bool was_asleep = std::exchange(s.memory_look.due, false);
  s.memory_looked_ms = now_ms;
  s.memory_more = s.blocks->decay(now_ms);
  const std::size_t committed = engine_.slab().memory().committed();
  s.memory_still = was_asleep && committed == s.memory_committed ? s.memory_still + 1 : 0;
  s.memory_committed = committed;
  if (s.draining) return;
  const bool may_shrink = committed > memory_kept_bytes && s.memory_still < memory_still_looks;
  if (s.memory_more)
    timers_.start(s.memory_look, memory_hurry_ms);
  else if (may_shrink || s.io->may_trim())
    timers_.start(s.memory_look, memory_look_ms);
}

void core::begin_drain() {
  core_state& s = *state_;
  s.draining = true;
  engine_.state_->remove_socket_files();
  s.drain_due_ms = now_ms() + engine_.options().drain_ms;
  timers_.start(s.drain_wake, engine_.options().drain_ms);
  for (std::size_t i = 0; i != s.listeners.size(); ++i) {
    listening& l = s.listeners[i];
    if (!l.accepting)
      s.io->close_now(std::exchange(l.fd, -1));
    else if (!faulty(fault::forgotten_cancel))
      s.io->cancel(accept_token(i));
  }
  s.streams.for_each([](stream& one) {
    if (!one.closing()) one.owner_protocol()->drain(one);
  });
  s.watches.drain();
}

// Past the drain's deadline, or told to stop a second time: what is still open is reset.
void core::press_drain() {
  core_state& s = *state_;
  const bool due = static_cast<std::int32_t>(now_ms() - s.drain_due_ms) >= 0;
  if (!due && engine_.state_->stops.load(std::memory_order_relaxed) < 2) return;
  s.streams.for_each([](stream& one) { one.abort(); });
  s.watches.abandon();
}

// On the core's thread, once nothing is left to do.
void core::finish() {
  state_->mail.close();
  // Hands in the wake-ups of other cores that the last turn asked for.
  if (!engine_.state_->failed) state_->io->wait(state_->completions, 0);
  engine_.state_->all_idle.arrive_and_wait();  // until then others may wake us through our back end
  release();
}

// Gives everything back, the pool last.
void core::release() {
  core_state& s = *state_;
  engine_.state_->remove_socket_files();
  for (listening& l : s.listeners)
    if (l.fd >= 0) s.io->close_now(l.fd);
  s.listeners.clear();
  s.io.reset();
  s.zero_copy.abandon();
  while (s.free_traffic != nullptr) delete std::exchange(s.free_traffic, s.free_traffic->next);
  s.blocks.reset();
  current_core = nullptr;
}

bool core::post(callback<void()> run) {
  core_state& s = *state_;
  if (!s.mail.push(std::move(run))) return false;
  if (faulty(fault::lost_wakeup)) return true;
  // Only the first poster after it went to sleep has to wake it.
  if (!s.sleeping.load(std::memory_order_seq_cst) || !s.sleeping.exchange(false)) return true;
  const int wake_fd = engine_.state_->wake_fds[index_];
  if (core* mine = current_core; mine != nullptr && &mine->engine_ == &engine_)
    mine->state_->io->wake_peer(*s.io, wake_fd);
  else
    engine_.state_->wake(index_);
  return true;
}

// Another core has put blocks aside for who waits here.
void core::wake_for_blocks() { engine_.state_->wake(index_); }

stream* core::find(handle h) {
  if (h.core != index_ || !h) return nullptr;
  stream* s = state_->streams.at(h.slot, h.generation);
  return s == nullptr || s->closing() ? nullptr : s;
}

void core::for_each(const callback<void(stream&)>& f) {
  state_->streams.for_each([&](stream& s) {
    if (!s.closing()) f(s);
  });
}

watch_set& core::watches() { return state_->watches; }

void core::count_sent(tier how, std::uint64_t bytes) {
  state_->bytes_out.add(bytes);
  state_->tiers.add(how, bytes);
}

bool core::draining() const { return state_->draining; }

core_statistics core::statistics() const {
  const core_state& s = *state_;
  core_statistics all;
  all.connections = s.connections.get();
  all.accepted = s.accepted.get();
  all.bytes_in = s.bytes_in.get();
  all.bytes_out = s.bytes_out.get();
  all.turns = s.turns.get();
  all.sends = s.sends.get();
  all.parked = s.parked.get();
  all.enters = s.io_counters.enters.get();
  all.submissions = s.io_counters.submissions.get();
  all.completions = s.io_counters.completions.get();
  all.out_of_blocks = s.io_counters.out_of_blocks.get();
  all.tiers = s.tiers.totals();
  all.cold_reads = s.cold_reads.get();
  all.zero_copy = s.zero_copy.statistics();
  all.zero_copy.registered = s.io_counters.registered_sends.get();
  return all;
}

}  // namespace catenet
