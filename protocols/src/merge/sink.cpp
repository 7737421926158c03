// Writes and splices into one descriptor without ever waiting in the kernel for a reader.
#include "sink.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace catenet::merge {

sink::~sink() {
  unwatch();
  if (fd_ < 0) return;
  if (restore_flags_ >= 0) fcntl(fd_, F_SETFL, restore_flags_);
  ::close(fd_);
}

error sink::open(int fd) {
  struct stat about {};
  if (fstat(fd, &about) != 0) return {"fstat", "the output", errno, {}};
  socket_ = S_ISSOCK(about.st_mode);
  fd_ = fd;
  if (S_ISFIFO(about.st_mode)) make_own(fd);
  // A splice to a socket waits unless the socket itself is non-blocking, which is its owner's to say.
  if (socket_ && (fcntl(fd_, F_GETFL) & O_NONBLOCK) == 0) spliceable_ = false;
  error e = core_.watches().add(fd_, *this);
  if (e && e.code == EPERM) e = {};  // a regular file is always ready
  return e;
}

// A pipe of our own to the same reader: O_NONBLOCK belongs to the open file, which a shell shares with
// others.
bool sink::make_own(int fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const int own = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (own >= 0) {
    ::close(fd);
    fd_ = own;
    return true;
  }
  restore_flags_ = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, restore_flags_ | O_NONBLOCK);
  return false;
}

void sink::ready(bool, bool writable, bool) {
  if (writable) owner_.on_room();
}

void sink::take(item&& frames, source& from) {
  memory_ = std::move(frames.memory);
  left_in_pipe_ = frames.in_pipe;
  from_ = &from;
}

sink::result sink::put() {
  while (!idle()) {
    const bool from_memory = !memory_.empty();
    const ssize_t count = from_memory ? write_memory()
                                      : splice(from_->descriptor(), nullptr, fd_, nullptr, left_in_pipe_,
                                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return result::full;
    const bool refused =
        !from_memory && count < 0 && errno == EINVAL;  // a terminal, or a file that is appended to
    if (refused || (!spliceable_ && !from_memory)) {
      spliceable_ = false;
    } else if (count <= 0) {
      return fail(count < 0 ? errno : EIO);
    } else {
      const auto bytes = static_cast<std::uint64_t>(count);
      if (from_memory)
        memory_.consume(bytes);
      else
        left_in_pipe_ -= bytes;
      const tier how = from_memory ? tier::copied : tier::spliced;
      out.add(how, bytes);
      bytes_ += bytes;
      core_.count_sent(how, bytes);
    }
    if (spliceable_ || left_in_pipe_ == 0 || !memory_.empty()) continue;
    memory_ = from_->read_out(left_in_pipe_);
    if (memory_.empty()) return fail(ENOMEM);
    left_in_pipe_ = 0;
  }
  return result::done;
}

ssize_t sink::write_memory() {
  std::array<iovec, 64> parts;
  const std::size_t count = memory_.to_iovecs(parts).count;
  if (!socket_) return writev(fd_, parts.data(), static_cast<int>(count));
  msghdr header{};
  header.msg_iov = parts.data();
  header.msg_iovlen = count;
  return sendmsg(fd_, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void sink::give_up() {
  if (idle()) return;
  const std::uint64_t left = memory_.bytes() + left_in_pipe_;
  fail(0);
  failure_ = {"write", "the output", ETIMEDOUT,
              "its reader took nothing, so it ends in the middle of a frame: " + std::to_string(left) +
                  " bytes are missing"};
}

sink::result sink::fail(int code) {
  failure_ = {"write", "the output", code, code == EPIPE ? "its reader has gone" : ""};
  memory_.clear();
  left_in_pipe_ = 0;
  return result::failed;
}

}  // namespace catenet::merge
