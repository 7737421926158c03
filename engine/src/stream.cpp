// The life of a stream: its traffic, its turn, its timer, its start and end. Sending is in
// stream_sending.cpp, receiving in stream_receiving.cpp.
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/stream.hpp>

#include "core_state.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace catenet {

static_assert(sizeof(stream) <= 80, "an idle connection is judged by its bytes");

namespace {

// Most peers end at once after our FIN. How far the kernel has come is asked, which costs a system call, only
// for one who has not within that part of linger_ms.
constexpr std::uint32_t linger_first_look = 8;
constexpr std::uint64_t unknown_mark = ~std::uint64_t{0};

bool passed(std::uint32_t now_ms, std::uint32_t due_ms) {
  return static_cast<std::int32_t>(now_ms - due_ms) >= 0;
}

}  // namespace

void protocol::ended(stream& s) { s.close(); }
void protocol::expired(stream& s) { s.abort(); }
void protocol::drain(stream& s) { s.close(); }

core& stream::home() const { return stream_table::core_of(this); }
handle stream::id() const { return {home().index(), stream_table::slot_of(this), generation_}; }

endpoint stream::peer() const { return home().state_->io->address_of(fd_, true); }
endpoint stream::local() const { return home().state_->io->address_of(fd_, false); }

stream_traffic& stream::traffic() {
  if (traffic_ != nullptr) return *traffic_;
  core_state& c = *home().state_;
  if (c.free_traffic != nullptr) {
    traffic_ = c.free_traffic;
    c.free_traffic = traffic_->next;
    traffic_->progress_mark = 0;
  } else {
    traffic_ = new stream_traffic;
  }
  return *traffic_;
}

void stream::release_traffic() {
  if (traffic_ == nullptr) return;
  core_state& c = *home().state_;
  traffic_->queue.clear();
  traffic_->held.clear();
  traffic_->expecting = 0;
  traffic_->target.reset();
  traffic_->warm_file = -1;
  traffic_->way = nullptr;
  traffic_->pinned = -1;
  traffic_->offers_refused = traffic_->offers_to_skip = 0;
  traffic_->next = c.free_traffic;
  c.free_traffic = std::exchange(traffic_, nullptr);
}

// Nothing is unsent and nothing held back: all there is to wait for is the peer.
bool stream::at_rest() const { return traffic_ == nullptr || (unsent() == 0 && traffic_->held.empty()); }

bool stream::needs_no_traffic() const {
  return traffic_ != nullptr && at_rest() && traffic_->expecting == 0 &&
         (flags_ & (flag_lingering | flag_starved | flag_sending)) == 0;
}

void stream::mark_dirty() {
  if ((flags_ & (flag_dirty | flag_dead)) != 0) return;
  flags_ |= flag_dirty;
  home().state_->dirty.push_back(this);
}

// At the end of the turn: hands over what was held back, sends what is queued, or goes on with closing.
void stream::flush() {
  clear(flag_dirty);
  if ((flags_ & (flag_dead | flag_connecting)) != 0) return;
  if (traffic_ != nullptr && (flags_ & flag_paused) == 0 && !traffic_->held.empty()) {
    chain bytes = std::move(traffic_->held);  // the callee may pause again, or end the stream
    deliver(std::move(bytes));
    if ((flags_ & flag_dead) != 0) return;
  }
  if ((flags_ & (flag_end_held | flag_paused)) == flag_end_held) {
    clear(flag_end_held);
    end_of_input();
    if ((flags_ & flag_dead) != 0) return;
  }
  if ((flags_ & flag_offered) != 0) {
    clear(flag_offered);
    if (!tell_room()) return;
  }
  if ((flags_ & flag_sending) == 0) {
    if (traffic_ != nullptr && !traffic_->queue.empty())
      start_send();
    else if ((flags_ & (flag_closing | flag_lingering)) == flag_closing)
      return begin_linger();
  }
  if (needs_no_traffic()) release_traffic();
  arm();
}

// ---- time

// One timer serves the protocol's deadline, the lingering close, stalled sends, and parking.
void stream::arm_timer() {
  core& k = home();
  const std::uint32_t now_ms = k.now_ms();
  std::uint32_t delay_ms = timer_wheel::delay_ms_max;
  if ((flags_ & flag_deadline) != 0) delay_ms = passed(now_ms, deadline_ms_) ? 1 : deadline_ms_ - now_ms;
  if ((flags_ & (flag_receiving | flag_cancelling | flag_lingering)) == flag_receiving) {
    const std::uint32_t quiet_ms = now_ms - active_ms_;
    const std::uint32_t limit_ms = patience_ms();
    delay_ms = std::min(delay_ms, quiet_ms >= limit_ms ? 1 : limit_ms - quiet_ms);
  }
  if ((flags_ & flag_sending) != 0) delay_ms = std::min(delay_ms, stall_ms());
  if (delay_ms != timer_wheel::delay_ms_max) k.timers().start(*this, delay_ms);
}

// The timer may go off too early, which costs a look; too late is what must not be.
void stream::look_within(std::uint32_t delay_ms) {
  core& k = home();
  if (!armed() || static_cast<std::int32_t>(due_ms() - k.now_ms() - delay_ms) > 0)
    k.timers().start(*this, delay_ms);
}

void stream::set_deadline(std::uint32_t delay_ms) {
  if ((flags_ & (flag_lingering | flag_dead)) == 0) start_deadline(delay_ms);
}

void stream::start_deadline(std::uint32_t delay_ms) {
  delay_ms =
      std::min(delay_ms, timer_wheel::delay_ms_max);  // beyond half the clock's circle it would lie behind us
  deadline_ms_ = home().now_ms() + delay_ms;
  flags_ |= flag_deadline;
  look_within(delay_ms);
}

void stream::expire() {
  core& k = home();
  if ((flags_ & flag_dead) != 0) return;
  if ((flags_ & flag_deadline) != 0 && passed(k.now_ms(), deadline_ms_)) {
    clear_deadline();
    if (connecting()) return refuse(ETIMEDOUT);
    if ((flags_ & flag_lingering) != 0) {
      if (!still_taken()) return wind_down(0);
      return start_deadline(k.owner().options().linger_ms);
    }
    if ((flags_ & flag_closing) != 0)
      return give_up(ETIMEDOUT);  // it was finishing, and the peer takes nothing
    protocol_->expired(*this);
    if ((flags_ & flag_dead) != 0) return;
  }
  const bool owes = unsent() != 0 || (flags_ & flag_closing) != 0;  // bytes, or the FIN behind them
  if (owes && (flags_ & flag_sending) != 0 && stalled()) return give_up(ETIMEDOUT);
  if ((flags_ & flag_starved) != 0 && traffic_ != nullptr && !traffic_->hunger->waiting()) {
    stop_starving();
    arm();
  }
  if (needs_no_traffic()) release_traffic();
  const bool waits = (flags_ & (flag_receiving | flag_cancelling | flag_lingering)) == flag_receiving;
  if (waits && k.now_ms() - active_ms_ >= patience_ms()) {
    if (at_rest() || (flags_ & flag_large) != 0)
      stop_receive();  // its terminal completion parks, or tells what a large block has got so far
    else
      active_ms_ = k.now_ms();  // it is busy with sending
  }
  arm_timer();
}

// ---- its owner

void stream::hand_to(protocol& p, void* session) {
  protocol_ = &p;
  session_ = session;
  if ((flags_ & (flag_ended | flag_closing | flag_dead)) != flag_ended) return;
  flags_ |= flag_end_held;
  mark_dirty();
}

void stream::on_end(callback<void()> f) {
  flags_ |= flag_followed;
  home().state_->followed.insert_or_assign(this, std::move(f));
}

// ---- opening and closing

void stream::start(int fd, protocol& p) {
  fd_ = fd;
  protocol_ = &p;
  flags_ = flag_untold | flag_curious;
  active_ms_ = home().now_ms();
  arm();
  arm_timer();
  p.opened(*this);
}

void stream::close() {
  if (closing()) return;
  if (connecting() && unsent() == 0) return abort();
  flags_ |= flag_closing;
  clear(flag_paused);
  mark_dirty();
}

// What the kernel took may be long on its way to a slow peer, and to close before it is there could destroy
// it. So lingering goes on while the peer takes something, up to the time that a send may stall.
bool stream::still_taken() {
  stream_traffic& t = *traffic_;
  const std::uint64_t mark = home().state_->io->progress_mark(fd_);
  const std::uint64_t before = std::exchange(t.progress_mark, mark);
  if (before == unknown_mark) return true;  // the first look
  if (mark - before <= 1) return false;     // nothing, or our FIN, which counts as a byte
  return home().now_ms() - t.progress_ms < stall_ms();
}

void stream::begin_linger() {
  flags_ |= flag_lingering;
  home().state_->io->shut_down(fd_, false);
  if ((flags_ & flag_ended) != 0) return wind_down(0);
  stream_traffic& t = traffic();
  t.held.clear();
  t.expecting = 0;
  t.progress_mark = unknown_mark;
  t.progress_ms = home().now_ms();
  start_deadline(home().owner().options().linger_ms / linger_first_look);
  arm();
}

void stream::abort() { give_up(ECONNABORTED); }

void stream::give_up(int code) {
  if ((flags_ & flag_dead) != 0) return;
  home().state_->io->reset(fd_);
  wind_down(code);
}

// Nothing is asked any more when a dead stream was last heard of, nor for its deadline.
void stream::note_end(int code) {
  if (code == EPIPE) code = ECONNRESET;  // a send that comes after the call which was told of the reset
  const std::uint64_t end = unsent() | static_cast<std::uint64_t>(code) << end_code_shift;
  active_ms_ = static_cast<std::uint32_t>(end);
  deadline_ms_ = static_cast<std::uint32_t>(end >> 32);
  flags_ |= flag_dead;
}

stream_end stream::end() const {
  if ((flags_ & flag_dead) == 0) return {};
  const std::uint64_t end = std::uint64_t{deadline_ms_} << 32 | active_ms_;
  return {static_cast<int>(end >> end_code_shift), end & ((std::uint64_t{1} << end_code_shift) - 1)};
}

void stream::wind_down(int code) {
  if ((flags_ & flag_dead) == 0) note_end(code);
  core_state& c = *home().state_;
  stop();
  stop_starving();
  if ((flags_ & flag_untold) != 0) c.ended.push_back(this);
  if (traffic_ != nullptr) {
    traffic_->queue.clear();
    traffic_->held.clear();
    if ((flags_ & flag_sending) == 0) traffic_->flight.clear();
  }
  if (connecting()) c.io->cancel(token{operation::connect, stream_table::slot_of(this), generation_});
  if ((flags_ & (flag_receiving | flag_polling | flag_sending | flag_connecting)) != 0) {
    // A shutdown ends whatever is under way, also what a cancel would miss because it is just being worked
    // on.
    c.io->shut_down(fd_, true);
    stop_receive();
  }
  try_finish();
}

// Closes the descriptor once the kernel has nothing of ours any more.
void stream::try_finish() {
  constexpr auto busy = flag_receiving | flag_polling | flag_sending | flag_connecting | flag_closed_fd;
  if ((flags_ & busy) != 0) return;
  flags_ |= flag_closed_fd;
  release_traffic();
  home().state_->io->close(fd_, token{operation::close, stream_table::slot_of(this), generation_});
}

void stream::tell_closed() {
  if ((flags_ & flag_untold) == 0) return;
  clear(flag_untold);
  protocol_->closed(*this);
  session_ = nullptr;
  if ((flags_ & flag_followed) == 0) return;
  clear(flag_followed);
  home().state_->followed.extract(this).mapped()();
}

void stream::on_closed() {
  core_state& c = *home().state_;
  tell_closed();
  stop();
  fd_ = -1;
  flags_ = 0;
  protocol_ = nullptr;
  c.connections.sub(1);
  c.streams.give(this);
}

}  // namespace catenet
