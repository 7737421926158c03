// The watches of a core: an epoll instance inside the loop.
#include <catenet/engine/core.hpp>
#include <catenet/engine/watch.hpp>

#include "core_state.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

namespace catenet {

/// What was told and is not passed on yet.
struct watch_set::events {
  std::array<epoll_event, 256> told;
  int next = 0;
  int count = 0;
  bool full = false;            // so that more may be left, which no edge of the instance would tell
  std::vector<watch*> again;    // for the next turn
  std::vector<watch*> serving;  // of this one; null = ended meanwhile
};

watch_set::watch_set(core& of) : core_(of), events_(std::make_unique<events>()) {}

watch_set::~watch_set() {
  if (epoll_ >= 0) ::close(epoll_);
}

error watch_set::start() {
  if (epoll_ < 0) epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return {"epoll_create1", "", errno, "raise the limit of open descriptors (ulimit -n)"};
  arm();
  return {};
}

void watch_set::arm() {
  if (armed_ || live_ == 0 || events_->full) return;
  armed_ = true;
  core_.state_->io->poll_readable(epoll_, token{operation::watch, stream_table::slot_of_watches, 1});
}

error watch_set::add(int fd, watch& w) {
  if (epoll_ < 0)
    if (error e = start()) return e;
  epoll_event event{EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.ptr = &w}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0)
    return {"epoll_ctl", "descriptor " + std::to_string(fd), errno, {}};
  w.set_ = this;
  w.fd_ = fd;
  w.prev_ = nullptr;
  w.next_ = first_;
  if (first_ != nullptr) first_->prev_ = &w;
  first_ = &w;
  ++live_;
  arm();
  return {};
}

void watch::unwatch() {
  if (set_ == nullptr) return;
  watch_set& s = *std::exchange(set_, nullptr);
  epoll_ctl(s.epoll_, EPOLL_CTL_DEL, fd_, nullptr);
  if (s.untold_ == this)
    s.untold_ = next_;
  else
    (prev_ == nullptr ? s.first_ : prev_->next_) = next_;
  if (next_ != nullptr) next_->prev_ = prev_;
  --s.live_;
  watch_set::events& e = *s.events_;
  for (int i = e.next; i < e.count; ++i)
    if (e.told[static_cast<std::size_t>(i)].data.ptr == this)
      e.told[static_cast<std::size_t>(i)].data.ptr = nullptr;
  if (!again_) return;
  again_ = false;
  std::replace(e.again.begin(), e.again.end(), this, static_cast<watch*>(nullptr));
  std::replace(e.serving.begin(), e.serving.end(), this, static_cast<watch*>(nullptr));
}

void watch_set::again(watch& w) {
  if (w.again_ || w.set_ == nullptr) return;
  w.again_ = true;
  events_->again.push_back(&w);
}

bool watch_set::unfinished() const { return !events_->again.empty() || events_->full; }

// The poll of the epoll instance ended: passes on what it has to tell, a batch a turn.
void watch_set::serve() {
  armed_ = false;
  events& e = *events_;
  e.count = epoll_wait(epoll_, e.told.data(), static_cast<int>(e.told.size()), 0);
  e.full = e.count == static_cast<int>(e.told.size());
  for (e.next = 0; e.next < e.count;) {
    const epoll_event& event = e.told[static_cast<std::size_t>(e.next++)];
    auto* w = static_cast<watch*>(event.data.ptr);
    if (w == nullptr) continue;
    const bool failed = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
    w->ready((event.events & (EPOLLIN | EPOLLRDHUP)) != 0 || failed, (event.events & EPOLLOUT) != 0 || failed,
             (event.events & EPOLLERR) != 0);
  }
  arm();
}

// Those who had more to do than a turn allows, and the next batch.
void watch_set::serve_again() {
  events& e = *events_;
  if (e.full) serve();
  e.serving.swap(e.again);
  for (std::size_t i = 0; i != e.serving.size(); ++i) {
    watch* w = std::exchange(e.serving[i], nullptr);
    if (w == nullptr) continue;
    w->again_ = false;
    w->ready(false, false, false);
  }
  e.serving.clear();
}

void watch_set::drain() { each(&watch::drain); }
void watch_set::abandon() { each(&watch::abandon); }

// What is told may end any watch. Those told go to the front of another list first, so nobody is told twice.
void watch_set::each(void (watch::*tell)()) {
  watch* untold = std::exchange(first_, nullptr);
  while (untold != nullptr) {
    // Moved to the list proper before it is told; an end of any other is taken out of whichever list it is
    // in.
    watch* w = untold;
    untold_ = untold = w->next_;
    if (untold != nullptr) untold->prev_ = nullptr;
    w->next_ = first_;
    w->prev_ = nullptr;
    if (first_ != nullptr) first_->prev_ = w;
    first_ = w;
    (w->*tell)();
    untold = untold_;
  }
  untold_ = nullptr;
}

}  // namespace catenet
