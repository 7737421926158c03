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
#include <fstream>
#include <string>

namespace catenet {

namespace {

constexpr unsigned submission_entries = 1024;
constexpr unsigned completion_entries = 8192;  // an overflow loses nothing, but costs a system call
constexpr std::uint16_t small_group = 0;
constexpr std::uint16_t large_group = 1;
constexpr std::size_t small_block_bytes = 4_KiB;
constexpr std::size_t large_block_bytes = 256_KiB;
constexpr std::uint32_t large_blocks_max = 16;
constexpr std::uint32_t small_target_min = 64;
constexpr std::size_t read_ahead_bytes_max = 512_KiB;
constexpr std::size_t iovecs_max = 1024;  // UIO_MAXIOV

// Internal tokens, told to nobody.
constexpr std::uint64_t token_of_wake =
    token{operation::wake, 0, 0}.value;  // our read of the wake descriptor
constexpr std::uint64_t token_of_message = token{operation::wake, 0, 1}.value;  // another core's message
constexpr std::uint32_t generation_of_sent_message = 2;  // ours; slot: its wake descriptor

std::string sysctl_value(const char* path) {
  std::ifstream in(path);
  std::string value;
  std::getline(in, value);
  return value;
}

std::string advice_for(int code) {
  const std::string disabled = sysctl_value("/proc/sys/kernel/io_uring_disabled");
  if (!disabled.empty() && disabled != "0" && code == EPERM)
    return "the sysctl kernel.io_uring_disabled is " + disabled + "; set it to 0, or use --io epoll";
  if (code == ENOSYS)
    return "this kernel has no io_uring, or a seccomp profile hides it (Docker's default one does)";
  if (code == EPERM)
    return "a seccomp profile or security module refuses io_uring (Docker's default profile does)";
  if (code == ENOMEM) return "RLIMIT_MEMLOCK is too low for the ring; raise it (ulimit -l)";
  if (code == EINVAL) return "the kernel is older than 6.0, which this back end needs";
  return {};
}

error failed(const char* what, int code) { return {what, "io_uring", code, advice_for(code)}; }

// The rungs of the set-up ladder: the fastest first. DEFER_TASKRUN is 6.1, SINGLE_ISSUER 6.0,
// COOP_TASKRUN 5.19, SUBMIT_ALL 5.18.
struct rung {
  unsigned flags;
  const char* lost;
};
constexpr unsigned base_flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
constexpr rung ladder[] = {
    {base_flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, ""},
    {base_flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN, "deferred task work (kernel 6.1)"},
    {base_flags | IORING_SETUP_COOP_TASKRUN, "deferred task work and single issuer (kernel 6.0)"},
};

int set_up(io_uring& ring, const char*& lost) {
  int result = 0;
  for (const rung& r : ladder) {
    io_uring_params params{};
    params.flags = r.flags;
    params.cq_entries = completion_entries;
    result = io_uring_queue_init_params(submission_entries, &ring, &params);
    lost = r.lost;
    if (result != -EINVAL) break;
  }
  return result;
}

void write_wake(int wake_fd) {
  const std::uint64_t one = 1;
  // Fails only when it is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake_fd, &one, sizeof one);
}

}  // namespace

error probe_uring() {
  io_uring ring{};
  const char* lost = nullptr;
  const int result = set_up(ring, lost);
  if (result < 0) return failed("io_uring_setup", -result);
  io_uring_queue_exit(&ring);
  return {};
}

uring::uring(uring_options options, backend_context context)
    : options_(options), wake_fd_(context.wake_fd), counters_(context.counters) {}

uring::~uring() {
  if (live_) {
    free_block_ring(small_);
    free_block_ring(large_);
    io_uring_queue_exit(&ring_);
  }
}

error uring::start() {
  if (error e = make_ring()) return e;
  if (error e = make_block_ring(small_, small_group, options_.receive_blocks_max, small_block_bytes))
    return e;
  small_.target = std::min(small_target_min, options_.receive_blocks_max);
  if (error e = make_block_ring(large_, large_group, large_blocks_max, large_block_bytes)) return e;
  fill(small_);
  read_wakeups();
  return {};
}

error uring::make_ring() {
  const char* lost = "";
  const int result = set_up(ring_, lost);
  if (result < 0) return failed("io_uring_setup", -result);
  live_ = true;
  if (*lost != '\0') log(log_level::warning, std::string("io_uring: this kernel does without ") + lost);
  if (io_uring_register_ring_fd(&ring_) < 0)
    log(log_level::info, "io_uring: the ring's descriptor could not be registered; each enter looks it up");
  io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
  ring_messages_ = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_MSG_RING) != 0;
  io_uring_free_probe(probe);
  return {};
}

error uring::make_block_ring(block_ring& r, std::uint16_t group, std::uint32_t entries,
                             std::size_t block_bytes) {
  const std::size_t bytes = entries * sizeof(io_uring_buf);
  void* memory = nullptr;
  if (posix_memalign(&memory, 4096, bytes) != 0) return failed("allocate a receive ring", ENOMEM);
  io_uring_buf_reg reg{};
  reg.ring_addr = reinterpret_cast<std::uintptr_t>(memory);
  reg.ring_entries = entries;
  reg.bgid = group;
  if (const int result = io_uring_register_buf_ring(&ring_, &reg, 0); result < 0) {
    free(memory);
    return failed("register a receive ring", -result);
  }
  r.entries = static_cast<io_uring_buf_ring*>(memory);
  io_uring_buf_ring_init(r.entries);
  r.group = group;
  r.cls = pool::current()->classes().fitting(block_bytes);
  r.lent.assign(entries, nullptr);
  r.idle.reserve(entries);
  for (std::uint32_t id = entries; id != 0; --id) r.idle.push_back(static_cast<std::uint16_t>(id - 1));
  return {};
}

void uring::free_block_ring(block_ring& r) {
  if (r.entries == nullptr) return;
  io_uring_unregister_buf_ring(&ring_, r.group);
  for (std::uint16_t id = 0; id != r.lent.size(); ++id)
    if (r.lent[id] != nullptr) lease{take(r, id)}.reset();
  free(r.entries);
}

// Lends blocks to the kernel up to the target; when the slab has none, with what there is.
void uring::fill(block_ring& r) {
  pool& p = *pool::current();
  int added = 0;
  while (r.lent.size() - r.idle.size() < r.target) {
    block* b = p.rent_for(r.cls, priority::read);  // never before a stream that waits for one
    if (b == nullptr) break;
    lend(r, b, added++);
  }
  if (added != 0) io_uring_buf_ring_advance(r.entries, added);
}

// Lays a block into the ring, `place` places behind what the kernel was told of last.
void uring::lend(block_ring& r, block* b, int place) {
  pool::current()->lend(b);
  const std::uint16_t id = r.idle.back();
  r.idle.pop_back();
  r.lent[id] = b;
  io_uring_buf_ring_add(r.entries, b->data, static_cast<unsigned>(b->capacity()), id,
                        static_cast<int>(r.lent.size()) - 1, place);
}

void uring::offer(lease block) {
  if (small_.idle.empty()) return;
  lend(small_, block.release(), 0);
  io_uring_buf_ring_advance(small_.entries, 1);
}

block* uring::take(block_ring& r, std::uint16_t id) {
  block* b = std::exchange(r.lent[id], nullptr);
  r.idle.push_back(id);
  ++r.taken_in_turn;
  pool::current()->unlend(b);
  return b;
}

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
  io_uring_sqe_set_data64(s, t.value);
}

void uring::receive_large(int fd, token t, std::uint64_t bytes_max) {
  if (large_.target == 0) {
    large_.target = large_blocks_max / 2;
    fill(large_);
  }
  io_uring_sqe* s = sqe(t);
  // MSG_WAITALL: one completion a block, not one for each segment of the network.
  io_uring_prep_recv(s, fd, nullptr, std::min<std::uint64_t>(bytes_max, large_block_bytes), MSG_WAITALL);
  s->flags |= IOSQE_BUFFER_SELECT;
  s->buf_group = large_group;
  io_uring_sqe_set_data64(s, t.value);
}

void uring::poll_readable(int fd, token t) {
  io_uring_sqe* s = sqe(t);
  io_uring_prep_poll_add(s, fd, POLLIN | POLLRDHUP);
  io_uring_sqe_set_data64(s, t.value);
}

void uring::poll_writable(int fd, token t) {
  io_uring_sqe* s = sqe(t);
  io_uring_prep_poll_add(s, fd, POLLOUT);
  io_uring_sqe_set_data64(s, t.value);
}

void uring::send(int fd, token t, const chain& bytes, bool more_follows) {
  io_uring_sqe* s = sqe(t);
  // MSG_WAITALL makes the kernel go on after a short write until all is sent (io_uring.md).
  const int flags = MSG_NOSIGNAL | MSG_WAITALL | (more_follows ? MSG_MORE : 0);
  const segment* first = bytes.head();
  if (first->next == nullptr || first->next->kind == segment_kind::file) {
    io_uring_prep_send(s, fd, first->data, first->length, flags);
  } else {
    if (messages_used_ == messages_.size()) messages_.push_back(std::make_unique<message>());
    message& m = *messages_[messages_used_++];
    m.parts.resize(std::min(bytes.segment_count(), iovecs_max));
    const chain::exported sum = bytes.to_iovecs(m.parts);
    m.header = {};
    m.header.msg_iov = m.parts.data();
    m.header.msg_iovlen = sum.count;
    io_uring_prep_sendmsg(s, fd, &m.header, static_cast<unsigned>(flags));
  }
  io_uring_sqe_set_data64(s, t.value);
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
  if (target == nullptr || !ring_messages_) {
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

// A buffered read that misses the cache goes on in the background. What it read is of no interest, only that
// the pages are there now; so all such reads share one piece of memory.
bool uring::read_ahead(token t, int file, std::uint64_t offset, std::size_t length) {
  scratch_.resize(read_ahead_bytes_max);  // once: reads that are under way have its address
  length = std::min(length, scratch_.size());
  io_uring_sqe* s = sqe(t);
  io_uring_prep_read(s, file, scratch_.data(), static_cast<unsigned>(length), offset);
  io_uring_sqe_set_data64(s, t.value);
  return true;
}

void uring::enter(std::int64_t timeout_ms) {
  counters_.enters.add(1);
  int result = 0;
  if (timeout_ms == 0) {
    result = io_uring_submit_and_get_events(&ring_);
  } else if (timeout_ms < 0) {
    result = io_uring_submit_and_wait(&ring_, 1);
  } else {
    __kernel_timespec limit{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000};
    io_uring_cqe* first = nullptr;
    result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr);
  }
  // Interrupted, timed out, or completions to be taken first: the next turn carries on.
  if (result < 0 && result != -EINTR && result != -ETIME && result != -EAGAIN && result != -EBUSY)
    log(log_level::error, "io_uring_enter: " + errno_text(-result));
}

void uring::wait(std::vector<completion>& into, std::int64_t timeout_ms) {
  // A block that handlers gave back in this turn is the first to be lent again, still warm.
  fill(small_);
  if (large_.target != 0) fill(large_);
  small_.taken_in_turn = 0;
  enter(timeout_ms);
  messages_used_ = 0;
  collect(into);
  // A turn that took most of the ring might have taken more: lend twice as many from now on.
  const auto entries = static_cast<std::uint32_t>(small_.lent.size());
  if (small_.taken_in_turn * 4 > small_.target * 3) small_.target = std::min(small_.target * 2, entries);
}

void uring::collect(std::vector<completion>& into) {
  unsigned head = 0;
  unsigned seen = 0;
  io_uring_cqe* c = nullptr;
  io_uring_for_each_cqe(&ring_, head, c) {
    ++seen;
    const token about{c->user_data};
    if (about.what() == operation::wake) {
      if (c->user_data == token_of_wake) read_wakeups();
      // A message that could not be posted (no memory, a full ring): the descriptor is the other way.
      if (about.generation() == generation_of_sent_message && c->res < 0)
        write_wake(static_cast<int>(about.slot()));
      continue;
    }
    into.push_back(translate(*c));
  }
  io_uring_cq_advance(&ring_, seen);
  counters_.completions.add(seen);
}

completion uring::translate(const io_uring_cqe& c) {
  completion done{token{c.user_data}, c.res, (c.flags & IORING_CQE_F_MORE) != 0, nullptr};
  const operation what = done.about.what();
  if (what != operation::receive && what != operation::receive_large) return done;
  if (c.res == -ENOBUFS) counters_.out_of_blocks.add(1);
  if ((c.flags & IORING_CQE_F_BUFFER) != 0)
    done.data = take(what == operation::receive ? small_ : large_,
                     static_cast<std::uint16_t>(c.flags >> IORING_CQE_BUFFER_SHIFT));
  return done;
}

}  // namespace catenet
