// What a stream receives: which receive is armed, into small blocks or large ones, what it does when there is
// no block, and the poll that stands in for a receive while the peer is quiet.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/stream.hpp>

#include "core_state.hpp"
#include "fault.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

namespace catenet {
namespace {

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

}  // namespace

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
  if (!faulty(fault::unrepeated_cancel)) stop_receive();
}

void stream::on_receive(const completion& c) {
  core& k = home();
  const bool was_large = (flags_ & flag_large) != 0;
  const bool was_wide = (flags_ & flag_wide) != 0;
  const bool was_cancelled = (flags_ & flag_cancelling) != 0;
  if (!c.more) clear(flag_receiving | flag_cancelling | flag_large | flag_wide);
  if (was_large && c.result > 0) flags_ |= flag_curious;
  if ((flags_ & flag_dead) == 0) active_ms_ = k.now_ms();
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
    return wind_down(-result);
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
  if ((flags_ & flag_lingering) != 0) return wind_down(0);
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

}  // namespace catenet
