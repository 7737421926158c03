// What a stream sends: the queue, the one send under way, and whether the peer still takes anything.
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/page_reference.hpp>
#include <catenet/engine/stream.hpp>

#include "core_state.hpp"
#include "fault.hpp"
#include "page_region.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

namespace catenet {
namespace {

// Most segments in one send: UIO_MAXIOV.
constexpr std::size_t segments_per_send_max = 1024;
constexpr std::uint64_t unix_send_bytes_max = 256_KiB;
// Who takes nothing for long is asked at every 2^n-th offer.
constexpr std::uint32_t offers_refused_max = 10;
// Memory before a file region or page body: so much is sent at once and inline, as the region is.
constexpr std::uint64_t inline_head_bytes_max = 16_KiB;

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

bool stream::offer() {
  if (unsent() == 0) return true;
  core_state& c = *home().state_;
  stream_traffic& t = *traffic_;
  if (!t.flight.empty() || (flags_ & (flag_dead | flag_connecting)) != 0) return false;
  if (t.offers_to_skip != 0) {
    --t.offers_to_skip;
    return false;
  }
  const std::uint64_t bytes = front_of(t.queue, page_reference_bytes_min(home().owner().options())).bytes;
  if (bytes == 0) return false;
  const std::uint64_t before = t.queue.bytes();
  const std::int64_t result = send_memory(bytes, false);
  if (const std::uint64_t taken = before - t.queue.bytes(); taken != 0) {
    c.sends.add(1);
    c.large.sends(taken);
    t.offers_refused = 0;
    flags_ |= flag_offered;
    mark_dirty();
  }
  if (result > 0) return t.queue.empty();
  // Of what else it can be, the next send tells.
  t.offers_to_skip = (1u << t.offers_refused) - 1;
  t.offers_refused = std::min(t.offers_refused + 1, offers_refused_max);
  if (result == -EAGAIN && (flags_ & flag_sending) == 0) {
    t.progress_ms = home().now_ms();
    wait_for_room();
  }
  return false;
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
  // Nothing may leave yet where more follows at once: also the FIN of a stream that closes goes with the end.
  const bool more_follows = !t.queue.empty() || (flags_ & flag_closing) != 0;
  flags_ |= flag_sending;
  t.progress_ms = home().now_ms();
  look_within(stall_ms());
  c.sends.add(1);
  c.large.sends(t.flight.bytes());
  const token about{operation::send, stream_table::slot_of(this), generation_};
  t.pinned = c.zero_copy.begin(*c.io, home().owner().options(), home().now_ms(), fd_, about, t.flight, t.way,
                               more_follows);
  t.flight.mark_in_flight(true);
  if (t.pinned < 0) c.io->send(fd_, about, t.flight, more_follows);
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
    return wind_down(-result);
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
  if (!tell_room()) return;
  if (full)
    wait_for_room();
  else if (unsent() != 0 || (flags_ & flag_closing) != 0)
    mark_dirty();
  else if (needs_no_traffic())
    release_traffic();
}

// The producer, if it waits for that. False when the stream has ended there.
bool stream::tell_room() {
  if ((flags_ & flag_above) == 0 || unsent() > home().owner().options().low_watermark) return true;
  clear(flag_above);
  if ((flags_ & flag_closing) == 0) protocol_->writable(*this);
  return (flags_ & flag_dead) == 0;
}

void stream::on_writable(std::int32_t result) {
  clear(flag_sending);
  if ((flags_ & flag_dead) != 0) return try_finish();
  if (result < 0) return wind_down(-result);
  if (traffic_ != nullptr) traffic_->offers_refused = traffic_->offers_to_skip = 0;
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

}  // namespace catenet
