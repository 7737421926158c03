// An epoll instance beside the ring, for what the ring's poll cannot wait for.
#include "room_watch.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace catenet {

room_watch::~room_watch() {
  if (epoll_ >= 0) ::close(epoll_);
}

void room_watch::start() {
  if (epoll_ < 0) epoll_ = epoll_create1(EPOLL_CLOEXEC);
}

void room_watch::remember(token t, int fd) {
  if (t.slot() >= descriptors_.size()) descriptors_.resize(t.slot() + 1u, -1);
  descriptors_[t.slot()] = fd;
}

bool room_watch::wait(token t) {
  start();
  if (epoll_ < 0) return false;
  const int fd = descriptors_[t.slot()];
  epoll_event wanted{EPOLLOUT | EPOLLONESHOT, {.u64 = t.value}};
  // It is there already when it waited before; closing takes it out.
  int result = epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &wanted);
  if (result != 0 && errno == ENOENT) result = epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &wanted);
  if (result == 0) ++waiting_;
  return result == 0;
}

void room_watch::collect(std::vector<completion>& into) {
  std::array<epoll_event, 64> events;
  int count = 0;
  do {
    count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
      into.push_back({token{events[static_cast<std::size_t>(i)].data.u64},
                      static_cast<std::int32_t>(events[static_cast<std::size_t>(i)].events), false, nullptr});
      --waiting_;
    }
  } while (count == static_cast<int>(events.size()));
}

}  // namespace catenet
