// The timer wheel, against a plain list of due times.
#include <catenet/engine/timer.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <vector>

namespace {

using catenet::timer;
using catenet::timer_wheel;

struct probe final : timer {
  std::function<void()> act;
  int fired = 0;
  void expire() override {
    ++fired;
    if (act) act();
  }
  using timer::due_ms;
};

class from_time : public testing::TestWithParam<std::uint32_t> {};

// Random starts, moves, stops and steps; a model that keeps due times as 64-bit numbers says what must expire
// when.
TEST_P(from_time, agrees_with_a_plain_model) {
  std::mt19937 random(GetParam());
  std::uint64_t now = GetParam();
  timer_wheel wheel;
  wheel.set_now(static_cast<std::uint32_t>(now));
  std::vector<std::unique_ptr<probe>> timers;
  std::vector<std::optional<std::uint64_t>> due(200);
  std::vector<std::pair<std::uint64_t, std::size_t>> told;
  for (std::size_t i = 0; i != due.size(); ++i) {
    timers.push_back(std::make_unique<probe>());
    timers.back()->act = [&, i] { told.emplace_back(wheel.now_ms(), i); };
  }
  const auto delay = [&]() -> std::uint32_t {
    return static_cast<std::uint32_t>(random() >> (random() % 30 + 2));  // every magnitude up to 2^30
  };
  for (int round = 0; round != 4000; ++round) {
    const std::size_t i = random() % due.size();
    if (random() % 3 != 0) {
      const std::uint32_t d = delay();
      wheel.start(*timers[i], d);
      due[i] = now + std::clamp(d, 1u, timer_wheel::delay_ms_max);
    } else {
      timers[i]->stop();
      due[i].reset();
    }
    ASSERT_EQ(timers[i]->armed(), due[i].has_value());
    const std::int64_t until = wheel.until_next();
    std::optional<std::uint64_t> nearest;
    for (const auto& d : due)
      if (d && (!nearest || *d < *nearest)) nearest = d;
    if (!nearest) {
      ASSERT_EQ(until, -1);
    } else {
      ASSERT_GT(until, 0);
      ASSERT_LE(now + static_cast<std::uint64_t>(until), *nearest) << "the loop would sleep too long";
    }
    // Steps as the loop would make them, and some by whole hours.
    std::uint64_t to = now + (random() % 4 == 0 ? delay() >> 4 : static_cast<std::uint32_t>(random() % 50));
    if (random() % 8 == 0 && until > 0) to = now + static_cast<std::uint64_t>(until);
    told.clear();
    wheel.advance(static_cast<std::uint32_t>(to));
    now = to;
    ASSERT_EQ(wheel.now_ms(), static_cast<std::uint32_t>(now));
    std::vector<std::pair<std::uint64_t, std::size_t>> expected;
    for (std::size_t t = 0; t != due.size(); ++t)
      if (due[t] && *due[t] <= now) {
        expected.emplace_back(*due[t], t);
        due[t].reset();
      }
    ASSERT_EQ(told.size(), expected.size()) << "round " << round;
    // In order of due time, each at its own millisecond; equal ones in any order.
    std::sort(expected.begin(), expected.end());
    for (std::size_t k = 0; k != told.size(); ++k)
      ASSERT_EQ(static_cast<std::uint32_t>(told[k].first), static_cast<std::uint32_t>(expected[k].first));
    std::vector<std::size_t> a, b;
    for (const auto& [at, t] : told) a.push_back(t);
    for (const auto& [at, t] : expected) b.push_back(t);
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    ASSERT_EQ(a, b);
  }
  for (auto& t : timers) t->stop();
  EXPECT_EQ(wheel.until_next(), -1);
}

// The clock's wrap at 2^32, and the borders of the levels.
INSTANTIATE_TEST_SUITE_P(timer_wheel, from_time,
                         testing::Values(0u, 1u, 63u, 4095u, 0xfffffff0u, 0xffff0000u, 0x7ffffff0u,
                                         0xff000000u));

TEST(timer_wheel, expires_at_each_border_exactly) {
  for (const std::uint32_t start : {0u, 62u, 4090u, 0xffffffc0u, 0xfffff000u, 0xffffffffu})
    for (const std::uint32_t delay :
         {1u, 63u, 64u, 65u, 4095u, 4096u, 4097u, 262143u, 262144u, 262145u, 16777216u}) {
      timer_wheel wheel;
      wheel.set_now(start);
      probe t;
      wheel.start(t, delay);
      wheel.advance(start + delay - 1);
      ASSERT_EQ(t.fired, 0) << start << "+" << delay;
      wheel.advance(start + delay);
      ASSERT_EQ(t.fired, 1) << start << "+" << delay;
      ASSERT_FALSE(t.armed());
    }
}

TEST(timer_wheel, sleeping_by_until_next_wakes_few_times_and_in_time) {
  timer_wheel wheel;
  wheel.set_now(0xfffffff0u);
  probe t;
  wheel.start(t, 3'600'000);
  std::uint64_t slept = 0;
  int wakes = 0;
  while (t.fired == 0) {
    const std::int64_t until = wheel.until_next();
    ASSERT_GT(until, 0);
    slept += static_cast<std::uint64_t>(until);
    wheel.advance(0xfffffff0u + static_cast<std::uint32_t>(slept));
    ASSERT_LE(++wakes, 5) << "one wake a level is enough";
  }
  EXPECT_EQ(slept, 3'600'000u);
}

TEST(timer_wheel, cuts_a_delay_that_is_too_long) {
  timer_wheel wheel;
  probe t;
  wheel.start(t, 0xffffffffu);
  EXPECT_EQ(t.due_ms(), timer_wheel::delay_ms_max);
  wheel.start(t, 0);
  EXPECT_EQ(t.due_ms(), 1u);
}

TEST(timer_wheel, going_back_in_time_does_nothing) {
  timer_wheel wheel;
  wheel.set_now(1000);
  probe t;
  wheel.start(t, 10);
  wheel.advance(900);
  EXPECT_EQ(wheel.now_ms(), 1000u);
  wheel.advance(1010);
  EXPECT_EQ(t.fired, 1);
}

TEST(timer_wheel, a_timer_may_start_itself_again) {
  timer_wheel wheel;
  probe t;
  t.act = [&] { wheel.start(t, 1); };
  wheel.advance(500);
  EXPECT_EQ(t.fired, 0);
  wheel.start(t, 1);
  wheel.advance(600);
  EXPECT_EQ(t.fired, 100);
}

TEST(timer_wheel, a_timer_may_stop_and_start_others_of_the_same_moment) {
  timer_wheel wheel;
  probe first, second, third;
  first.act = [&] {
    second.stop();
    wheel.start(third, 5);
  };
  for (probe* t : {&first, &second, &third}) wheel.start(*t, 100);
  wheel.advance(104);
  EXPECT_EQ(first.fired, 1);
  EXPECT_EQ(second.fired, 0);
  EXPECT_EQ(third.fired, 0);
  wheel.advance(105);
  EXPECT_EQ(third.fired, 1);
}

TEST(timer_wheel, a_timer_may_end_itself_and_others_while_it_expires) {
  timer_wheel wheel;
  auto one = std::make_unique<probe>();
  auto two = std::make_unique<probe>();
  bool ran = false;
  one->act = [&] {
    ran = true;
    two.reset();
    one.reset();  // the capture lies in it: nothing may be touched after
  };
  wheel.start(*one, 3);
  wheel.start(*two, 3);
  wheel.advance(10);
  EXPECT_TRUE(ran);
  EXPECT_EQ(wheel.until_next(), -1);
}

TEST(timer_wheel, timers_may_outlive_it) {
  probe t;
  {
    timer_wheel wheel;
    wheel.start(t, 50);
    EXPECT_TRUE(t.armed());
  }
  EXPECT_FALSE(t.armed());
  t.stop();
}

TEST(timer_wheel, ending_an_armed_timer_stops_it) {
  timer_wheel wheel;
  {
    probe t;
    wheel.start(t, 5);
  }
  wheel.advance(10);
  EXPECT_EQ(wheel.until_next(), -1);
}

}  // namespace
