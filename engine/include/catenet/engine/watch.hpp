// Readiness of descriptors that are not streams: the ends of relays, FIFOs, pipes. For those who move bytes
// between descriptors without taking them into memory.
#pragma once

#include <catenet/engine/error.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace catenet {

class core;
class watch_set;

/// One descriptor being watched; derive from it. It stays where it is while it is watched, and ends its watch
/// when it ends. Used on the thread of its core only.
class watch {
 public:
  watch() = default;
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;

  [[nodiscard]] bool watching() const { return set_ != nullptr; }
  /// Tells nothing more. The descriptor stays open; it must not be closed before.
  void unwatch();

 protected:
  virtual ~watch() { unwatch(); }

  /// The descriptor became readable (or ended), writable, or failed: told once a change, so the callee has to
  /// go on until the kernel says EAGAIN. It may end any watch, this one too.
  virtual void ready(bool readable, bool writable, bool failed) = 0;
  /// The engine is stopping: finish, and unwatch; the core runs on until nothing is watched.
  virtual void drain() { unwatch(); }
  /// The time for that is over: unwatch now.
  virtual void abandon() { unwatch(); }

 private:
  friend class watch_set;
  watch_set* set_ = nullptr;
  watch* next_ = nullptr;  // in the set's list
  watch* prev_ = nullptr;
  int fd_ = -1;
  bool again_ = false;  // on a list of the set
};

/// A core's watches. One epoll instance, whose own readiness the core's back end polls; so a watch costs no
/// operation an event.
class watch_set {
 public:
  explicit watch_set(core& of);
  ~watch_set();
  watch_set(const watch_set&) = delete;
  watch_set& operator=(const watch_set&) = delete;

  /// EPERM: a regular file, which is always ready.
  error add(int fd, watch& w);

  /// Calls ready(false, false, false) in the next turn of the loop, which comes at once: for going on with
  /// what is not finished without keeping others waiting.
  void again(watch& w);

  [[nodiscard]] std::size_t live() const { return live_; }

 private:
  friend class core;
  friend class watch;
  struct events;

  error start();
  void arm();
  void serve();
  void serve_again();
  [[nodiscard]] bool unfinished() const;
  void drain();
  void abandon();
  void each(void (watch::*tell)());

  core& core_;
  int epoll_ = -1;
  bool armed_ = false;
  std::size_t live_ = 0;
  watch* first_ = nullptr;
  watch* untold_ = nullptr;  // each(): those still to be told
  std::unique_ptr<events> events_;
};

}  // namespace catenet
