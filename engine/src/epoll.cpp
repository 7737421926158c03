// How each operation is done with readiness instead of completion. Sockets are read and written with
// MSG_DONTWAIT.
#include "epoll.hpp"

#include <catenet/engine/log.hpp>
#include <catenet/slab/pool.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace catenet {

namespace {

constexpr std::size_t events_max = 512;
constexpr std::size_t small_block_bytes = 4_KiB;
constexpr std::size_t wide_block_bytes = 64_KiB;
constexpr std::size_t large_block_bytes = 256_KiB;
constexpr std::size_t bytes_per_turn = 256_KiB;  // read from one socket before others have their turn
constexpr std::size_t iovecs_per_send = 64;  // a socket takes rarely more at once; the rest is asked again
constexpr unsigned accepts_per_turn = 64;

// What an event is about: the entry's slot and generation, or one of these kinds in the upper byte.
constexpr std::uint64_t kind_of_listener = std::uint64_t{1} << 56;
constexpr std::uint64_t kind_of_wake = std::uint64_t{2} << 56;

bool none(token t) { return t.value == 0; }

}  // namespace

epoll::epoll(backend_context context)
    : counters_(context.counters), wake_fd_(context.wake_fd), files_(context.wake_fd) {}

epoll::~epoll() {
  for (const completion& c : done_)
    if (c.data != nullptr) lease{c.data}.reset();
  while (stocked_ != 0) {
    pool::current()->unlend(stock_[--stocked_]);
    lease{stock_[stocked_]}.reset();
  }
  while (free_work_ != nullptr) delete std::exchange(free_work_, free_work_->next);
  if (epoll_fd_ >= 0) ::close(epoll_fd_);
}

error epoll::start() {
  small_ = pool::current()->classes().fitting(small_block_bytes);
  wide_ = pool::current()->classes().fitting(wide_block_bytes);
  large_ = pool::current()->classes().fitting(large_block_bytes);
  events_.resize(events_max);
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd_ < 0) return {"epoll_create1", "", errno, "raise the limit of open descriptors (ulimit -n)"};
  // Edge-triggered, so each write to the eventfd is an event and nobody has to read it.
  epoll_event event{EPOLLIN | EPOLLET, {.u64 = kind_of_wake}};
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) != 0)
    return {"epoll_ctl", "the wake descriptor", errno, {}};
  return {};
}

void epoll::tell(token t, std::int32_t result, bool more, block* data) {
  done_.push_back({t, result, more, data});
}

// ---- entries

// The entry of a descriptor; with its first operation it is registered. Null when that failed, which is then
// told.
epoll::entry* epoll::enter(int fd, token t) {
  counters_.submissions.add(1);
  while (t.slot() >= entries_.size() * entries_per_piece)
    entries_.push_back(std::make_unique<entry[]>(entries_per_piece));
  entry& e = at(t.slot());
  if (e.generation == t.generation()) return &e;
  e = {};
  epoll_event event{EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                    {.u64 = std::uint64_t{t.generation()} << 32 | t.slot()}};
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    tell(t, -errno);
    return nullptr;
  }
  e.fd = fd;
  e.generation = t.generation() & 0xffffff;
  return &e;
}

epoll::entry* epoll::find(token t) {
  if (t.slot() >= entries_.size() * entries_per_piece || at(t.slot()).generation != t.generation())
    return nullptr;
  return &at(t.slot());
}

epoll::busy& epoll::work_of(entry& e) {
  if (e.work != nullptr) return *e.work;
  if (free_work_ == nullptr) {
    e.work = new busy;
  } else {
    e.work = std::exchange(free_work_, free_work_->next);
    *e.work = {};
  }
  return *e.work;
}

void epoll::release(entry& e) {
  if (e.work == nullptr || !none(e.work->writer) || e.work->large_max != 0) return;
  e.work->next = free_work_;
  free_work_ = std::exchange(e.work, nullptr);
}

void epoll::finish_reader(entry& e, std::int32_t result, block* data) {
  tell(std::exchange(e.reader, token{}), result, false, data);
}

void epoll::finish_writer(entry& e, std::int32_t result) {
  tell(std::exchange(e.work->writer, token{}), result);
  release(e);
}

// ---- asking

void epoll::list(entry& e) {
  if (e.listed != 0 || e.readable == 0 || none(e.reader)) return;
  e.listed = 1;
  ready_.push_back(e.reader.slot());
}

// First asked, then registered: a socket that nobody has asked to connect looks as if it had hung up.
void epoll::connect(int fd, token t, const endpoint& to) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  const int result = ::connect(fd, to.address(), to.length()) == 0 ? 0 : -errno;
  counters_.enters.add(1);
  entry* e = enter(fd, t);
  if (e == nullptr) return;
  if (result == -EINPROGRESS || result == -EINTR)
    work_of(*e).writer = t;
  else
    tell(t, result);
}

void epoll::receive(int fd, token t) { begin_receive(fd, t, false); }
void epoll::receive_once(int fd, token t) { begin_receive(fd, t, true); }

void epoll::begin_receive(int fd, token t, bool once) {
  entry* e = enter(fd, t);
  if (e == nullptr) return;
  e->reader = t;
  e->once = once ? 1 : 0;
  list(*e);
}

void epoll::receive_large(int fd, token t, std::uint64_t bytes_max) {
  entry* e = enter(fd, t);
  if (e == nullptr) return;
  e->reader = t;
  busy& w = work_of(*e);
  w.large_max = std::min<std::uint64_t>(bytes_max, large_block_bytes);
  w.large_filled = 0;
  list(*e);
}

void epoll::receive_wide(int fd, token t) { begin_receive(fd, t, true); }

void epoll::poll_readable(int fd, token t) { receive(fd, t); }

void epoll::poll_writable(int fd, token t) {
  entry* e = enter(fd, t);
  if (e == nullptr) return;
  work_of(*e).writer = t;
  // The edge of a full socket is to come, or on its way already; but a send that ended short because the
  // connection broke has used up its last.
  pollfd now{fd, POLLOUT, 0};
  if (::poll(&now, 1, 0) > 0) finish_writer(*e, now.revents);
}

void epoll::send(int fd, token t, const chain& bytes, bool more_follows) {
  entry* e = enter(fd, t);
  if (e == nullptr) return;
  busy& w = work_of(*e);
  w.writer = t;
  w.at = bytes.head();
  w.offset = 0;
  w.sent = 0;
  w.more_follows = more_follows;
  write(*e);
}

void epoll::cancel(token t) {
  counters_.submissions.add(1);
  if (t.what() == operation::accept) {
    if (t.slot() < listeners_.size() && listeners_[t.slot()].t.value == t.value)
      stop_accepting(listeners_[t.slot()], -ECANCELED);
    return;
  }
  entry* e = find(t);
  if (e == nullptr) return;
  if (e->reader.value == t.value) {
    if (t.what() == operation::receive_large) return end_large(*e, -ECANCELED);
    finish_reader(*e, -ECANCELED);
  } else if (e->work != nullptr && e->work->writer.value == t.value) {
    finish_writer(*e, e->work->sent != 0 ? static_cast<std::int32_t>(e->work->sent) : -ECANCELED);
  }
}

void epoll::close(int fd, token t) {
  counters_.submissions.add(1);
  ::close(fd);  // and with it its registration
  if (entry* e = find(t)) e->generation = 0;
  tell(t, 0);
}

void epoll::wake_peer(backend&, int wake_fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written =
      ::write(wake_fd, &one, sizeof one);  // fails only when it is awake anyway
}

// ---- accepting

// Level-triggered, so that what is left over is told again; exclusive, as cores may share a UNIX socket.
void epoll::accept(int fd, token t) {
  counters_.submissions.add(1);
  if (t.slot() >= listeners_.size()) listeners_.resize(t.slot() + 1u);
  listener& l = listeners_[t.slot()];
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  epoll_event event{EPOLLIN | EPOLLEXCLUSIVE, {.u64 = kind_of_listener | t.slot()}};
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) return tell(t, -errno);
  l = {t, fd, false};
}

// Also when no descriptor was left: a registration that stays ready would keep the loop busy.
void epoll::stop_accepting(listener& l, std::int32_t result) {
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, l.fd, nullptr);
  tell(std::exchange(l.t, token{}), result);
}

void epoll::accept_some(listener& l) {
  for (unsigned i = 0; i != accepts_per_turn && !none(l.t); ++i) {
    const int fd = accept4(l.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
      tell(l.t, fd, true);
    else if (errno == EAGAIN)
      return;
    else if (errno != EINTR && errno != ECONNABORTED)
      return stop_accepting(l, -errno);
  }
}

// ---- waiting

void epoll::wait(std::vector<completion>& into, std::int64_t timeout_ms) {
  // Ends of sends alone need no look into the kernel, but not twice in a row: others are waiting there.
  skipped_ = !done_.empty() && !skipped_ && ready_.empty();
  if (!skipped_) wait_for_events(done_.empty() && ready_.empty() ? timeout_ms : 0);
  serve_ready();
  files_.collect(done_);
  counters_.completions.add(done_.size());
  into.insert(into.end(), done_.begin(), done_.end());
  done_.clear();
}

bool epoll::read_ahead(token t, int file, std::uint64_t offset, std::size_t length) {
  return files_.ask(t, file, offset, length) || backend::read_ahead(t, file, offset, length);
}

void epoll::wait_for_events(std::int64_t timeout_ms) {
  counters_.enters.add(1);
  const int limit = static_cast<int>(std::min<std::int64_t>(timeout_ms, 1 << 30));
  const int count = epoll_wait(epoll_fd_, events_.data(), static_cast<int>(events_.size()), limit);
  if (count < 0 && errno != EINTR) log(log_level::error, "epoll_wait: " + errno_text(errno));
  for (int i = 0; i < count; ++i) on_event(events_[static_cast<std::size_t>(i)]);
}

void epoll::on_event(const epoll_event& event) {
  const std::uint64_t about = event.data.u64;
  if (about == kind_of_wake) return;
  if ((about & kind_of_listener) != 0) return accept_some(listeners_[static_cast<std::uint32_t>(about)]);
  entry& e = at(static_cast<std::uint32_t>(about));
  if (e.generation != static_cast<std::uint32_t>(about >> 32))
    return;  // closed here, open elsewhere (a fork)
  if ((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) e.ended = 1;
  if ((event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    e.readable = 1;
    list(e);
  }
  if (e.work == nullptr || none(e.work->writer) || (event.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) == 0)
    return;
  if (e.work->writer.what() == operation::writable)
    finish_writer(e, 1);
  else if (e.work->writer.what() == operation::connect)
    look_at_connect(e);
  else
    write(e);
}

// ---- receiving

void epoll::serve_ready() {
  serving_.swap(ready_);
  for (const std::uint32_t slot : serving_) {
    entry& e = at(slot);
    e.listed = 0;
    if (e.readable == 0 || none(e.reader)) continue;          // asked for no longer
    if (e.reader.what() == operation::watch) e.readable = 0;  // nobody reads it: the next event is a new edge
    if (e.reader.what() == operation::poll || e.reader.what() == operation::watch)
      finish_reader(e, 1);
    else if (e.reader.what() == operation::receive_large)
      read_large(e);
    else if (e.reader.what() == operation::receive_wide)
      read_wide(e);
    else
      read(e);
    list(e);
  }
  serving_.clear();
}

// Reads one block; when that was filled, several at a time.
void epoll::read(entry& e) {
  std::size_t blocks = 1;
  for (std::size_t room = bytes_per_turn; room != 0 && read_once(e, blocks) && e.once == 0;
       blocks = blocks_per_read)
    room -= std::min(room, blocks * small_block_bytes);
}

// Blocks for the next read, as many as wanted or as there are.
bool epoll::stock(std::size_t blocks) {
  pool& p = *pool::current();
  while (stocked_ < blocks) {
    block* b = p.rent_for(small_, priority::read);  // never before a stream that waits for one
    if (b == nullptr) break;
    p.lend(b);
    stock_[stocked_++] = b;
  }
  return stocked_ != 0;
}

void epoll::offer(lease block) {
  if (stocked_ == stock_.size()) return;
  pool::current()->lend(block.get());
  stock_[stocked_++] = block.release();
}

// Whether there may be more.
bool epoll::read_once(entry& e, std::size_t blocks) {
  if (!stock(blocks)) {
    counters_.out_of_blocks.add(1);
    finish_reader(e, -ENOBUFS);
    return false;
  }
  blocks = std::min(blocks, stocked_);
  std::array<iovec, blocks_per_read> parts;
  std::size_t room = 0;
  for (std::size_t i = 0; i != blocks; ++i) {
    const block* b = stock_[stocked_ - 1 - i];
    parts[i] = {b->data, b->capacity()};
    room += b->capacity();
  }
  msghdr header{};
  header.msg_iov = parts.data();
  header.msg_iovlen = blocks;
  const ssize_t got = blocks == 1 ? recv(e.fd, parts[0].iov_base, parts[0].iov_len, MSG_DONTWAIT)
                                  : recvmsg(e.fd, &header, MSG_DONTWAIT);
  counters_.enters.add(1);
  if (got < 0 && errno == EINTR) return true;
  if (got < 0 && errno == EAGAIN) {
    e.readable = 0;
    return false;
  }
  if (got <= 0) {
    finish_reader(e, got < 0 ? -errno : 0);
    return false;
  }
  for (auto left = static_cast<std::size_t>(got); left != 0;) {
    block* b = stock_[--stocked_];
    pool::current()->unlend(b);
    const std::size_t part = std::min(left, b->capacity());
    left -= part;
    if (e.once == 0)
      tell(e.reader, static_cast<std::int32_t>(part), true, b);
    else
      finish_reader(e, static_cast<std::int32_t>(part), b);
  }
  if (static_cast<std::size_t>(got) == room || e.ended != 0) return true;
  e.readable = 0;  // it is empty, or a new edge has come already
  return false;
}

// What there is, into a wide block that was used a moment ago and is warm.
void epoll::read_wide(entry& e) {
  lease into{pool::current()->rent_for(wide_, priority::read)};
  if (!into) {
    counters_.out_of_blocks.add(1);
    return finish_reader(e, -ENOBUFS);
  }
  ssize_t got = 0;
  do {
    got = recv(e.fd, into.get()->data, into.get()->capacity(), MSG_DONTWAIT);
    counters_.enters.add(1);
  } while (got < 0 && errno == EINTR);
  const bool drained = got < 0 ? errno == EAGAIN : static_cast<std::size_t>(got) < into.get()->capacity();
  if (drained && (got < 0 || e.ended == 0)) e.readable = 0;
  if (got > 0) return finish_reader(e, static_cast<std::int32_t>(got), into.release());
  if (got == 0 || errno != EAGAIN) finish_reader(e, got < 0 ? -errno : 0);
}

// Into one large block until it is full, over as many turns as it takes.
void epoll::read_large(entry& e) {
  busy& w = *e.work;
  pool& p = *pool::current();
  if (w.large == nullptr) {
    w.large = p.rent(large_);
    if (w.large == nullptr) {
      counters_.out_of_blocks.add(1);
      return end_large(e, -ENOBUFS);
    }
    p.lend(w.large);
    w.large_max = std::min<std::uint64_t>(w.large_max, w.large->capacity());
  }
  while (w.large_filled != w.large_max) {
    const ssize_t got =
        recv(e.fd, w.large->data + w.large_filled, w.large_max - w.large_filled, MSG_DONTWAIT);
    counters_.enters.add(1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      e.readable = 0;
      return;
    }
    if (got <= 0) return end_large(e, got < 0 ? -errno : 0);
    w.large_filled += static_cast<std::uint64_t>(got);
  }
  end_large(e, 0);
}

// What was received counts more than why it ended: an error or an end is met again by the next receive.
void epoll::end_large(entry& e, std::int32_t result) {
  busy& w = *e.work;
  block* data = std::exchange(w.large, nullptr);
  if (data != nullptr) pool::current()->unlend(data);
  if (data != nullptr && w.large_filled == 0) lease{std::exchange(data, nullptr)}.reset();
  finish_reader(e, data != nullptr ? static_cast<std::int32_t>(w.large_filled) : result, data);
  w.large_max = 0;
  release(e);
}

// ---- connecting and sending

// There is news of a connection under way: it stands, it failed, or the event came too early.
void epoll::look_at_connect(entry& e) {
  int code = 0;
  socklen_t length = sizeof code;
  getsockopt(e.fd, SOL_SOCKET, SO_ERROR, &code, &length);
  sockaddr_storage peer{};
  length = sizeof peer;
  if (code == 0 && getpeername(e.fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return;
  finish_writer(e, -code);
}

// Sends on until all is sent, the socket is full, or it fails.
void epoll::write(entry& e) {
  busy& w = *e.work;
  while (w.at != nullptr && w.at->kind != segment_kind::file) {
    std::array<iovec, iovecs_per_send> parts;
    std::size_t count = 0;
    std::uint32_t offset = w.offset;
    const segment* s = w.at;
    for (; s != nullptr && s->kind != segment_kind::file && count != parts.size(); s = s->next) {
      parts[count++] = {s->data + offset, s->length - offset};
      offset = 0;
    }
    msghdr header{};
    header.msg_iov = parts.data();
    header.msg_iovlen = count;
    const bool more = w.more_follows || s != nullptr;
    const ssize_t sent = sendmsg(e.fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    counters_.enters.add(1);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    // Bytes that went out before it failed are told; the next send meets the failure again.
    if (sent < 0) return finish_writer(e, w.sent != 0 ? static_cast<std::int32_t>(w.sent) : -errno);
    w.sent += static_cast<std::uint64_t>(sent);
    for (auto n = static_cast<std::uint64_t>(sent) + w.offset; w.at != nullptr; w.at = w.at->next) {
      w.offset = static_cast<std::uint32_t>(n);
      if (n < w.at->length) break;
      n -= w.at->length;
      w.offset = 0;
    }
  }
  finish_writer(e, static_cast<std::int32_t>(w.sent));
}

}  // namespace catenet
