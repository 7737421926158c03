// How a stream sends what need not be copied: file regions and page bodies, inline, by sendfile.
//
//   queue = [head, in memory][region][region]…     head: one send that says more follows; then sendfile
//                                                  until the socket is full; then a poll waits for room
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/engine/page_reference.hpp>
#include <catenet/engine/stream.hpp>

#include "core_state.hpp"
#include "page_cache.hpp"
#include "page_region.hpp"
#include "page_threshold.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace catenet {

namespace {

// About so many bytes are sent in one go before other streams have their turn.
constexpr std::size_t region_bytes_per_turn = 1_MiB;
constexpr std::size_t copied_at_once_bytes = 64_KiB;
// A cold file is read so far ahead at a time.
constexpr std::size_t warm_bytes = 512_KiB;
// A head before less than this shares a packet with it. Before more it goes ahead alone: the peer sets its
// window by the first packet's size, and with a window wide enough for all of the body every packet of it is
// sent, and taken in, by the sender's processor. Seen on loopback, 1 MiB answers: 110 µs instead of 400 on a
// busy machine, 64 KiB: 15 instead of 13.
constexpr std::uint64_t head_alone_bytes_min = 256_KiB;

page_region region_of(const segment& s) {
  return s.kind == segment_kind::file ? page_region{s.file->fd, s.offset} : pages_of(s);
}

}  // namespace

bool goes_by_reference(const segment& s, std::uint64_t bytes_min) {
  if (s.kind == segment_kind::file) return true;
  return s.length >= bytes_min && pages_of(s).fd >= 0;
}

// Sends the memory at the front, if any, and the regions behind it, until the socket says that it is full:
// only then is a change to come that a poll can wait for.
void stream::send_regions(std::uint64_t memory) {
  core_state& c = *home().state_;
  chain& queue = traffic_->queue;
  const engine_options& options = home().owner().options();
  const std::uint64_t reference_bytes_min = page_reference_bytes_min(options);
  const bool head_shares = queue.bytes() - memory < head_alone_bytes_min;
  const std::int64_t head = send_memory(memory, head_shares);
  std::int64_t result = head;
  std::size_t left = region_bytes_per_turn;
  while (result > 0 && left != 0 && !queue.empty() && goes_by_reference(*queue.head(), reference_bytes_min)) {
    const segment& s = *queue.head();
    const page_region from = region_of(s);
    if (s.kind != segment_kind::file && options.page_reference_bytes_min == page_reference_measured)
      measure_page_reference_once();
    // Not cut so that a tail too short for a call of its own is left.
    std::uint64_t length = s.length < 2 * left ? s.length : left;
    if (s.kind == segment_kind::file) length = warm_part(from.fd, from.offset, length);
    if (length == 0) return;
    result = c.io->send_file(fd_, from.fd, from.offset, length);
    if (result == 0) return truncated();
    if (result < 0) break;
    took(tier::page_reference, static_cast<std::uint64_t>(result));
    left -= std::min(left, static_cast<std::size_t>(result));
  }
  c.sends.add(1);
  const bool refused = result == -ENOSYS || result == -EINVAL || result == -EPERM || result == -EOPNOTSUPP;
  if (head > 0 && refused) return copy_region(static_cast<int>(-result));
  // Also for a file that cannot be read: a clean end would make what was sent look whole.
  if (result < 0 && result != -EAGAIN && result != -EINTR) return give_up(static_cast<int>(-result));
  if (result != -EAGAIN) return sent();
  active_ms_ = traffic_->progress_ms = home().now_ms();
  wait_for_room();
}

// A filter or a file system refuses sendfile: what comes next of the region is read into a block, and goes as
// memory does.
void stream::copy_region(int refusal) {
  core_state& c = *home().state_;
  if (!std::exchange(c.told_of_copies, true))
    log(log_level::warning,
        "sendfile is refused: " + errno_text(refusal) +
            "; regions are copied. EPERM, ENOSYS: a seccomp filter; EINVAL: a file system "
            "that cannot do it");
  chain& queue = traffic_->queue;
  const segment& s = *queue.head();
  lease room = lease::of(copied_at_once_bytes);
  if (!room) return give_up(ENOMEM);
  const std::span<std::byte> into = room.bytes().first(std::min<std::size_t>(room.bytes().size(), s.length));
  ssize_t got = std::ssize(into);
  if (s.kind == segment_kind::file)
    got = pread(s.file->fd, into.data(), into.size(), static_cast<off_t>(s.offset));
  else
    std::memcpy(into.data(), s.data, into.size());
  if (got == 0) return truncated();
  if (got < 0) return give_up(errno);
  queue.consume(static_cast<std::uint64_t>(got));
  queue.prepend(chain{std::move(room), 0, static_cast<std::size_t>(got)});
  sent();
}

// Sends so many bytes of memory at the front as far as the socket takes them at once. Positive, -EAGAIN when
// it is full, or -errno.
std::int64_t stream::send_memory(std::uint64_t bytes, bool more_follows) {
  std::int64_t result = 1;
  while (bytes != 0 && result > 0) {
    result = home().state_->io->send_now(fd_, traffic_->queue, bytes, more_follows);
    if (result <= 0) break;
    took(tier::copied, static_cast<std::uint64_t>(result));
    bytes -= static_cast<std::uint64_t>(result);
  }
  return result;
}

void stream::wait_for_room() {
  flags_ |= flag_sending;
  look_within(stall_ms());
  home().state_->io->poll_writable(fd_, token{operation::writable, stream_table::slot_of(this), generation_});
}

void stream::took(tier how, std::uint64_t bytes) {
  core_state& c = *home().state_;
  c.bytes_out.add(bytes);
  c.tiers.add(how, bytes);
  traffic_->queue.consume(bytes);
}

// The file is shorter than was promised to the peer: only ending the connection tells it so.
void stream::truncated() {
  log(log_level::warning, "a file shrank while it was sent; the connection is ended");
  give_up(ENODATA);
}

// How much of a part of a file can be sent without waiting for a disk. 0: it is being read, and the end of
// that comes to on_warm().
std::uint64_t stream::warm_part(int file, std::uint64_t offset, std::uint64_t length) {
  stream_traffic& t = *traffic_;
  if (t.warm_file == file && t.warm_from <= offset && offset < t.warm_to)
    return std::min(length, t.warm_to - offset);
  if (in_page_cache(file, offset, length)) return length;
  core_state& c = *home().state_;
  t.warm_file = file;
  t.warm_from = offset;
  t.warm_to = offset + std::min<std::uint64_t>(length, warm_bytes);
  c.cold_reads.add(1);
  if (!c.io->read_ahead(token{operation::warm, stream_table::slot_of(this), generation_}, file, offset,
                        static_cast<std::size_t>(t.warm_to - offset)))
    return t.warm_to - offset;
  flags_ |= flag_sending;
  t.progress_ms = home().now_ms();
  look_within(stall_ms());
  return 0;
}

void stream::on_warm(std::int32_t result) {
  clear(flag_sending);
  if ((flags_ & flag_dead) != 0) return try_finish();
  if (result == 0) return truncated();
  if (result < 0) {
    log(log_level::warning, "a file could not be read: " + errno_text(-result) + "; the connection is ended");
    return give_up(-result);
  }
  // Only what was read is known to be there.
  traffic_->warm_to = traffic_->warm_from + static_cast<std::uint64_t>(result);
  mark_dirty();
}

std::string_view text(tier t) {
  switch (t) {
    case tier::copied:
      return "copied";
    case tier::page_reference:
      return "page reference";
    case tier::spliced:
      return "spliced";
    case tier::zero_copy:
      return "zero-copy";
    case tier::zero_copy_copied:
      return "zero-copy, but copied";
  }
  return "unknown";
}

}  // namespace catenet
