// The timer wheel.
#include <catenet/engine/timer.hpp>

#include <algorithm>
#include <bit>

namespace catenet {

namespace {
constexpr unsigned slot_bits = 6;
constexpr std::uint32_t slot_mask = 63;

bool after(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) > 0; }
}  // namespace

timer_wheel::timer_wheel() {
  for (auto& level : wheel_)
    for (list_head& head : level) head.next_ = head.prev_ = &head;
}

timer_wheel::~timer_wheel() {
  // Timers that outlive the wheel must not touch it when they end.
  for (auto& level : wheel_)
    for (list_head& head : level)
      while (head.next_ != &head) head.next_->stop();
}

void timer_wheel::start(timer& t, std::uint32_t delay_ms) {
  t.stop();
  t.due_ms_ = now_ms_ + std::clamp(delay_ms, 1u, delay_ms_max);
  insert(t);
}

void timer_wheel::insert(timer& t) {
  const std::uint32_t delta = t.due_ms_ - now_ms_;
  unsigned level = 0;
  while (level + 1 < levels && delta >> (slot_bits * (level + 1)) != 0) ++level;
  const std::uint32_t slot = t.due_ms_ >> (slot_bits * level) & slot_mask;
  list_head& head = wheel_[level][slot];
  t.prev_ = head.prev_;
  t.next_ = &head;
  head.prev_->next_ = &t;
  head.prev_ = &t;
  occupied_[level] |= std::uint64_t{1} << slot;
}

// Spreads the timers of the level's present slot over the levels below it.
void timer_wheel::cascade(unsigned level) {
  if (level == levels) return;
  const std::uint32_t slot = now_ms_ >> (slot_bits * level) & slot_mask;
  if (slot == 0) cascade(level + 1);
  occupied_[level] &= ~(std::uint64_t{1} << slot);
  list_head& head = wheel_[level][slot];
  while (head.next_ != &head) {
    timer& t = *head.next_;
    t.stop();
    insert(t);
  }
}

// Expires what is due at now_ms_.
void timer_wheel::step() {
  const std::uint32_t slot = now_ms_ & slot_mask;
  if (slot == 0) cascade(1);
  occupied_[0] &= ~(std::uint64_t{1} << slot);
  list_head& head = wheel_[0][slot];
  while (head.next_ != &head) {
    timer& t = *head.next_;
    t.stop();
    t.expire();
  }
}

void timer_wheel::advance(std::uint32_t now_ms) {
  while (after(now_ms, now_ms_)) {
    const std::uint32_t position = now_ms_ & slot_mask;
    const std::uint64_t ahead = position == slot_mask ? 0 : occupied_[0] >> (position + 1);
    const std::uint32_t next = ahead != 0 ? now_ms_ + 1 + static_cast<std::uint32_t>(std::countr_zero(ahead))
                                          : (now_ms_ | slot_mask) + 1;
    if (after(next, now_ms)) {
      now_ms_ = now_ms;
      return;
    }
    now_ms_ = next;
    step();
  }
}

std::int64_t timer_wheel::until_next() const {
  std::int64_t nearest = -1;
  for (unsigned level = 0; level != levels; ++level) {
    const unsigned shift = slot_bits * level;
    const std::uint32_t here = now_ms_ >> shift;
    // Seen from the slot behind the present one, the first occupied slot is the nearest.
    std::uint64_t turned = std::rotr(occupied_[level], static_cast<int>((here + 1) & slot_mask));
    for (; turned != 0; turned &= turned - 1) {
      const auto distance = static_cast<std::uint32_t>(std::countr_zero(turned)) + 1;
      const list_head& head = wheel_[level][(here + distance) & slot_mask];
      if (head.next_ == &head) continue;  // all its timers were stopped
      const std::uint32_t at = (here + distance) << shift;
      const std::int64_t until = static_cast<std::int32_t>(at - now_ms_);
      if (nearest < 0 || until < nearest) nearest = until;
      break;
    }
  }
  return nearest;
}

}  // namespace catenet
