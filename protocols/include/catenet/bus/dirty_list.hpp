// Which writers have something for their flusher. A writer marks its log once; the flusher takes all that are
// marked with one exchange.
#pragma once

#include <catenet/bus/handshake.hpp>

#include <atomic>
#include <utility>

namespace catenet::bus::detail {

/// Log has `queued` (an atomic bool), `below` (a Log*), keep(), which is called before it lies in the list,
/// and let_go(), which gives what kept it and is called before it can be marked again. A template over the
/// atomic, so that the interleaving checker can run it.
template <class Log, template <class> class Atomic = std::atomic>
class dirty_list {
 public:
  /// The log's own thread, after commits. True when it was not in the list.
  bool mark(Log& log) {
    if (log.queued.exchange(true, std::memory_order_acq_rel)) return false;
    log.keep();
    box_.push(&log);
    return true;
  }
  /// After a commit that is not marked by itself: whether the flusher will look at this log without it.
  /// Either we see that the flag is down, or the flusher's look into the log comes after the commit.
  [[nodiscard]] bool is_missed(Log& log) const {
    full_fence<Atomic>();
    return !log.queued.load(std::memory_order_relaxed);
  }
  /// The flusher: f(what let_go() gave) for each, first come, first served. It may be marked again from then
  /// on.
  template <class F>
  void take_all(F&& f) {
    box_.take_all([&](Log& log) {
      auto kept = log.let_go();
      log.queued.exchange(false, std::memory_order_acq_rel);
      full_fence<Atomic>();
      f(std::move(kept));
    });
  }

 private:
  letter_box<Log, &Log::below, Atomic> box_;
};

}  // namespace catenet::bus::detail
