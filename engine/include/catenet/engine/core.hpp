// A core: one thread, one loop, one pool. Everything that happens to its streams happens here.
#pragma once

#include <catenet/engine/backend.hpp>
#include <catenet/engine/callback.hpp>
#include <catenet/engine/handle.hpp>
#include <catenet/engine/stream.hpp>
#include <catenet/engine/tiers.hpp>
#include <catenet/engine/timer.hpp>
#include <catenet/engine/watch.hpp>

#include <coroutine>
#include <cstdint>
#include <memory>

namespace catenet {

class engine;
class depot;
class pool;
struct core_state;

/// Counts of one core since its start. Written by it, readable from any thread.
struct core_statistics {
  std::uint64_t connections = 0;  ///< open now
  std::uint64_t accepted = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t turns = 0;        ///< iterations of the loop
  std::uint64_t sends = 0;        ///< sends handed to the kernel
  std::uint64_t parked = 0;       ///< streams parked on a poll now
  std::uint64_t enters = 0;       ///< system calls of the loop
  std::uint64_t submissions = 0;  ///< operations handed to the kernel
  std::uint64_t completions = 0;
  std::uint64_t out_of_blocks = 0;  ///< receives that found no block
  tier_totals tiers{};              ///< which way the bytes went out; their sum is bytes_out
  std::uint64_t cold_reads = 0;     ///< parts of files that were not in memory when they were to be sent
  zero_copy_statistics zero_copy{};
};

/// What core::connect() may be told beside the address.
struct connect_options {
  std::uint32_t timeout_ms = 10'000;  ///< until the connection stands; beyond: refused() with ETIMEDOUT
  void* session = nullptr;            ///< of the stream, from the start
};

class core {
 public:
  core(engine& of, std::uint16_t index);
  ~core();
  core(const core&) = delete;
  core& operator=(const core&) = delete;

  /// The core whose thread this is, or null.
  static core* current();

  [[nodiscard]] std::uint16_t index() const { return index_; }
  [[nodiscard]] engine& owner() const { return engine_; }

  /// Milliseconds of a steady clock, read once a turn. Wraps after 49 days: use differences.
  [[nodiscard]] std::uint32_t now_ms() const { return timers_.now_ms(); }
  /// Seconds since 1970, read once a turn.
  [[nodiscard]] std::int64_t unix_seconds() const { return unix_seconds_; }
  [[nodiscard]] timer_wheel& timers() { return timers_; }

  /// Runs a function on this core, soon. Any thread. Functions of one sender run in order. False, and the
  /// function is dropped, once the core has ended.
  bool post(callback<void()> run);

  /// Begins a connection to `where`, on this core's thread. The stream is there at once; what becomes of it
  /// is told later, from the loop: opened() once the connection stands (reading is on then), or refused()
  /// with the reason (ECONNREFUSED, ETIMEDOUT, …) and after it closed(). Meanwhile send() queues; abort()
  /// gives it up and so does close() where nothing was sent, both with closed() alone. Its deadline is the
  /// time-out until then. `speaks` must outlive the stream. Null when there is no descriptor or no memory for
  /// it: `why` says so, and nothing is told. connect(2).
  stream* connect(const endpoint& where, protocol& speaks, error& why, connect_options options = {});

  /// The stream a handle names, or null when it is gone. On the core's own thread only.
  [[nodiscard]] stream* find(handle h);

  /// Calls f(stream&) for each live stream. On the core's own thread; f may close any stream.
  void for_each(const callback<void(stream&)>& f);

  /// Descriptors that are no streams. On the core's own thread only.
  [[nodiscard]] watch_set& watches();

  /// For those who move bytes past the streams: counts what went out. On the core's own thread only.
  void count_sent(tier how, std::uint64_t bytes);

  [[nodiscard]] core_statistics statistics() const;
  /// True once the engine was told to stop.
  [[nodiscard]] bool draining() const;

 private:
  friend class engine;
  friend class simulation;
  friend class stream;
  friend class watch_set;

  static void make_current(core* c);
  error start();
  error open_io();
  void close_io();
  void accept();
  void run();
  void turn();
  std::int64_t before_wait();
  void receive_large();
  void after_wait();
  void dispatch(const completion& c);
  void accepted(const completion& c);
  void accept_again();
  void end_of_turn();
  void begin_drain();
  void press_drain();
  void wake_for_blocks();
  void look_after_memory(std::uint64_t now_ms);
  void finish();
  void release();
  [[nodiscard]] bool finished() const;

  engine& engine_;
  std::uint16_t index_;
  std::int64_t unix_seconds_ = 0;
  timer_wheel timers_;
  std::unique_ptr<core_state> state_;
};

/// co_await catenet::sleep(ms): resumes the coroutine on its core after a delay; ending it meanwhile is fine.
/// With `using namespace catenet` the plain name is ambiguous with unistd's ::sleep.
class sleep final : timer {
 public:
  explicit sleep(std::uint32_t delay_ms) : delay_ms_(delay_ms) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> who) {
    who_ = who;
    core::current()->timers().start(*this, delay_ms_);
  }
  void await_resume() const noexcept {}

 private:
  void expire() override { who_.resume(); }
  std::coroutine_handle<> who_;
  std::uint32_t delay_ms_;
};

}  // namespace catenet
