// What happens to a stream: receiving, sending, parking, closing.
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/engine/page_reference.hpp>
#include <catenet/engine/stream.hpp>

#include "core_state.hpp"
#include "fault.hpp"
#include "page_region.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>

namespace catenet {

static_assert(sizeof(stream) <= 80, "an idle connection is judged by its bytes");

namespace {

// Most segments in one send: UIO_MAXIOV.
constexpr std::size_t segments_per_send_max = 1024;
// A body with less than this to come is received into small blocks: changing over costs a cancel.
constexpr std::uint64_t large_receive_bytes_min = 128_KiB;
// A large block that is not full by then is told as it is. So long a hint that lies may hold one, too.
constexpr std::uint32_t large_receive_ms = 50;
constexpr std::size_t receive_block_bytes = 4_KiB;    // the back ends' small block
constexpr std::uint64_t large_block_bytes = 256_KiB;  // and their large one
// Who sends so much at a time is received into wide blocks (64 KiB): a quarter of one is used then.
constexpr std::size_t bulk_bytes_min = 16_KiB;
constexpr std::uint64_t wide_bytes_likely = 32_KiB;  // what such a receive brings, for dividing a turn
// When no memory is left even for the note of who waits for one.
constexpr std::uint32_t starved_retry_ms = 10;
constexpr std::uint64_t unix_send_bytes_max = 256_KiB;
// Memory before a file region or page body: so much is sent at once and inline, as the region is.
constexpr std::uint64_t inline_head_bytes_max = 16_KiB;

bool passed(std::uint32_t now_ms, std::uint32_t due_ms) {
  return static_cast<std::int32_t>(now_ms - due_ms) >= 0;
}

// What one send takes: memory at the front, up to the first segment that goes by reference.
struct sendable {
  std::uint64_t bytes = 0;
  bool region_follows = false;
};
sendable front_of(const chain& c, std::uint64_t reference_bytes_min) {
  sendable front;
  std::size_t count = 0;
  for (const segment* s = c.head(); s != nullptr && count != segments_per_send_max; s = s->next, ++count) {
    front.region_follows = goes_by_reference(*s, reference_bytes_min);
    if (front.region_follows) break;
    front.bytes += s->length;
  }
  return front;
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
  traffic_->next = c.free_traffic;
  c.free_traffic = std::exchange(traffic_, nullptr);
}

// Nothing is unsent and nothing held back: all there is to wait for is the peer.
bool stream::at_rest() const { return traffic_ == nullptr || (unsent() == 0 && traffic_->held.empty()); }

bool stream::needs_no_traffic() const {
  return traffic_ != nullptr && at_rest() && traffic_->expecting == 0 &&
         (flags_ & (flag_lingering | flag_starved)) == 0;
}

void stream::mark_dirty() {
  if ((flags_ & (flag_dirty | flag_dead)) != 0) return;
  flags_ |= flag_dirty;
  home().state_->dirty.push_back(this);
}

// ---- sending

std::uint64_t stream::unsent() const {
  return traffic_ == nullptr ? 0 : traffic_->queue.bytes() + traffic_->flight.bytes();
}

send_result stream::send(chain&& bytes) {
  if (closing()) return send_result::gone;
  if (bytes.empty()) return send_result::sent;
  const engine_options& options = home().owner().options();
  const std::uint64_t waiting = unsent();
  if (waiting != 0 && waiting + bytes.bytes() > options.send_limit) return send_result::over_limit;
  traffic().queue.append(std::move(bytes));
  mark_dirty();
  if (unsent() <= options.high_watermark) return send_result::sent;
  flags_ |= flag_above;
  return send_result::queued;
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
  if ((flags_ & flag_sending) == 0) {
    if (traffic_ != nullptr && !traffic_->queue.empty())
      start_send();
    else if ((flags_ & (flag_closing | flag_lingering)) == flag_closing)
      return begin_linger();
  }
  if (needs_no_traffic()) release_traffic();
  arm();
}

// A send tells of its end only, and a UNIX socket not how much its peer has taken: so that a slow peer is
// told from one that has stalled, it gets its bytes in pieces about as long as a socket holds.
std::uint64_t stream::at_once(std::uint64_t bytes) const {
  if (bytes <= unix_send_bytes_max || !peer().is_unix()) return bytes;
  return unix_send_bytes_max;
}

void stream::start_send() {
  core_state& c = *home().state_;
  stream_traffic& t = *traffic_;
  const sendable front = front_of(t.queue, page_reference_bytes_min(home().owner().options()));
  if (front.region_follows && front.bytes <= inline_head_bytes_max) return send_regions(front.bytes);
  std::optional<chain> flight;
  if (const std::uint64_t fewer = at_once(front.bytes); fewer != front.bytes) flight = t.queue.split(fewer);
  // At a segment's border nothing is shared, so it cannot fail.
  if (!flight && front.bytes != t.queue.bytes()) flight = t.queue.split(front.bytes);
  t.flight = flight ? std::move(*flight) : std::move(t.queue);
  const bool all = t.queue.empty();
  flags_ |= flag_sending;
  t.progress_ms = home().now_ms();
  look_within(stall_ms());
  c.sends.add(1);
  c.large.sends(t.flight.bytes());
  const token about{operation::send, stream_table::slot_of(this), generation_};
  t.pinned =
      c.zero_copy.begin(*c.io, home().owner().options(), home().now_ms(), fd_, about, t.flight, t.way, !all);
  t.flight.mark_in_flight(true);
  if (t.pinned < 0) c.io->send(fd_, about, t.flight, !all);
  if (faulty(fault::early_return)) {
    t.flight.mark_in_flight(false);
    t.flight.clear();
  }
}

void stream::on_send(std::int32_t result) {
  clear(flag_sending);
  stream_traffic& t = *traffic_;
  t.flight.mark_in_flight(false);
  if ((flags_ & flag_dead) != 0) {
    t.flight.clear();
    return try_finish();
  }
  core_state& c = *home().state_;
  const std::int64_t pinned = std::exchange(t.pinned, -1);
  const bool refused = pinned >= 0 && !c.zero_copy.sent(pinned, result);
  if (refused) result = -EAGAIN;  // a plain one may do
  if (result < 0 && result != -EINTR && result != -EAGAIN) {
    t.flight.clear();
    return wind_down();
  }
  const auto count = static_cast<std::uint64_t>(std::max(result, 0));
  c.bytes_out.add(count);
  if (pinned < 0) c.tiers.add(tier::copied, count);
  t.flight.consume(count);
  if (faulty(fault::lost_tail)) t.flight.clear();
  const bool full = !t.flight.empty() && !refused && result != -EINTR;
  if (!t.flight.empty()) t.queue.prepend(std::move(t.flight));
  sent(full);
}

// Something left: tells the producer when there is room again, and sends or closes on, at once or when the
// socket, which is full, has room.
void stream::sent(bool full) {
  active_ms_ = home().now_ms();
  if ((flags_ & flag_above) != 0 && unsent() <= home().owner().options().low_watermark) {
    clear(flag_above);
    if ((flags_ & flag_closing) == 0) protocol_->writable(*this);
    if ((flags_ & flag_dead) != 0) return;
  }
  if (full)
    wait_for_room();
  else if (unsent() != 0 || (flags_ & flag_closing) != 0)
    mark_dirty();
  else if (needs_no_traffic())
    release_traffic();
}

void stream::on_writable(std::int32_t result) {
  clear(flag_sending);
  if ((flags_ & flag_dead) != 0) return try_finish();
  if (result < 0) return wind_down();
  sent();
}

std::uint32_t stream::stall_ms() const {
  return protocol_->send_stall_ms(home().owner().options().send_stall_ms);
}

// Whether the peer has acknowledged nothing for send_stall_ms. That the socket took bytes does not say so:
// the kernel is asked.
bool stream::stalled() {
  stream_traffic& t = *traffic_;
  const std::uint32_t now_ms = home().now_ms();
  const std::uint64_t mark = home().state_->io->progress_mark(fd_);
  if (mark != t.progress_mark) {
    t.progress_mark = mark;
    t.progress_ms = now_ms;
  }
  return now_ms - t.progress_ms >= stall_ms();
}

// ---- receiving

// Of what is expected, how much has not come; what is held back has.
std::uint64_t stream::missing() const {
  return traffic_ == nullptr ? 0
                             : traffic_->expecting - std::min(traffic_->expecting, traffic_->held.bytes());
}

bool stream::may_receive() const {
  constexpr auto not_now =
      flag_receiving | flag_polling | flag_paused | flag_ended | flag_dead | flag_starved | flag_queued;
  return (flags_ & not_now) == 0;
}

void stream::arm(bool may_be_large) {
  if (!may_receive()) return;
  core_state& c = *home().state_;
  const bool much = missing() >= large_receive_bytes_min || (flags_ & flag_bulky) != 0;
  if (may_be_large && much && (flags_ & flag_lingering) == 0) {
    flags_ |= flag_queued;
    return c.large.queue(id());
  }
  flags_ |= flag_receiving;
  active_ms_ = home().now_ms();
  const token about{operation::receive, stream_table::slot_of(this), generation_};
  if ((flags_ & flag_curious) != 0)
    c.io->receive_once(fd_, about);
  else
    c.io->receive(fd_, about);
  clear(flag_curious);
  if ((flags_ & flag_lingering) == 0) look_within(patience_ms());
}

// Its turn for a large or wide block has come. Returns how many bytes that may bring: none, when much has
// changed since it queued.
std::uint64_t stream::arm_large() {
  clear(flag_queued);
  const std::uint64_t bytes = missing();
  const bool large = bytes >= large_receive_bytes_min;
  if (!may_receive() || (!large && (flags_ & flag_bulky) == 0) || (flags_ & flag_lingering) != 0) {
    arm(false);
    return 0;
  }
  flags_ |= flag_receiving | (large ? flag_large : flag_wide);
  active_ms_ = home().now_ms();
  backend& io = *home().state_->io;
  const token about{receive_under_way(), stream_table::slot_of(this), generation_};
  if (large)
    io.receive_large(fd_, about, bytes);
  else
    io.receive_wide(fd_, about);
  look_within(patience_ms());
  return large ? std::min(bytes, large_block_bytes) : wide_bytes_likely;
}

operation stream::receive_under_way() const {
  return (flags_ & flag_large) != 0  ? operation::receive_large
         : (flags_ & flag_wide) != 0 ? operation::receive_wide
                                     : operation::receive;
}

// By what a receive brought, whether the next is into a wide block.
void stream::judge_size(std::size_t bytes, bool was_wide) {
  if ((flags_ & (flag_lingering | flag_dead)) != 0) return;
  if (was_wide && bytes < bulk_bytes_min) clear(flag_bulky);
  if (was_wide) return;
  if (bytes < receive_block_bytes) return clear(flag_full);
  if ((flags_ & flag_full) != flag_full) {
    flags_ += one_full;
    return;
  }
  clear(flag_full);
  flags_ |= flag_bulky;
  stop_receive();
}

void stream::stop_receive() {
  if ((flags_ & (flag_receiving | flag_polling)) == 0 || (flags_ & flag_cancelling) != 0) return;
  flags_ |= flag_cancelling;
  const operation what = (flags_ & flag_polling) != 0 ? operation::poll : receive_under_way();
  if (!faulty(fault::forgotten_cancel))
    home().state_->io->cancel(token{what, stream_table::slot_of(this), generation_});
}

// The receive was just being worked on (or it has ended meanwhile: then its end has been told).
void stream::on_cancel_missed() {
  if (connecting() && (flags_ & flag_dead) != 0)
    return home().state_->io->cancel(token{operation::connect, stream_table::slot_of(this), generation_});
  if ((flags_ & flag_cancelling) == 0) return;
  clear(flag_cancelling);
  stop_receive();
}

void stream::on_receive(const completion& c) {
  core& k = home();
  const bool was_large = (flags_ & flag_large) != 0;
  const bool was_wide = (flags_ & flag_wide) != 0;
  const bool was_cancelled = (flags_ & flag_cancelling) != 0;
  if (!c.more) clear(flag_receiving | flag_cancelling | flag_large | flag_wide);
  if (was_large && c.result > 0) flags_ |= flag_curious;
  active_ms_ = k.now_ms();
  lease data{c.data};
  std::int32_t result = c.result;
  if (result == -ENOBUFS && (flags_ & flag_dead) == 0) {
    if (was_large || was_wide) {
      clear(flag_bulky);
      return arm(false);  // small ones may do
    }
    // The kernel asks for a block before it looks for bytes. Who has none to receive must not queue for one:
    // it would lie idle under a receive that waits, while others starve.
    result = k.state_->io->peek(fd_);
    if (result > 0) return starve();
    if (result == -EAGAIN) return (flags_ & flag_paused) != 0 ? void() : wait_parked();
  }
  if (result > 0) {
    const auto bytes = static_cast<std::size_t>(result);
    k.state_->bytes_in.add(bytes);
    if (was_large)
      clear(flag_bulky | flag_full);  // what follows is likely to be as large, and better known by its head
    else
      judge_size(bytes, was_wide);
    chain came{std::move(data), 0, bytes};
    if (was_wide) came.compact();  // so that little does not pin a wide block
    deliver(std::move(came));
  } else if (result == 0) {
    end_of_input();
  } else if (result != -ECANCELED && result != -EINTR && result != -EAGAIN && result != -ENOBUFS) {
    return wind_down();
  }
  if ((flags_ & flag_dead) != 0) return try_finish();
  if (c.more) return;
  // A cancelled receive was cancelled for a pause, for large blocks, or because it was quiet: then a poll
  // stands in.
  const bool for_large = !was_large && traffic_ != nullptr && traffic_->expecting >= large_receive_bytes_min;
  const bool for_wide = !was_wide && (flags_ & flag_bulky) != 0;
  const bool quiet = was_cancelled && c.result < 0 && at_rest() && !for_large && !for_wide &&
                     (flags_ & (flag_paused | flag_lingering | flag_ended)) == 0;
  if (quiet)
    wait_parked();
  else
    arm();
}

// A receive found no block: this stream queues for one, a known body before others. Its receive is armed
// again with the block in hand.
void stream::starve() {
  if ((flags_ & (flag_paused | flag_starved)) != 0) return;
  core_state& c = *home().state_;
  const auto fed = [](waiter& w, lease block) { static_cast<block_wait&>(w).who.on_block(std::move(block)); };
  stream_traffic& t = traffic();
  const priority urgency = t.expecting != 0 ? priority::known_body : priority::read;
  const size_class small = c.blocks->classes().fitting(receive_block_bytes);
  t.hunger = std::make_unique<block_wait>(small, urgency, fed, *this);
  flags_ |= flag_starved;
  if (block* at_once = c.blocks->rent_or_wait(*t.hunger))
    on_block(lease{at_once});
  else if (!t.hunger->waiting())  // no memory even for the note
    look_within(starved_retry_ms);
}

void stream::on_block(lease block) {
  stop_starving();
  home().state_->io->offer(std::move(block));
  if (!faulty(fault::lost_rearm)) arm(false);  // for that block, and no large one
}

// Gives up its place in the queue for blocks.
void stream::stop_starving() {
  if ((flags_ & flag_starved) == 0) return;
  clear(flag_starved);
  traffic_->hunger.reset();
}

void stream::deliver(chain&& bytes) {
  if ((flags_ & (flag_lingering | flag_dead | flag_closing)) != 0) return;  // discarded
  // Also once resumed: what is held comes first, at the end of the turn.
  if ((flags_ & flag_paused) != 0 || (traffic_ != nullptr && !traffic_->held.empty()))
    return traffic().held.append(std::move(bytes));
  if (traffic_ != nullptr && traffic_->expecting != 0)
    traffic_->expecting -= std::min(traffic_->expecting, bytes.bytes());
  protocol_->received(*this, std::move(bytes));
}

void stream::end_of_input() {
  flags_ |= flag_ended;
  if ((flags_ & flag_dead) != 0) return;
  if ((flags_ & flag_lingering) != 0) return wind_down();
  if ((flags_ & flag_closing) != 0) return mark_dirty();
  if ((flags_ & flag_paused) != 0 || (traffic_ != nullptr && !traffic_->held.empty())) {
    flags_ |= flag_end_held;
    return;
  }
  protocol_->ended(*this);
}

void stream::pause() {
  if ((flags_ & (flag_paused | flag_dead | flag_closing)) != 0) return;
  flags_ |= flag_paused;
  stop_starving();  // and queues again once it reads on
  if ((flags_ & flag_receiving) != 0) stop_receive();
}

void stream::resume() {
  if ((flags_ & flag_paused) == 0) return;
  clear(flag_paused);
  mark_dirty();
}

void stream::expect(std::uint64_t bytes) {
  if (bytes < large_receive_bytes_min && traffic_ == nullptr) return;
  traffic().expecting = bytes;
  // Should it come in small blocks after all, what follows it is likely to be as large.
  if (bytes >= large_receive_bytes_min) flags_ |= flag_curious;
  const bool large = (flags_ & flag_large) != 0;
  if ((flags_ & flag_receiving) != 0 && large != (bytes >= large_receive_bytes_min)) stop_receive();
}

// ---- parking and time

void stream::wait_parked() {
  core_state& c = *home().state_;
  clear(flag_bulky | flag_full);
  flags_ |= flag_polling;
  c.parked.add(1);
  c.io->poll_readable(fd_, token{operation::poll, stream_table::slot_of(this), generation_});
}

void stream::on_poll(std::int32_t) {
  core& k = home();
  clear(flag_polling | flag_cancelling);
  k.state_->parked.sub(1);
  if ((flags_ & flag_dead) != 0) return try_finish();
  active_ms_ = k.now_ms();
  arm();
  arm_timer();
}

// How long a receive may bring nothing before it is ended.
std::uint32_t stream::patience_ms() const {
  const std::uint32_t park_ms = home().owner().options().park_after_ms;
  return (flags_ & flag_large) != 0 ? std::min(large_receive_ms, park_ms) : park_ms;
}

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
      if (!still_taken()) return wind_down();
      return start_deadline(k.owner().options().linger_ms);
    }
    if ((flags_ & flag_closing) != 0) return abort();  // it was finishing, and the peer takes nothing
    protocol_->expired(*this);
    if ((flags_ & flag_dead) != 0) return;
  }
  if ((flags_ & flag_sending) != 0 && stalled()) return abort();
  if ((flags_ & flag_starved) != 0 && !traffic_->hunger->waiting()) {
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
  if (mark - t.progress_mark <= 1) return false;  // nothing, or our FIN, which counts as a byte
  t.progress_mark = mark;
  return home().now_ms() - t.progress_ms < stall_ms();
}

void stream::begin_linger() {
  flags_ |= flag_lingering;
  home().state_->io->shut_down(fd_, false);
  if ((flags_ & flag_ended) != 0) return wind_down();
  stream_traffic& t = traffic();
  t.held.clear();
  t.expecting = 0;
  t.progress_mark = home().state_->io->progress_mark(fd_);
  t.progress_ms = home().now_ms();
  start_deadline(home().owner().options().linger_ms);
  arm();
}

void stream::abort() {
  if ((flags_ & flag_dead) != 0) return;
  home().state_->io->reset(fd_);
  wind_down();
}

void stream::wind_down() {
  flags_ |= flag_dead;
  core_state& c = *home().state_;
  stop();
  stop_starving();
  if ((flags_ & flag_untold) != 0) c.ended.push_back(this);
  if (traffic_ != nullptr) {
    traffic_->queue.clear();
    traffic_->held.clear();
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
