// Bells, alarms and sleeping.
#include <catenet/bus/station.hpp>
#include <catenet/engine/core.hpp>
#include <catenet/engine/watch.hpp>

#include "bus/station_state.hpp"

#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <ctime>

namespace catenet::bus {

namespace {

thread_local constinit station* current_station = nullptr;

long futex(void* word, int what, std::uint32_t value, const timespec* most) {
  return syscall(SYS_futex, word, what, value, most, nullptr, 0);
}

}  // namespace

void bell::ring() {
  if (rung_.exchange(true, std::memory_order_acq_rel)) return;
  self_ = shared_from_this();
  const std::shared_ptr<detail::station_state> at = at_;  // the bell may be answered and end at once
  at->lay_down(this);
}

void detail::station_state::wake() {
  if (on != nullptr) {
    if (turn_asked.exchange(true, std::memory_order_seq_cst)) return;
    on->post([self = shared_from_this()] {
      self->turn_asked.exchange(false, std::memory_order_seq_cst);
      if (self->owner != nullptr) self->owner->turn();
    });
    return;
  }
  if (asleep.must_wake()) futex(asleep.address(), FUTEX_WAKE_PRIVATE, 1, nullptr);
}

// ---- alarms

void alarm::set(clock::time_point due) {
  due_ = due;
  if (!armed_) at_.alarms_.push_back(this);
  armed_ = true;
  if (at_.is_core()) at_.set_core_timer();
}

void alarm::stop() {
  if (!armed_) return;
  armed_ = false;
  std::erase(at_.alarms_, this);
}

// A core's own timers are counted in milliseconds, so alarms have a timerfd, made with the first of them; the
// core's timer where there is none to be had, or the engine is stopping.
struct station::core_timer final : timer, watch {
  core_timer(station& of, core& on) : self(of), home(on) {}
  ~core_timer() override {
    unwatch();
    if (fd >= 0) ::close(fd);
  }
  void expire() override { self.turn(); }
  void ready(bool, bool, bool) override {
    std::uint64_t expirations = 0;
    if (::read(fd, &expirations, sizeof expirations) > 0) self.turn();
  }
  void set(alarm::clock::time_point due) {
    if (!std::exchange(tried, true)) {
      fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
      if (fd >= 0) (void)home.watches().add(fd, *this);
    }
    const auto since_boot = std::max(due.time_since_epoch(), alarm::clock::duration{1});  // 0 would disarm
    const itimerspec at{{}, {since_boot.count() / 1'000'000'000, since_boot.count() % 1'000'000'000}};
    if (watching() && timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, nullptr) == 0) return;
    const auto left = std::max(due - alarm::clock::now(), alarm::clock::duration::zero());
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    home.timers().start(*this, static_cast<std::uint32_t>(std::min<std::int64_t>(ms, 1 << 29)));
  }
  station& self;
  core& home;
  int fd = -1;
  bool tried = false;
};

void station::set_core_timer() { timer_->set(next_due()); }

alarm::clock::time_point station::next_due() const {
  auto due = alarm::clock::time_point::max();
  for (const alarm* a : alarms_) due = std::min(due, a->due_);
  return due;
}

// An alarm may set, stop and end others.
bool station::run_due() {
  if (alarms_.empty()) return false;
  bool any = false;
  const auto now = alarm::clock::now();
  for (;;) {
    const auto found =
        std::find_if(alarms_.begin(), alarms_.end(), [&](const alarm* a) { return a->due_ <= now; });
    if (found == alarms_.end()) break;
    alarm* due = *found;
    due->stop();
    due->run_();
    any = true;
  }
  if (is_core() && !alarms_.empty()) set_core_timer();
  return any;
}

// ---- the station

void station::begin() {
  assert(pool::current() != nullptr && "a station is made on a thread that has a pool");
  state_->owner = this;
  previous_ = std::exchange(current_station, this);
}

station::station() : state_(std::make_shared<detail::station_state>()) {
  begin();
  pool::current()->set_wake([](void* state) { static_cast<detail::station_state*>(state)->poke(); },
                            state_.get());
  prctl(PR_SET_TIMERSLACK, 1);
}

station::station(core& on) : state_(std::make_shared<detail::station_state>()) {
  state_->on = &on;
  timer_ = std::make_unique<core_timer>(*this, on);
  begin();  // the core itself turns its pool when that has something to do
}

station::~station() {
  if (!is_core()) pool::current()->set_wake(nullptr, nullptr);
  state_->owner = nullptr;
  state_->close();
  current_station = previous_;
}

station* station::current() { return current_station; }

std::shared_ptr<bell> station::make_bell() { return std::make_shared<bell>(state_); }

void station::ask_turn() { state_->wake(); }

bool station::answer_all() {
  return state_->inbox.take_all([](bell& rung) {
    const std::shared_ptr<bell> b = std::move(rung.self_);
    b->rung_.exchange(false, std::memory_order_acq_rel);  // from here on it may ring again
    if (b->answer) b->answer();
  });
}

bool station::turn() {
  bool any = answer_all();
  any |= run_due();
  while (!ends_.empty()) {
    turn_end& next = ends_.front();
    ends_.pop_front();
    next.at_turn_end();
    any = true;
  }
  pool::current()->turn();
  return std::exchange(worked_, false) || any;
}

bool station::wait(std::chrono::nanoseconds most) {
  assert(!is_core() && "a core sleeps in its own loop");
  if (turn()) return true;
  const auto now = alarm::clock::now();
  const auto until_alarm =
      alarms_.empty() ? most
                      : std::max(next_due() - now - state_->late.margin(), std::chrono::nanoseconds{0});
  const auto length = std::min(most, std::chrono::duration_cast<std::chrono::nanoseconds>(until_alarm));
  if (length.count() > 0) {
    const timespec relative{length.count() / 1'000'000'000, length.count() % 1'000'000'000};
    state_->asleep.sleep_if(
        [&] { return state_->inbox.empty() && !state_->poked.exchange(false, std::memory_order_seq_cst); },
        [&] {
          const bool over =
              futex(state_->asleep.address(), FUTEX_WAIT_PRIVATE, 1, &relative) != 0 && errno == ETIMEDOUT;
          if (over && !alarms_.empty()) state_->late.note(alarm::clock::now() - now - length);
        });
  }
  return turn();
}

}  // namespace catenet::bus
