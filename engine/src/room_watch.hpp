// Waiting for room in sockets whose peer has said FIN. The ring's own poll always asks for POLLRDHUP too
// (IO_POLL_UNMASK in io_uring/poll.c), so there it would end at once, for ever; epoll reports only what is
// asked for.
#pragma once

#include <catenet/engine/backend.hpp>

#include <vector>

namespace catenet {

/// One back end's, used on its thread.
class room_watch {
 public:
  room_watch() = default;
  room_watch(const room_watch&) = delete;
  room_watch& operator=(const room_watch&) = delete;
  ~room_watch();

  /// Makes the epoll instance. Where that fails, wait() tries again.
  void start();
  /// Remembers which descriptor a poll for writing is about.
  void remember(token t, int fd);
  /// Waits for that poll's descriptor to have room, or to break. False when that cannot be had: no
  /// descriptors or memory are left.
  bool wait(token t);
  /// Tells the end of those that have room.
  void collect(std::vector<completion>& into);

  [[nodiscard]] int descriptor() const { return epoll_; }
  [[nodiscard]] bool waiting() const { return waiting_ != 0; }

 private:
  std::vector<int> descriptors_;  // by the tokens' slot
  int epoll_ = -1;
  std::size_t waiting_ = 0;
};

}  // namespace catenet
