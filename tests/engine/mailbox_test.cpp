// Mailboxes and the callables that go through them.
#include <catenet/engine/callback.hpp>

#include <gtest/gtest.h>
#include <mailbox.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using catenet::callback;
using catenet::mailbox;

TEST(callback, is_empty_by_default_and_moves) {
  callback<int(int)> f;
  EXPECT_FALSE(f);
  f = [own = std::make_unique<int>(40)](int x) { return *own + x; };
  ASSERT_TRUE(f);
  EXPECT_EQ(f(2), 42);
  callback<int(int)> g = std::move(f);
  EXPECT_FALSE(f);
  EXPECT_EQ(g(3), 43);
}

TEST(callback, keeps_state_between_calls_and_passes_references) {
  callback<int(std::string&)> f = [n = 0](std::string& s) mutable {
    s += 'x';
    return ++n;
  };
  std::string s;
  f(s);
  EXPECT_EQ(f(s), 2);
  EXPECT_EQ(s, "xx");
  const auto named = [](std::string&) { return 7; };
  callback<int(std::string&)> copied = named;  // from an lvalue: a copy
  EXPECT_EQ(copied(s), 7);
}

TEST(callback, lets_exceptions_through_and_ends_its_target_once) {
  int ended = 0;
  struct guard {
    int* count;
    explicit guard(int* c) : count(c) {}
    guard(guard&& o) noexcept : count(std::exchange(o.count, nullptr)) {}
    ~guard() {
      if (count != nullptr) ++*count;
    }
  };
  {
    callback<void()> f = [g = guard(&ended)] { throw std::runtime_error("x"); };
    EXPECT_THROW(f(), std::runtime_error);
  }
  EXPECT_EQ(ended, 1);
}

TEST(mailbox, keeps_the_order_of_each_of_many_senders) {
  constexpr int senders = 4, letters = 20000;
  mailbox box;
  std::vector<int> next(senders, 0);
  std::atomic<int> finished{0};
  std::vector<std::thread> threads;
  for (int who = 0; who != senders; ++who)
    threads.emplace_back([&, who] {
      for (int n = 0; n != letters; ++n) ASSERT_TRUE(box.push([&, who, n] { ASSERT_EQ(next[who]++, n); }));
      ++finished;
    });
  while (finished != senders || !box.empty()) box.run();
  for (std::thread& t : threads) t.join();
  for (const int n : next) EXPECT_EQ(n, letters);
}

TEST(mailbox, what_a_letter_posts_waits_for_the_next_run) {
  mailbox box;
  int ran = 0;
  box.push([&] {
    ++ran;
    box.push([&] { ++ran; });
  });
  EXPECT_TRUE(box.run());
  EXPECT_EQ(ran, 1);
  EXPECT_TRUE(box.run());
  EXPECT_EQ(ran, 2);
  EXPECT_FALSE(box.run());
}

TEST(mailbox, once_closed_refuses_and_drops_what_it_held) {
  auto held = std::make_shared<int>(1);
  mailbox box;
  box.push([held] {});
  EXPECT_EQ(held.use_count(), 2);
  box.close();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(box.push([held] { FAIL(); }));
  EXPECT_EQ(held.use_count(), 1);
  box.run();
  EXPECT_FALSE(box.push([] {}));
  box.close();
}

TEST(mailbox, closing_against_pushing_loses_nobody_silently) {
  // What was taken (true) ran or was dropped with its captures; what was refused (false) was dropped too.
  for (int round = 0; round != 200; ++round) {
    auto token = std::make_shared<int>(0);
    std::atomic<int> taken{0}, ran{0};
    {
      mailbox box;
      std::thread sender([&] {
        for (int n = 0; n != 100; ++n)
          if (box.push([token, &ran] { ++ran; })) ++taken;
      });
      for (int n = 0; n != round % 7; ++n) box.run();
      box.close();
      sender.join();
      EXPECT_LE(ran, taken);
    }
    EXPECT_EQ(token.use_count(), 1);
  }
}

TEST(mailbox, ends_with_letters_inside) {
  auto held = std::make_shared<int>(1);
  {
    mailbox box;
    for (int n = 0; n != 10; ++n) box.push([held] {});
  }
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
