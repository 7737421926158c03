// Moves bytes between two sockets, each direction on its own.
#include "relay_pair.hpp"

#include <catenet/engine/log.hpp>

#include "core_state.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace catenet {

namespace {

constexpr std::size_t block_bytes = 64_KiB;
constexpr std::size_t splice_bytes_max = 1_MiB;  // of one call; the pipe is the real limit
constexpr unsigned pieces_per_turn = 8;          // of one direction, before others have their turn
constexpr std::uint8_t small_pieces_max = 16;    // in a row, then pieces are copied again
constexpr std::uint32_t starved_retry_ms = 10;
constexpr std::uint32_t connect_retry_ms_min = 5;
constexpr std::uint32_t connect_retry_ms_max = 250;
constexpr std::uint32_t told_again_ms = 1000;

bool would_block(ssize_t result) { return result < 0 && (errno == EAGAIN || errno == EINTR); }

// Not what a connection that fails says, but what is said of the call: by a kernel or a filter without it.
bool is_refusal(int code) {
  return code == ENOSYS || code == EINVAL || code == EPERM || code == EACCES || code == EOPNOTSUPP;
}

}  // namespace

void relay_core::connect_has_failed(const endpoint& to, int code) {
  connect_failed.add(1);
  if (told_connecting_ && home.now_ms() - told_ms_ < told_again_ms) {
    ++untold_;
    return;
  }
  std::string line = "relay: " + error{"connect", to.text(), code, "its client was reset"}.text();
  if (untold_ != 0) line += "; " + std::to_string(untold_) + " more failed since this was told last";
  log(log_level::warning, line);
  told_connecting_ = true;
  told_ms_ = home.now_ms();
  untold_ = 0;
}

void relay_pair::start(relay_core& of, int client, int server, const endpoint& to) {
  (new relay_pair(of, client, server, to))->begin();
}

relay_pair::relay_pair(relay_core& of, int client, int server, const endpoint& to)
    : core_(of), to_(to), client_(*this), server_(*this) {
  client_.fd = client;
  server_.fd = server;
  next_ = core_.first;
  if (next_ != nullptr) next_->prev_ = this;
  core_.first = this;
  core_.pairs.add(1);
}

void relay_pair::begin() {
  active_ms_ = core_.home.now_ms();
  if (error e = core_.home.watches().add(client_.fd, client_)) {
    log(log_level::warning, "relay: " + e.text());
    return abort();
  }
  connect();
}

// A UNIX socket whose queue is full says EAGAIN, and tells nobody when there is room: it is tried again.
void relay_pair::connect() {
  const std::uint32_t passed_ms = core_.home.now_ms() - active_ms_;
  const std::uint32_t left_ms = core_.options.connect_ms - std::min(passed_ms, core_.options.connect_ms);
  core_.home.timers().start(*this, left_ms);
  if (::connect(server_.fd, to_.address(), to_.length()) == 0 || errno == EINPROGRESS) {
    error e = core_.home.watches().add(server_.fd, server_);
    if (!e) return;
    log(log_level::warning, "relay: " + e.text());
    return abort();
  }
  if (errno != EAGAIN) return fail_to_connect(errno);
  if (left_ms == 0) return fail_to_connect(EAGAIN);
  const std::uint32_t pause_ms = std::clamp(passed_ms / 4, connect_retry_ms_min, connect_retry_ms_max);
  core_.home.timers().start(*this, std::min(pause_ms, left_ms));
}

void relay_pair::fail_to_connect(int code) {
  core_.connect_has_failed(to_, code);
  abort();
}

relay_pair::~relay_pair() {
  drop_carrier(up_, up_.held == 0);
  drop_carrier(down_, down_.held == 0);
  (prev_ == nullptr ? core_.first : prev_->next_) = next_;
  if (next_ != nullptr) next_->prev_ = prev_;
  core_.pairs.sub(1);
}

void relay_pair::side::ready(bool is_readable, bool is_writable, bool) {
  readable |= is_readable;
  writable |= is_writable;
  if (pair.connecting_ && this == &pair.server_ && (is_readable || is_writable)) return pair.connected();
  pair.pump();
}

void relay_pair::connected() {
  int code = 0;
  socklen_t length = sizeof code;
  getsockopt(server_.fd, SOL_SOCKET, SO_ERROR, &code, &length);
  if (code == 0 && !server_.writable) return;
  connecting_ = false;
  active_ms_ = core_.home.now_ms();
  if (code != 0) return fail_to_connect(code);
  if (core_.options.idle_ms != 0)
    core_.home.timers().start(*this, core_.options.idle_ms);
  else
    stop();
  pump();
}

// As far as it goes in this turn.
void relay_pair::pump() {
  if (connecting_) return;
  const outcome up = up_.done ? outcome::wait : move(up_, client_, server_);
  const outcome down = down_.done ? outcome::wait : move(down_, server_, client_);
  if (up == outcome::source_lost || down == outcome::source_lost) return abort();
  if (up_.done && down_.done) return finish();
  if (up == outcome::more || down == outcome::more || up == outcome::target_lost ||
      down == outcome::target_lost)
    core_.home.watches().again(client_);
}

relay_pair::outcome relay_pair::move(flow& f, side& from, side& to) {
  for (unsigned piece = 0; piece != pieces_per_turn; ++piece) {
    if (f.held == 0 && !f.ended)
      if (const outcome o = fill(f, from); o != outcome::more) return o;
    if (f.held != 0)
      if (const outcome o = drain(f, to); o != outcome::more) return o;
    if (f.ended) {
      if (shutdown(to.fd, SHUT_WR) != 0) return lose_target(f);
      f.done = true;
      return outcome::wait;
    }
  }
  return outcome::more;
}

// The next piece. `more`: there is something to pass on, be it the end.
relay_pair::outcome relay_pair::fill(flow& f, side& from) {
  if (!from.readable) return outcome::wait;
  ssize_t got = 0;
  if (!take_pipe(f) || !splice_in(f, from.fd, got)) {
    if (!take_block(f)) return outcome::wait;
    got = recv(from.fd, f.block.bytes().data(), f.block.bytes().size(), MSG_DONTWAIT);
  }
  if (got > 0) {
    f.held = static_cast<std::size_t>(got);
    active_ms_ = core_.home.now_ms();
    judge(f, f.held);
    return outcome::more;
  }
  const bool empty = would_block(got);
  drop_carrier(f, true);
  if (got == 0) {
    f.ended = true;
    return outcome::more;
  }
  if (!empty) return outcome::source_lost;
  from.readable = false;
  return outcome::wait;
}

// From the socket into the pipe. False when bytes are there that only recv() takes; then the pipe has been
// given back. A splice stops before urgent data and says that nothing is there, or the end: recv() has the
// last word.
bool relay_pair::splice_in(flow& f, int fd, ssize_t& got) {
  const auto splice_some = [&] {
    return splice(fd, nullptr, f.pipe.write, nullptr, splice_bytes_max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  };
  got = splice_some();
  if (got == 0 || would_block(got)) {
    char byte = 0;
    got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got <= 0) return true;
    got = splice_some();
    if (got > 0) return true;
    drop_carrier(f, true);
    return false;
  }
  if (got > 0 || !is_refusal(errno)) return true;
  log(log_level::warning,
      "relay: " + error{"splice", "a socket", errno, "all is copied through blocks from here on"}.text());
  core_.splice_refused = true;
  drop_carrier(f, true);
  return false;
}

// Large pieces are better spliced, small ones better copied. Changes over at once for a large piece, since
// more is likely to follow, and back only after many that are much smaller: to copy a large one costs more
// than to splice a small one.
void relay_pair::judge(flow& f, std::size_t got) {
  if (got >= core_.options.splice_bytes_min) {
    f.splicing = true;
    f.small = 0;
  } else if (got >= core_.options.splice_bytes_min / 4) {
    f.small = 0;
  } else if (f.splicing && ++f.small == small_pieces_max) {
    f.splicing = false;
    f.small = 0;
  }
}

relay_pair::outcome relay_pair::drain(flow& f, side& to) {
  while (f.held != 0) {
    if (!to.writable) return outcome::wait;
    const bool spliced = static_cast<bool>(f.pipe);
    const ssize_t sent =
        spliced ? splice(f.pipe.read, nullptr, to.fd, nullptr, f.held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
                : send(to.fd, f.block.bytes().data() + f.at, f.held, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0) {
      if (!would_block(sent)) return lose_target(f);
      to.writable = false;
      return outcome::wait;
    }
    const auto bytes = static_cast<std::size_t>(sent);
    f.held -= bytes;
    f.at += bytes;
    active_ms_ = core_.home.now_ms();
    const tier how = spliced ? tier::spliced : tier::copied;
    core_.out.add(how, bytes);
    core_.home.count_sent(how, bytes);
  }
  drop_carrier(f, true);
  return outcome::more;
}

// A pipe for the next piece, when it is to be spliced and one is to be had.
bool relay_pair::take_pipe(flow& f) {
  const relay_mode mode = core_.options.mode;
  const bool wanted = mode == relay_mode::splice || (mode == relay_mode::automatic && f.splicing);
  if (!wanted || core_.splice_refused) return false;
  f.pipe = core_.pipes.rent();
  core_.pipes_open.set(core_.pipes.open());
  if (f.pipe) return true;
  core_.pipe_refused.add(1);
  if (!std::exchange(core_.told_refusal, true))
    log(log_level::warning, "relay: no pipe was to be had (" + errno_text(core_.pipes.refusal()) +
                                "); blocks stand in, and their bytes are copied");
  return false;
}

// False when there is none: then it is tried again in a while.
bool relay_pair::take_block(flow& f) {
  f.at = 0;
  f.block = lease::of(block_bytes);
  if (f.block) return true;
  starved_ = true;
  core_.home.timers().start(*this, starved_retry_ms);
  return false;
}

void relay_pair::drop_carrier(flow& f, bool emptied) {
  if (f.pipe) core_.pipes.give(std::exchange(f.pipe, {}), emptied);
  f.block.reset();
  core_.pipes_open.set(core_.pipes.open());
}

// What is inside can no longer be delivered. The other direction goes on until it meets the end: the lost end
// may have said something before.
relay_pair::outcome relay_pair::lose_target(flow& f) {
  drop_carrier(f, f.held == 0);
  f.held = 0;
  f.done = true;
  broken_ = true;
  return outcome::target_lost;
}

void relay_pair::expire() {
  if (connecting_) {
    if (!server_.watching()) return connect();
    return fail_to_connect(ETIMEDOUT);
  }
  if (std::exchange(starved_, false)) {
    if (core_.options.idle_ms != 0) core_.home.timers().start(*this, core_.options.idle_ms);
    return pump();
  }
  const std::uint32_t quiet_ms = core_.home.now_ms() - active_ms_;
  if (quiet_ms >= core_.options.idle_ms) {
    core_.idle_ended.add(1);
    return abort();
  }
  core_.home.timers().start(*this, core_.options.idle_ms - quiet_ms);
}

void relay_pair::abort() {
  broken_ = true;
  finish();
}

void relay_pair::finish() {
  if (broken_) core_.resets.add(1);
  for (side* s : {&client_, &server_}) {
    s->unwatch();
    const linger reset{1, 0};
    if (broken_) setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    ::close(s->fd);
  }
  delete this;
}

}  // namespace catenet
