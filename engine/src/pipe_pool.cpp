// Opens, sizes and keeps pipes.
#include <catenet/engine/pipe_pool.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace catenet {

pipe_pool::~pipe_pool() {
  for (const pipe& p : idle_) discard(p);
}

pipe_pool::pipe pipe_pool::rent() {
  if (!idle_.empty()) {
    const pipe p = idle_.back();
    idle_.pop_back();
    return p;
  }
  if (open_ >= options_.pipes_max) {
    refusal_ = EAGAIN;
    return {};
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    refusal_ = errno;
    return {};
  }
  ++open_;
  const pipe p{ends[0], ends[1]};
  fcntl(p.write, F_SETPIPE_SZ, static_cast<int>(options_.pipe_bytes));  // refused: it keeps what it has
  const int bytes = fcntl(p.write, F_GETPIPE_SZ);
  if (bytes < 0 || static_cast<std::size_t>(bytes) < options_.pipe_bytes / 4) {
    refusal_ = ENFILE;
    discard(p);
    return {};
  }
  return p;
}

void pipe_pool::give(pipe p, bool emptied) {
  if (emptied && idle_.size() < options_.idle_max)
    idle_.push_back(p);
  else
    discard(p);
}

void pipe_pool::discard(pipe p) {
  ::close(p.read);
  ::close(p.write);
  --open_;
}

}  // namespace catenet
