// How an input's frames are found complete: in its pipe where that is cheaper, else in memory.
#include "source.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace catenet::merge {

namespace {

constexpr std::uint64_t gather_bytes = 64_KiB;  // read at once
constexpr std::uint64_t frames_in_pipe_min = 8;
constexpr std::uint64_t pipe_bytes_max = 1_MiB;  // fs.pipe-max-size, for those without privileges
// A frame that does not grow in its pipe for so long is taken into memory: the pipe may have run out of
// slots, which many small writes use up long before its bytes.
constexpr std::uint32_t stuck_ms = 20;
constexpr std::uint32_t rate_period_ms = 1000;
constexpr std::uint32_t memory_retry_ms = 10;

}  // namespace

source::source(core& on, source_owner& owner, int fd, std::string named, std::uint32_t weighs)
    : name(std::move(named)), weight(std::max(weighs, 1u)), core_(on), owner_(owner), fd_(fd) {
  struct stat about {};
  if (fstat(fd_, &about) != 0) return;
  if (S_ISREG(about.st_mode)) kind_ = kind::file;
  if (S_ISFIFO(about.st_mode)) kind_ = kind::pipe;
  if (S_ISSOCK(about.st_mode)) kind_ = kind::socket;
  if (kind_ == kind::pipe) capacity_ = static_cast<std::uint64_t>(std::max(0, fcntl(fd_, F_GETPIPE_SZ)));
}

source::~source() { close(); }

error source::start() {
  struct stat about {};
  if (fstat(fd_, &about) == 0 && S_ISDIR(about.st_mode))
    return {"read", name, EISDIR, "an input is a pipe, a socket, a terminal or a file"};
  error e = core_.watches().add(fd_, *this);
  if (e && e.code == EPERM) e = {};  // a regular file, or a device like it: always ready
  return e;
}

void source::close() {
  unwatch();
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void source::ready(bool, bool, bool) {
  if (!over_) owner_.on_ready(*this);
}

std::uint64_t source::present() const {
  int there = 0;
  return ioctl(fd_, FIONREAD, &there) == 0 ? static_cast<std::uint64_t>(there) : 0;
}

// Whether there is a whole frame. Takes in what there is, as far as that is the way to get one.
bool source::look() {
  while (!over_) {
    if (whole_ != 0 || in_pipe_ != 0) return true;
    if (kind_ == kind::pipe && !gathering_) {
      if (look_into_pipe()) return true;
      if (over_ || awaiting_) return false;
    }
    const std::uint64_t missing = front_total_ == 0 ? 0 : front_total_ - gathered_.bytes();
    const got g = gather(std::max(missing, gather_bytes));
    if (g == got::nothing) {
      if (!gathered_.empty()) wait_for_rest();
      return false;
    }
    if (g == got::end) {
      end_of_input();
      return false;
    }
    if (g == got::failed) {
      evict("reading failed: " + errno_text(errno));
      return false;
    }
    if (!parse_gathered()) return false;
  }
  return false;
}

// A pipe's front frame, when it is long enough to be spliced. False and not awaiting: it is to be gathered.
bool source::look_into_pipe() {
  awaiting_ = false;
  if (gathered_.empty()) {
    frame::header h;
    if (peek(h) != got::something) return false;
    if (frame::is_fatal(h.what) || h.payload_bytes > owner_.how.frame_bytes_max) {
      evict(std::string(text(frame::is_fatal(h.what) ? h.what : frame::status::too_long)));
      return false;
    }
    if (h.what != frame::status::frame) return false;
    front_total_ = h.header_bytes + h.payload_bytes;
  }
  if (front_total_ == 0) return false;
  const std::uint64_t missing = front_total_ - gathered_.bytes();
  if (missing < owner_.how.splice_bytes_min) return false;
  make_room(missing);
  const std::uint64_t there = present();
  if (there >= missing) {
    in_pipe_ = missing;
    timed_ = false;
    stop();
    return true;
  }
  const bool stuck = std::exchange(overdue_, false) && there == seen_;
  if (missing > capacity_ || stuck) {
    gathering_ = true;
    return false;
  }
  awaiting_ = true;
  seen_ = there;
  wait_for_rest();
  return false;
}

// The first bytes of the pipe, without taking them. `something`: h says what they are, be it `more`.
source::got source::peek(frame::header& h) {
  std::array<std::byte, frame::header_bytes_limit> start;
  const ssize_t copied = tee(fd_, owner_.spy_write, owner_.how.how->header_bytes_max, SPLICE_F_NONBLOCK);
  if (copied == 0) return got::end;
  if (copied < 0) return got::nothing;
  const ssize_t there = read(owner_.spy_read, start.data(), static_cast<std::size_t>(copied));
  if (there != copied) return got::nothing;
  h = owner_.how.how->parse({start.data(), static_cast<std::size_t>(there)});
  return got::something;
}

// A FIFO that nobody has opened for writing yet reads as ended, but has not hung up.
bool source::has_writer() const {
  pollfd p{fd_, POLLIN, 0};
  return poll(&p, 1, 0) >= 0 && (p.revents & POLLHUP) == 0;
}

// Whether a read would not wait: what is no regular file may be another's blocking one, such as a terminal.
bool source::can_read() const {
  pollfd p{fd_, POLLIN, 0};
  return kind_ == kind::file || poll(&p, 1, 0) == 1;
}

// A source with a large weight sends several frames in its turn, so its pipe has to hold several: else it has
// less to send than it is due, however fast its writer is.
void source::make_room(std::uint64_t frame_bytes) {
  if (frame_bytes * frames_in_pipe_min <= capacity_ || capacity_ >= pipe_bytes_max) return;
  if (fcntl(fd_, F_SETPIPE_SZ, static_cast<int>(pipe_bytes_max)) < 0) return;
  capacity_ = static_cast<std::uint64_t>(std::max(0, fcntl(fd_, F_GETPIPE_SZ)));
}

// Reads what is there into memory, at most about `wanted` bytes.
source::got source::gather(std::uint64_t wanted) {
  if (kind_ == kind::pipe) {
    // A read would wait if the pipe is another's blocking one: so first see whether there is anything.
    const ssize_t any = tee(fd_, owner_.spy_write, 1, SPLICE_F_NONBLOCK);
    if (any == 0) return has_writer() ? got::nothing : got::end;
    if (any < 0) return got::nothing;
    char byte = 0;
    [[maybe_unused]] const ssize_t drained = read(owner_.spy_read, &byte, 1);
  } else if (kind_ == kind::other && !can_read()) {
    return got::nothing;
  }
  reservation room = gathered_.reserve(1);
  if (room.bytes().size() < 4_KiB) room = gathered_.reserve(std::min<std::uint64_t>(wanted, gather_bytes));
  if (!room) {
    wait_for_memory();
    return got::nothing;
  }
  hunger_.stop();
  return read_into(std::move(room), wanted);
}

source::got source::read_into(reservation room, std::uint64_t most) {
  const std::size_t wanted = std::min<std::uint64_t>(room.bytes().size(), most);
  ssize_t count = 0;
  do
    count = kind_ == kind::socket ? recv(fd_, room.bytes().data(), wanted, MSG_DONTWAIT)
                                  : read(fd_, room.bytes().data(), wanted);
  while (count < 0 && errno == EINTR);
  if (count > 0) {
    room.commit(static_cast<std::size_t>(count));
    return got::something;
  }
  if (count == 0) return got::end;
  if (errno != EAGAIN) return got::failed;
  return got::nothing;
}

// Finds how much of what was gathered is whole frames. False when the input was evicted.
bool source::parse_gathered() {
  for (;;) {
    std::array<std::byte, frame::header_bytes_limit> start;
    const std::size_t there = gathered_.copy_to(start, whole_);
    if (there == 0) {
      front_total_ = 0;
      gathering_ = false;
      break;
    }
    const frame::header h = owner_.how.how->parse({start.data(), there});
    if (frame::is_fatal(h.what) || h.payload_bytes > owner_.how.frame_bytes_max) {
      const frame::status why = frame::is_fatal(h.what) ? h.what : frame::status::too_long;
      if (whole_ == 0) {
        evict(std::string(text(why)));
        return false;
      }
      break;  // what is whole before it goes out first
    }
    front_total_ = h.what == frame::status::frame ? h.header_bytes + h.payload_bytes : 0;
    if (front_total_ == 0 || gathered_.bytes() - whole_ < front_total_) break;
    whole_ += front_total_;
    gathering_ = false;
  }
  if (whole_ == 0) return true;
  timed_ = false;
  stop();
  return true;
}

item source::next(std::uint64_t budget) {
  item made;
  if (!look() || over_) return made;
  if (whole_ == 0) {
    made.memory = std::move(gathered_);
    made.in_pipe = std::exchange(in_pipe_, 0);
    made.frames = 1;
    front_total_ = 0;
    seen_ = 0;
    return made;
  }
  std::uint64_t cut = 0;
  while (cut < whole_) {
    std::array<std::byte, frame::header_bytes_limit> start;
    const std::size_t there = gathered_.copy_to(start, cut);
    const frame::header h = owner_.how.how->parse({start.data(), there});
    const std::uint64_t total = h.header_bytes + h.payload_bytes;
    if (cut + total > budget && made.frames != 0) break;
    cut += total;
    ++made.frames;
  }
  std::optional<chain> front = gathered_.split(cut);
  if (!front) {
    wait_for_memory();
    return {};
  }
  made.memory = std::move(*front);
  whole_ -= cut;
  if (whole_ == 0 && !gathered_.empty()) {
    gathered_.compact();
    parse_gathered();
  }
  return made;
}

chain source::read_out(std::uint64_t wanted) {
  chain taken;
  while (taken.bytes() != wanted) {
    reservation room = taken.reserve(std::min<std::uint64_t>(wanted - taken.bytes(), gather_bytes));
    if (!room) return {};
    const ssize_t count =
        read(fd_, room.bytes().data(), std::min<std::uint64_t>(room.bytes().size(), wanted - taken.bytes()));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return {};
    room.commit(static_cast<std::size_t>(count));
  }
  return taken;
}

// An unfinished frame: its clock runs, and it is looked at again even if nothing more is told.
void source::wait_for_rest() {
  if (!timed_) {
    timed_ = true;
    since_ms_ = owner_.charged_ms();
  }
  std::uint32_t delay_ms = timer_wheel::delay_ms_max;
  if (awaiting_) delay_ms = stuck_ms;
  const std::uint32_t passed = owner_.charged_ms() - since_ms_;
  if (owner_.how.deadline_ms != 0)
    delay_ms = std::min(delay_ms, passed >= owner_.how.deadline_ms ? 1 : owner_.how.deadline_ms - passed);
  if (owner_.how.rate_min != 0) delay_ms = std::min(delay_ms, rate_period_ms - passed % rate_period_ms);
  if (delay_ms != timer_wheel::delay_ms_max) core_.timers().start(*this, delay_ms);
}

void source::expire() {
  if (over_) return;
  if (timed_) {
    const std::uint32_t passed = owner_.charged_ms() - since_ms_;
    const std::uint64_t grown = gathered_.bytes() + (kind_ == kind::pipe ? present() : 0);
    if (owner_.how.deadline_ms != 0 && passed >= owner_.how.deadline_ms)
      return evict("a frame took longer than " + std::to_string(owner_.how.deadline_ms) + " ms");
    if (owner_.how.rate_min != 0 && passed >= rate_period_ms && grown * 1000 / passed < owner_.how.rate_min)
      return evict("a frame grew by less than " + std::to_string(owner_.how.rate_min) + " bytes/s");
  }
  overdue_ = awaiting_;
  owner_.on_ready(*this);
}

void source::wait_for_memory() {
  if (!hunger_.armed()) core_.timers().start(hunger_, memory_retry_ms);
}

std::uint64_t source::holds_back() const {
  return over_ || whole_ != 0 || in_pipe_ != 0 ? 0 : gathered_.bytes();
}

void source::let_go() {
  gathered_.clear();
  whole_ = in_pipe_ = 0;
  stop();
  hunger_.stop();
  close();
}

void source::end_of_input() {
  if (!gathered_.empty()) return evict("the input ended in the middle of a frame");
  over_ = true;
  stop();
  close();
}

void source::evict(std::string why) {
  reason_ = std::move(why);
  over_ = true;
  let_go();
  owner_.on_evicted(*this);
}

}  // namespace catenet::merge
