// Timers: a hierarchical wheel of milliseconds, one a core. Starting, moving and stopping are O(1); an armed
// timer costs its own hook and nothing else, and the kernel sees only the nearest due time.
//
//   level 0: 64 slots of 1 ms | level 1: 64 of 64 ms | … | level 4: 64 of 4.6 h        (together 12.4 days)
#pragma once

#include <array>
#include <cstdint>

namespace catenet {

class timer_wheel;

/// The hook of what can expire. Derive from it and implement expire(); it must not move while armed.
/// A timer is used on the thread of its wheel only. It stops itself when it ends.
class timer {
 public:
  timer() = default;
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

  [[nodiscard]] bool armed() const { return next_ != nullptr; }
  void stop() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 protected:
  virtual ~timer() { stop(); }
  [[nodiscard]] std::uint32_t due_ms() const { return due_ms_; }  ///< on the wheel's clock; while armed

 private:
  friend class timer_wheel;
  virtual void expire() {}

  timer* next_ = nullptr;
  timer* prev_ = nullptr;
  std::uint32_t due_ms_ = 0;
};

/// Time is a count of milliseconds that wraps after 49 days; differences are what matters. A delay longer
/// than delay_ms_max is cut to it.
class timer_wheel {
 public:
  static constexpr std::uint32_t delay_ms_max = (1u << 30) - 1;

  timer_wheel();
  ~timer_wheel();
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;

  /// Arms (or moves) a timer to expire `delay_ms` from the wheel's present on; 0 counts as 1.
  void start(timer& t, std::uint32_t delay_ms);

  /// Moves the present on and expires what is due, in order of due time; timers may start and stop others
  /// meanwhile.
  void advance(std::uint32_t now_ms);

  /// Milliseconds until something may be due (never later than the true due time), or -1 when nothing is
  /// armed.
  [[nodiscard]] std::int64_t until_next() const;

  [[nodiscard]] std::uint32_t now_ms() const { return now_ms_; }
  /// Sets the present without expiring anything; only while nothing is armed.
  void set_now(std::uint32_t now_ms) { now_ms_ = now_ms; }

 private:
  struct list_head final : timer {};
  static constexpr unsigned levels = 5;
  static constexpr unsigned slots = 64;

  void insert(timer& t);
  void cascade(unsigned level);
  void step();

  std::array<std::array<list_head, slots>, levels> wheel_;
  std::array<std::uint64_t, levels> occupied_{};  // a bit a slot that may hold timers
  std::uint32_t now_ms_ = 0;
};

}  // namespace catenet
