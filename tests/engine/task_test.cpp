// Coroutines: starting, awaiting, failing, and being ended wherever they wait.
#include <catenet/engine/task.hpp>

#include "support/engine_host.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace {

using namespace catenet;
using namespace catenet::test;

// Resumed by hand.
struct gate {
  std::coroutine_handle<> waiting;
  struct awaiter {
    gate* at;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> h) const { at->waiting = h; }
    void await_resume() const {}
  };
  awaiter passed() { return {this}; }
  void open() { waiting.resume(); }
};

struct guard {
  explicit guard(int& c) : count(c) { ++count; }
  ~guard() { --count; }
  int& count;
};

task<int> number(int n) { co_return n; }
task<int> after(gate& g, int n) {
  co_await g.passed();
  co_return n;
}
task<> fails() {
  throw std::runtime_error("on purpose");
  co_return;
}

TEST(task, runs_at_once_until_it_waits) {
  gate g;
  int steps = 0;
  auto work = [&]() -> task<> {
    ++steps;
    co_await g.passed();
    ++steps;
  };
  task<> t = work();
  EXPECT_EQ(steps, 1);
  EXPECT_FALSE(t.done());
  g.open();
  EXPECT_EQ(steps, 2);
  EXPECT_TRUE(t.done());
  EXPECT_EQ(t.failure(), nullptr);
}

TEST(task, gives_its_value_to_who_awaits_it) {
  gate g;
  int sum = 0;
  auto outer = [&]() -> task<> {
    sum += co_await number(1);  // done already
    sum += co_await after(g, 10);
  };
  task<> t = outer();
  EXPECT_EQ(sum, 1);
  g.open();
  EXPECT_EQ(sum, 11);
  EXPECT_TRUE(t.done());
}

TEST(task, moves_a_value_that_cannot_be_copied) {
  auto make = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(5); };
  int got = 0;
  auto outer = [&]() -> task<> { got = *co_await make(); };
  task<> t = outer();
  EXPECT_EQ(got, 5);
}

TEST(task, carries_an_exception_to_who_awaits_it_or_keeps_it) {
  std::string what;
  auto outer = [&]() -> task<> {
    try {
      co_await fails();
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
  };
  task<> t = outer();
  EXPECT_EQ(what, "on purpose");
  EXPECT_EQ(t.failure(), nullptr);

  task<> alone = fails();
  ASSERT_TRUE(alone.done());
  EXPECT_THROW(std::rethrow_exception(alone.failure()), std::runtime_error);
}

TEST(task, tells_its_end_and_may_be_ended_by_who_is_told) {
  gate g;
  auto t = std::make_unique<task<int>>(after(g, 3));
  struct context {
    std::unique_ptr<task<int>>* t;
    bool told = false;
  } c{&t};
  t->on_done(
      [](void* p) {
        auto& mine = *static_cast<context*>(p);
        mine.told = true;
        mine.t->reset();
      },
      &c);
  g.open();
  EXPECT_TRUE(c.told);
  EXPECT_EQ(t, nullptr);
}

TEST(task, ended_while_it_waits_ends_all_that_it_awaits) {
  gate g;
  int alive = 0;
  auto inner = [&]() -> task<int> {
    const guard mine(alive);
    co_await g.passed();
    co_return 1;
  };
  auto outer = [&]() -> task<> {
    const guard mine(alive);
    co_await inner();
    ADD_FAILURE() << "it was ended";
  };
  {
    task<> t = outer();
    EXPECT_EQ(alive, 2);
    task<> moved = std::move(t);
    EXPECT_FALSE(t);
    EXPECT_EQ(alive, 2);
    moved = task<>{};
    EXPECT_EQ(alive, 0);
  }
}

TEST(task, a_thousand_deep_needs_no_deep_stack) {
  gate g;
  struct recursion {
    static task<int> down(gate& g, int n) {
      if (n == 0) co_return co_await after(g, 0);
      co_return 1 + co_await down(g, n - 1);
    }
  };
  task<int> t = recursion::down(g, 1000);
  g.open();
  ASSERT_TRUE(t.done());
}

TEST(task, sleep_resumes_on_its_core_after_the_time_and_ends_quietly) {
  engine_host host({});
  host.start();
  std::atomic<int> steps{0};
  struct at_home {
    std::vector<task<>> tasks;
  } mine;
  const auto begin = std::chrono::steady_clock::now();
  host.on_core([&] {
    auto work = [](std::atomic<int>& n) -> task<> {
      core* const here = core::current();
      co_await catenet::sleep(50);
      EXPECT_EQ(core::current(), here);
      ++n;
      co_await catenet::sleep(1);
      ++n;
      co_await catenet::sleep(1'000'000);
      ADD_FAILURE() << "it was ended before";
    };
    mine.tasks.push_back(work(steps));
  });
  EXPECT_TRUE(eventually([&] { return steps == 2; }));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
  host.on_core([&] { mine.tasks.clear(); });
  EXPECT_EQ(host.on_core([] { return core::current()->timers().until_next(); }), -1);
  host.stop();
}

}  // namespace
