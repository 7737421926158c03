// A station: a thread's place on the bus. What waits on this thread is resumed here, and other threads ring
// here.
//
//   plain thread:   while (…) station.wait(10ms);        an engine's core: the loop turns it by itself
//
// Ringing wakes a sleeping thread once, however many bells ring before it is up.
#pragma once

#include <catenet/bus/handshake.hpp>
#include <catenet/engine/callback.hpp>
#include <catenet/slab/pool.hpp>

#include <boost/intrusive/list.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace catenet {
class core;
}

namespace catenet::bus {

class station;

namespace detail {
struct station_state;
}

/// Rung by any thread, answered on its station's thread. Kept by shared pointers; rings after the station has
/// ended are lost.
class bell : public std::enable_shared_from_this<bell> {
 public:
  explicit bell(std::shared_ptr<detail::station_state> at) : at_(std::move(at)) {}

  /// Any thread. Rings that come before the answer are answered together.
  void ring();

  /// What is run on the station's thread; set there only. Empty: rings are lost.
  callback<void()> answer;

 private:
  friend class station;
  friend struct detail::station_state;
  std::shared_ptr<detail::station_state> at_;
  std::atomic<bool> rung_{false};
  bell* below_ = nullptr;       // in the station's inbox
  std::shared_ptr<bell> self_;  // keeps it while it is there
};

/// Runs a function at a time, on its station's thread, where it is used. Ending it disarms it.
class alarm {
 public:
  using clock = std::chrono::steady_clock;
  alarm(station& at, callback<void()> run) : at_(at), run_(std::move(run)) {}
  alarm(const alarm&) = delete;
  alarm& operator=(const alarm&) = delete;
  ~alarm() { stop(); }

  void set(clock::time_point due);
  void stop();
  [[nodiscard]] bool armed() const { return armed_; }

 private:
  friend class station;
  station& at_;
  callback<void()> run_;
  clock::time_point due_{};
  bool armed_ = false;
};

/// Something to do at the end of each turn, while it is linked.
struct turn_end
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  virtual void at_turn_end() = 0;

 protected:
  ~turn_end() = default;
};

/// One a thread; makes itself the thread's current station while it lives. Needs the thread's pool, and must
/// end before it.
class station {
 public:
  /// For a plain thread. Its timer slack is set to the least, and before an alarm it gets up as early as its
  /// sleeps have turned out to end late (20 to 150 us), so that alarms are on time.
  station();
  /// For a core of an engine, on its thread. Alarms come by a descriptor of its own (timerfd), as the core's
  /// timers are counted in milliseconds; without one they are as fine as those.
  explicit station(core& on);
  ~station();
  station(const station&) = delete;
  station& operator=(const station&) = delete;

  /// The calling thread's station, or null.
  static station* current();

  [[nodiscard]] std::shared_ptr<bell> make_bell();

  /// Answers bells, runs due alarms and what is due at the end of a turn, and turns the pool. Returns whether
  /// there was anything to answer or run.
  bool turn();

  /// turn(); with nothing to do, sleeps until a bell rings, an alarm is due, or `most` has passed, and turns
  /// again. Plain threads only.
  bool wait(std::chrono::nanoseconds most);

  /// Waits in turns until `done()` says so, or the time is over (then false). Plain threads only.
  template <class Done>
  bool wait_until(Done&& done, std::chrono::nanoseconds most) {
    const auto end = alarm::clock::now() + most;
    while (!done()) {
      const auto left = end - alarm::clock::now();
      if (left.count() <= 0) return false;
      wait(left);
    }
    return true;
  }

  /// Says that something was done in this turn that turn() did not start itself, so that who waits looks
  /// again.
  void note_work() { worked_ = true; }

  /// Links something to be run at the end of the turn under way, or of the next; it is unlinked before it is
  /// run.
  void run_at_turn_end(turn_end& what) {
    if (!what.is_linked()) ends_.push_back(what);
    if (is_core()) ask_turn();
  }

 private:
  friend class alarm;
  struct core_timer;
  void begin();
  [[nodiscard]] bool is_core() const { return timer_ != nullptr; }
  void ask_turn();
  bool answer_all();
  bool run_due();
  void set_core_timer();
  [[nodiscard]] alarm::clock::time_point next_due() const;

  std::shared_ptr<detail::station_state> state_;
  std::vector<alarm*> alarms_;
  boost::intrusive::list<turn_end, boost::intrusive::constant_time_size<false>> ends_;
  std::unique_ptr<core_timer> timer_;
  station* previous_ = nullptr;
  bool worked_ = false;
};

}  // namespace catenet::bus
