// How each operation is said to io_uring. What holds on which kernel: docs/engine.md and the notes at each
// use.
#include "uring.hpp"

#include <catenet/engine/log.hpp>
#include <catenet/slab/pool.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace catenet {

namespace {

constexpr std::uint16_t small_group = 0;
constexpr std::uint16_t large_group = 1;
constexpr std::uint16_t wide_group = 2;
constexpr std::size_t small_block_bytes = 4_KiB;
constexpr std::size_t wide_block_bytes = 64_KiB;
constexpr std::size_t large_block_bytes = 256_KiB;
constexpr std::uint32_t wide_blocks_max = 64;
constexpr std::uint32_t wide_blocks_min = 8;
constexpr std::uint32_t large_blocks_max = 64;
constexpr std::uint32_t large_blocks_min = 2;
constexpr std::uint32_t small_target_min = 64;
constexpr unsigned batch_load_min = 8;  // completions a turn from which on it pays to wait for several
constexpr unsigned batch_wait_us = 20;
constexpr std::size_t read_ahead_bytes_max = 512_KiB;
constexpr std::size_t iovecs_max = 1024;  // UIO_MAXIOV
// Kernel 6.2, and not in the headers of liburing 2.3: asks for, and in a notification says, whether it was
// copied.
constexpr std::uint16_t report_zero_copy_usage = 1 << 3;
constexpr std::uint32_t zero_copy_was_copied = 1U << 31;

// Newer than liburing 2.3's header: include/uapi/linux/io_uring.h.
constexpr std::uint16_t receive_bundle = 1u << 4;  // IORING_RECVSEND_BUNDLE, 6.10

// Internal tokens, told to nobody.
constexpr std::uint64_t token_of_wake =
    token{operation::wake, 0, 0}.value;  // our read of the wake descriptor
constexpr std::uint64_t token_of_message = token{operation::wake, 0, 1}.value;  // another core's message
constexpr std::uint64_t token_of_rooms = token{operation::wake, 0, 3}.value;    // our poll of rooms_
constexpr std::uint32_t generation_of_sent_message = 2;  // ours; slot: its wake descriptor

void write_wake(int wake_fd) {
  const std::uint64_t one = 1;
  // Fails only when it is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake_fd, &one, sizeof one);
}

// MSG_DONTWAIT: a socket that is full ends the send, short, and the stream waits for room. The kernel's own
// waiting (MSG_WAITALL) asks for POLLRDHUP too: with a peer that has said FIN and does not read, it tries
// without end, and then on in a worker thread.
int send_flags(bool more_follows) { return MSG_NOSIGNAL | MSG_DONTWAIT | (more_follows ? MSG_MORE : 0); }

}  // namespace

uring::uring(uring_options options, backend_context context)
    : options_(options), wake_fd_(context.wake_fd), counters_(context.counters) {}

uring::~uring() {
  for (const completion& c : early_) lease{c.data}.reset();
  if (!live_) return;
  small_.release();
  wide_.release();
  large_.release();
  registered_memory_.stop();
  io_uring_queue_exit(&ring_);
}

error uring::start() {
  if (error e = make_ring()) return e;
  if (error e = small_.start(ring_, small_group, options_.receive_blocks_max, small_block_bytes)) return e;
  if (error e = wide_.start(ring_, wide_group, wide_blocks_max, wide_block_bytes)) return e;
  if (error e = large_.start(ring_, large_group, large_blocks_max, large_block_bytes)) return e;
  if (options_.registered != nullptr) registered_memory_.start(ring_, *options_.registered);
  small_.set_target(small_target_min);
  small_.fill();
  rooms_.start();
  read_wakeups();
  return {};
}

error uring::make_ring() {
  if (error e = set_up_ring(options_.tier, ring_)) return e;
  live_ = true;
  // Where that fails, each enter looks it up.
  registered_ = has(io_feature::ring_fd) && io_uring_register_ring_fd(&ring_) > 0;
  return {};
}

void uring::offer(lease block) { small_.offer(std::move(block)); }

io_uring_sqe* uring::sqe(token t) {
  io_uring_sqe* s = io_uring_get_sqe(&ring_);
  if (s == nullptr) [[unlikely]] {
    submit_early();
    s = io_uring_get_sqe(&ring_);
  }
  counters_.submissions.add(1);
  io_uring_sqe_set_data64(s, t.value);
  return s;
}

// Only when a turn asks for more than the submission ring holds.
void uring::submit_early() {
  int result = 0;
  do result = io_uring_submit(&ring_);
  while (result == -EINTR || result == -EAGAIN || (result >= 0 && io_uring_sq_space_left(&ring_) == 0));
  counters_.enters.add(1);
  messages_used_ = 0;
}

// liburing 2.3's preparers clear user_data, so it is set again after each of them.
void uring::accept(int listener, token t) {
  io_uring_sqe* s = sqe(t);
  // O_NONBLOCK is for sendfile and splice, which know no flag for it. Sends and receives through the ring
  // wait all the same: they ask for no waiting by MSG_DONTWAIT only.
  io_uring_prep_multishot_accept(s, listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  io_uring_sqe_set_data64(s, t.value);
}

void uring::connect(int fd, token t, const endpoint& to) {
  io_uring_sqe* s = sqe(t);
  io_uring_prep_connect(s, fd, to.address(), to.length());
  io_uring_sqe_set_data64(s, t.value);
}

void uring::receive(int fd, token t) {
  io_uring_sqe* s = sqe(t);
  io_uring_prep_recv_multishot(s, fd, nullptr, 0, 0);
  s->flags |= IOSQE_BUFFER_SELECT;
  s->buf_group = small_group;
  if (has(io_feature::bundle)) s->ioprio |= receive_bundle;
  io_uring_sqe_set_data64(s, t.value);
}

void uring::receive_once(int fd, token t) { receive_block(fd, t, small_group); }

void uring::receive_wide(int fd, token t) {
  ++wide_under_way_;
  receive_block(fd, t, wide_group);
}

void uring::receive_block(int fd, token t, std::uint16_t group) {
  io_uring_sqe* s = sqe(t);
  io_uring_prep_recv(s, fd, nullptr, 0, 0);  // as much as the block takes
  s->flags |= IOSQE_BUFFER_SELECT;
  s->buf_group = group;
  io_uring_sqe_set_data64(s, t.value);
}

void uring::receive_large(int fd, token t, std::uint64_t bytes_max) {
  block_ring& into = ring_for_large();
  ++large_under_way_;
  io_uring_sqe* s = sqe(t);
  // MSG_WAITALL: one completion a block, not one for each segment of the network.
  io_uring_prep_recv(s, fd, nullptr, std::min<std::uint64_t>(bytes_max, into.block_bytes()), MSG_WAITALL);
  s->flags |= IOSQE_BUFFER_SELECT;
  s->buf_group = into.group();
  io_uring_sqe_set_data64(s, t.value);
}

void uring::poll_readable(int fd, token t) {
  io_uring_sqe* s = sqe(t);
  io_uring_prep_poll_add(s, fd, POLLIN | POLLRDHUP);
  io_uring_sqe_set_data64(s, t.value);
}

void uring::poll_writable(int fd, token t) {
  rooms_.remember(t, fd);
  io_uring_sqe* s = sqe(t);
  io_uring_prep_poll_add(s, fd, POLLOUT);
  io_uring_sqe_set_data64(s, t.value);
}

void uring::send(int fd, token t, const chain& bytes, bool more_follows) {
  io_uring_sqe* s = sqe(t);
  const int flags = send_flags(more_follows);
  const segment* first = bytes.head();
  if (first->next == nullptr || first->next->kind == segment_kind::file) {
    io_uring_prep_send(s, fd, first->data, first->length, flags);
  } else {
    io_uring_prep_sendmsg(s, fd, message_of(bytes), static_cast<unsigned>(flags));
  }
  io_uring_sqe_set_data64(s, t.value);
}

msghdr* uring::message_of(const chain& bytes) {
  if (messages_used_ == messages_.size()) messages_.push_back(std::make_unique<message>());
  message& m = *messages_[messages_used_++];
  m.parts.resize(std::min(bytes.segment_count(), iovecs_max));
  const chain::exported sum = bytes.to_iovecs(m.parts);
  m.header = {};
  m.header.msg_iov = m.parts.data();
  m.header.msg_iovlen = sum.count;
  return &m.header;
}

bool uring::send_zero_copy(int fd, token t, std::uint32_t id, const chain& bytes, bool more_follows) {
  if (!has(io_feature::zc)) return false;
  if (id >= zero_copy_sends_.size()) zero_copy_sends_.resize(id + 1);
  zero_copy_sends_[id] = t;
  const token mine{operation::released, id, 0};
  io_uring_sqe* s = sqe(mine);
  io_uring_prep_sendmsg_zc(s, fd, message_of(bytes), static_cast<unsigned>(send_flags(more_follows)));
  s->ioprio |= report_zero_copy_usage;
  if (const int slot = registered_memory_.slot_of(bytes); slot >= 0) {
    s->ioprio |= IORING_RECVSEND_FIXED_BUF;
    s->buf_index = static_cast<std::uint16_t>(slot);
    counters_.registered_sends.add(1);
  }
  io_uring_sqe_set_data64(s, mine.value);
  return true;
}

void uring::cancel(token t) {
  io_uring_sqe* s = sqe(t);
  io_uring_prep_cancel64(s, t.value, 0);
  s->flags |= IOSQE_CQE_SKIP_SUCCESS;  // 5.17; a failed one is told
  const std::uint32_t generation = t.what() == operation::accept ? 0 : t.generation();
  io_uring_sqe_set_data64(s, token{operation::cancel, t.slot(), generation}.value);
}

void uring::close(int fd, token t) {
  io_uring_sqe* s = sqe(t);
  io_uring_prep_close(s, fd);
  io_uring_sqe_set_data64(s, t.value);
}

void uring::read_wakeups() {
  io_uring_sqe* s = sqe(token{token_of_wake});
  io_uring_prep_read(s, wake_fd_, &wake_count_, sizeof wake_count_, 0);
  io_uring_sqe_set_data64(s, token_of_wake);
}

void uring::wake_peer(backend& other, int wake_fd) {
  auto* target = dynamic_cast<uring*>(&other);
  if (target == nullptr || !has(io_feature::message)) {
    write_wake(wake_fd);
    return;
  }
  // MSG_RING (5.18) posts a completion into the other's ring with our next enter.
  const token mine{operation::wake, static_cast<std::uint32_t>(wake_fd), generation_of_sent_message};
  io_uring_sqe* s = sqe(mine);
  io_uring_prep_msg_ring(s, target->ring_.ring_fd, 0, token_of_message, 0);
  s->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(s, mine.value);
}

// What is read is of no interest, only that the pages are in the cache then; so all such reads share one
// piece of memory. A worker of the kernel does it: begun here, a read that misses the cache would still wait
// in our own enter for room in the queue of the disk.
bool uring::read_ahead(token t, int file, std::uint64_t offset, std::size_t length) {
  scratch_.resize(read_ahead_bytes_max);  // once: reads that are under way have its address
  length = std::min(length, scratch_.size());
  io_uring_sqe* s = sqe(t);
  io_uring_prep_read(s, file, scratch_.data(), static_cast<unsigned>(length), offset);
  s->flags |= IOSQE_ASYNC;
  io_uring_sqe_set_data64(s, t.value);
  return true;
}

// Under load, waits for several completions at once, for a moment: fewer enters for the same work. Raw, as
// liburing 2.3 knows nothing of it; the submission ring is published as io_uring_submit() would.
int uring::enter_for_several(std::int64_t timeout_ms) {
  io_uring_sq& sq = ring_.sq;
  if (sq.sqe_head != sq.sqe_tail) {
    sq.sqe_head = sq.sqe_tail;
    io_uring_smp_store_release(sq.ktail, sq.sqe_tail);
  }
  const unsigned to_submit = sq.sqe_tail - io_uring_smp_load_acquire(sq.khead);
  __kernel_timespec limit{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000};
  io_uring_getevents_arg how{};
  how.pad = batch_wait_us;  // min_wait_usec since 6.12
  if (timeout_ms >= 0) how.ts = reinterpret_cast<std::uintptr_t>(&limit);
  unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  if (registered_) flags |= IORING_ENTER_REGISTERED_RING;
  return io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), to_submit, load_ / 2, flags,
                         reinterpret_cast<sigset_t*>(&how), sizeof how);
}

void uring::enter(std::int64_t timeout_ms) {
  counters_.enters.add(1);
  int result = 0;
  if (timeout_ms == 0) {
    result = io_uring_submit_and_get_events(&ring_);
  } else if (load_ >= batch_load_min && has(io_feature::min_wait)) {
    result = enter_for_several(timeout_ms);
  } else if (timeout_ms < 0) {
    result = io_uring_submit_and_wait(&ring_, 1);
  } else {
    __kernel_timespec limit{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000};
    io_uring_cqe* first = nullptr;
    result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr);
  }
  // Interrupted, timed out, or completions to be taken first: the next turn carries on.
  if (result >= 0 || result == -EINTR || result == -ETIME || result == -EAGAIN || result == -EBUSY) return;
  if (!std::exchange(enter_failed_, true)) log(log_level::error, "io_uring_enter: " + errno_text(-result));
  ::usleep(1000);  // nothing goes on then; it need not take all of a processor
}

void uring::wait(std::vector<completion>& into, std::int64_t timeout_ms) {
  // A block that handlers gave back in this turn is the first to be lent again, still warm.
  small_.fill();
  // One for each receive, as few as that: the kernel takes the one that was lent longest ago.
  if (large_under_way_ != 0 && has(io_feature::large))
    large_.set_target(std::max(large_under_way_, large_blocks_min));
  if (large_.target() != 0) large_.fill();
  if (wide_under_way_ != 0) wide_.set_target(std::max(wide_.target(), wide_blocks_min));
  if (wide_.target() != 0) wide_.fill();
  enter(early_.empty() ? timeout_ms : 0);
  messages_used_ = 0;
  into.insert(into.end(), early_.begin(), early_.end());
  early_.clear();
  load_ = (load_ * 3 + collect(into)) / 4;
  small_.follow_load();
  wide_.follow_load();
  may_trim_ = small_.target() > small_target_min || wide_.target() != 0 || large_.target() != 0 ||
              registered_memory_.in_use();
}

// How many the kernel told; a bundle is one.
unsigned uring::collect(std::vector<completion>& into) {
  unsigned head = 0;
  unsigned seen = 0;
  io_uring_cqe* c = nullptr;
  io_uring_for_each_cqe(&ring_, head, c) {
    ++seen;
    const token about{c->user_data};
    if (about.what() == operation::wake) {
      if (c->user_data == token_of_wake) read_wakeups();
      if (c->user_data == token_of_rooms) {
        rooms_polled_ = false;
        rooms_.collect(into);
        poll_rooms();
      }
      // A message that could not be posted (no memory, a full ring): the descriptor is the other way.
      if (about.generation() == generation_of_sent_message && c->res < 0)
        write_wake(static_cast<int>(about.slot()));
      continue;
    }
    if (about.what() == operation::released)
      collect_zero_copy(*c, into);
    else
      translate(*c, into);
  }
  io_uring_cq_advance(&ring_, seen);
  counters_.completions.add(seen);
  return seen;
}

// A zero-copy send completes, and if that said that more comes, a notification follows once the memory is
// free. Only the flags tell which is which (io_uring_enter(2), IORING_CQE_F_NOTIF).
void uring::collect_zero_copy(const io_uring_cqe& c, std::vector<completion>& into) {
  const token about{c.user_data};
  if ((c.flags & IORING_CQE_F_NOTIF) != 0) {
    const bool copied = (static_cast<std::uint32_t>(c.res) & zero_copy_was_copied) != 0;
    into.push_back({about, copied ? 1 : 0, false, nullptr});
    return;
  }
  into.push_back({zero_copy_sends_[about.slot()], c.res, false, nullptr});
  if ((c.flags & IORING_CQE_F_MORE) == 0) into.push_back({about, std::min(c.res, -1), false, nullptr});
}

void uring::translate(const io_uring_cqe& c, std::vector<completion>& into) {
  completion done{token{c.user_data}, c.res, (c.flags & IORING_CQE_F_MORE) != 0, nullptr};
  const operation what = done.about.what();
  if (what == operation::writable && c.res > 0 && (c.res & (POLLOUT | POLLERR | POLLHUP)) == 0)
    return wait_without_the_ring(done.about, into);
  if (what != operation::receive && what != operation::receive_wide && what != operation::receive_large)
    return into.push_back(done);
  if (what == operation::receive_large) --large_under_way_;
  if (what == operation::receive_wide) --wide_under_way_;
  if (c.res == -ENOBUFS) {
    counters_.out_of_blocks.add(1);
    if (lend_more(what)) done.result = -EAGAIN;
  }
  if ((c.flags & IORING_CQE_F_BUFFER) == 0) return into.push_back(done);
  block_ring& from = ring_for(what);
  auto id = static_cast<std::uint16_t>(c.flags >> IORING_CQE_BUFFER_SHIFT);
  if (c.res <= 0) {
    done.data = from.take(id);
    return into.push_back(done);
  }
  // A bundle fills one block after the other, in the order of the ring, and names the first only.
  for (auto left = static_cast<std::size_t>(c.res);;) {
    const std::uint16_t next = from.after(id);
    block* b = from.take(id);
    const std::size_t part = std::min(left, b->capacity());
    left -= part;
    into.push_back({done.about, static_cast<std::int32_t>(part), done.more || left != 0, b});
    if (left == 0) return;
    id = next;
  }
}

// After a receive found no block. Whether there is one now.
bool uring::lend_more(operation receive) {
  switch (receive) {
    case operation::receive_wide:
      return wide_.lend_more();
    case operation::receive_large:
      // Receives hold their large blocks until those are full, so how many are wanted shows only when there
      // are none.
      return has(io_feature::large) && large_.provide(large_under_way_ + 1);
    default:
      return false;
  }
}

block_ring& uring::ring_for(operation receive) {
  switch (receive) {
    case operation::receive_wide:
      return wide_;
    case operation::receive_large:
      return ring_for_large();
    default:
      return small_;
  }
}

// The peer has said FIN, and there is no room. Where that cannot be waited for, the stream asks again, and
// again: it costs a core's time, but loses nothing.
void uring::wait_without_the_ring(token t, std::vector<completion>& into) {
  if (!rooms_.wait(t)) return into.push_back({t, POLLOUT, false, nullptr});
  poll_rooms();
}

void uring::poll_rooms() {
  if (rooms_polled_ || !rooms_.waiting()) return;
  rooms_polled_ = true;
  io_uring_sqe* s = sqe(token{token_of_rooms});
  io_uring_prep_poll_add(s, rooms_.descriptor(), POLLIN);
  io_uring_sqe_set_data64(s, token_of_rooms);
}

// What the load of the last second did not need goes back to the slab.
void uring::trim() {
  if (small_.little_used(small_target_min)) renew(small_, std::max(small_.target() / 2, small_target_min));
  const std::uint32_t wide_least = wide_under_way_ == 0 ? 0 : wide_blocks_min;
  if (wide_.little_used(wide_least))
    renew(wide_, wide_least == 0 ? 0 : std::max(wide_.target() / 2, wide_least));
  if (large_under_way_ == 0 && large_.little_used(0)) renew(large_, 0);
  if (registered_memory_.in_use()) registered_memory_.let_go();
}

// Completions that are there already, or are kept back by the kernel for want of room, name blocks of the
// ring as it is: they are taken before its blocks go.
void uring::renew(block_ring& r, std::uint32_t target) {
  if (io_uring_cq_has_overflow(&ring_)) return;
  r.withdraw();
  collect(early_);
  r.renew(target);
}

}  // namespace catenet
