// Giving up while waiting for a block, at every moment: in every order of returns, turns and withdrawals,
// from within another's callback, and in every place among ten thousand.
#include <catenet/slab/waiter.hpp>

#include "asker.hpp"
#include "fixture.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace catenet::test {
namespace {

// Two blocks, one rented at home and one in another pool, and three who wait at home: two readers and,
// between them, one who transmits. `script` says what happens, one letter each: h the block here comes back,
// f the other one does, t a turn, and 0 to 2 who gives up.
class every_moment {
 public:
  /// What went wrong, or "".
  std::string run(const std::string& script) {
    std::vector<int> order;
    std::array<std::unique_ptr<asker>, 3> askers;
    std::array<bool, 3> gave_up{};
    const auto urgency = [](int i) { return i == 1 ? priority::transmit : priority::read; };
    begin();
    for (int i = 0; i != 3; ++i) {
      auto& a = askers[static_cast<std::size_t>(i)] = std::make_unique<asker>(urgency(i), order, i);
      if (home.rent_or_wait(*a) != nullptr) return "a block for who comes while both are out";
    }
    for (const char step : script) {
      if (step == 'h') here.reset();
      if (step == 'f') return_abroad();
      if (step == 't') home.turn();
      if (step < '0' || step > '2') continue;
      const auto who = static_cast<std::size_t>(step - '0');
      gave_up[who] = askers[who]->waiting();
      askers[who]->cancel();
      if (askers[who]->waiting()) return "waits although it gave up";
    }
    settle();
    const std::string wrong = verdict(order, gave_up);
    for (auto& a : askers) a.reset();
    settle();
    if (d.wanted() != 0) return "the depot believes that somebody waits";
    if (out(d) != 0) return "a block is lost";
    return wrong.empty() ? conservation(d) : wrong;
  }

 private:
  void begin() {
    abroad.spill_all();
    here = lease{home.rent(0)};
    home.spill_all();
    pool::make_current(&abroad);
    there = lease{abroad.rent(0)};
    pool::make_current(&home);
    EXPECT_TRUE(here);
    EXPECT_TRUE(there);
  }
  void return_abroad() {
    pool::make_current(&abroad);
    there.reset();
    abroad.turn();
    pool::make_current(&home);
  }
  void settle() {
    for (int i = 0; i != 4; ++i) {
      home.turn();
      pool::make_current(&abroad);
      abroad.turn();
      pool::make_current(&home);
    }
  }
  // Both blocks have come back: so two are served, of those who wanted to be, and in their order.
  static std::string verdict(const std::vector<int>& order, const std::array<bool, 3>& gave_up) {
    std::vector<int> wanted;
    for (const int i : {1, 0, 2})
      if (!gave_up[static_cast<std::size_t>(i)]) wanted.push_back(i);
    wanted.resize(std::min<std::size_t>(wanted.size(), 2));
    if (order == wanted) return {};
    std::string text = "served:";
    for (const int i : order) text += ' ' + std::to_string(i);
    return text;
  }

  depot d{small_depot(2_MiB, {1_MiB})};
  pool home{d}, abroad{d};
  lease here, there;
};

TEST(cancellation, in_every_order_of_returns_turns_and_withdrawals) {
  every_moment all;
  int scripts = 0;
  for (unsigned who = 0; who != 8; ++who) {
    std::string script = "fhtt";
    for (unsigned i = 0; i != 3; ++i)
      if ((who >> i & 1) != 0) script += static_cast<char>('0' + i);
    std::sort(script.begin(), script.end());
    do {
      ASSERT_EQ(all.run(script), "") << script;
      ++scripts;
    } while (std::next_permutation(script.begin(), script.end()));
  }
  EXPECT_EQ(scripts, 12 + 3 * 60 + 3 * 360 + 2520);
}

// Who is served withdraws another, or ends it, in the middle of a turn that has a block for that one too.
struct spoiler : waiter {
  spoiler(std::vector<int>& to, int number)
      : waiter(0, priority::read, &spoiler::served_now), order(to), name(number) {}
  static void served_now(waiter& w, lease l) {
    auto& self = static_cast<spoiler&>(w);
    self.order.push_back(self.name);
    self.got = std::move(l);
    if (self.victim != nullptr) self.victim->reset();
  }
  std::vector<int>& order;
  int name;
  std::unique_ptr<spoiler>* victim = nullptr;
  lease got;
};

TEST_F(waiting_test, any_may_be_ended_from_the_callback_of_any_other) {
  constexpr int count = 4;
  for (int who = 0; who != count; ++who) {
    for (int whom = 0; whom != count; ++whom) {
      if (who == whom) continue;
      std::vector<int> order, expected;
      std::array<std::unique_ptr<spoiler>, count> all;
      for (int i = 0; i != count; ++i) {
        all[static_cast<std::size_t>(i)] = std::make_unique<spoiler>(order, i);
        ASSERT_EQ(home->rent_or_wait(*all[static_cast<std::size_t>(i)]), nullptr);
        // One who has been served before its turn to be ended has been served.
        if (i != whom || whom < who) expected.push_back(i);
      }
      all[static_cast<std::size_t>(who)]->victim = &all[static_cast<std::size_t>(whom)];
      held.clear();
      for (int turns = 0; turns != count; ++turns) {
        home->turn();
        for (auto& one : all)
          if (one) one->got.reset();
      }
      ASSERT_EQ(order, expected) << who << " ends " << whom;
      home->turn();
      while (lease l = lease::of(1_MiB)) held.push_back(std::move(l));
      ASSERT_EQ(held.size(), 2u);
    }
  }
}

constexpr int many = 10'000;

TEST_F(waiting_test, ten_thousand_and_each_place_is_given_up_once) {
  std::vector<int> order, expected;
  std::deque<asker> all;
  for (int i = 0; i != many; ++i) {
    ASSERT_EQ(home->rent_or_wait(all.emplace_back(priority::read, order, i)), nullptr);
    expected.push_back(i);
  }
  for (std::size_t place = 0; place != many; ++place) {
    const int who = expected[place];
    all[static_cast<std::size_t>(who)].cancel();
    ASSERT_EQ(central.statistics().classes[0].waiters, many - 1u);
    ASSERT_EQ(home->rent_or_wait(all[static_cast<std::size_t>(who)]), nullptr);
    expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(place));
    expected.push_back(who);
  }
  held.clear();
  for (std::size_t seen = 0; order.size() != many;) {
    home->turn();
    ASSERT_GT(order.size(), seen) << "nobody is served beside free blocks";
    for (; seen != order.size(); ++seen) all[static_cast<std::size_t>(order[seen])].got.reset();
  }
  EXPECT_EQ(order, expected);
}

// One is served after the other, and at each of them one gives up: the next, before its block has come back
// or after, or the last.
TEST_F(waiting_test, ten_thousand_and_at_each_moment_one_gives_up) {
  std::vector<int> order, expected;
  std::deque<asker> all;
  std::deque<int> waiting;
  for (int i = 0; i != many; ++i) {
    ASSERT_EQ(home->rent_or_wait(all.emplace_back(priority::read, order, i)), nullptr);
    waiting.push_back(i);
  }
  const auto give_up = [&](bool first) {
    all[static_cast<std::size_t>(first ? waiting.front() : waiting.back())].cancel();
    first ? waiting.pop_front() : waiting.pop_back();
  };
  held.pop_back();  // one block goes around, the other stays out
  home->turn();
  ASSERT_EQ(order, (std::vector{0}));
  waiting.pop_front();
  expected.push_back(0);
  for (int moment = 0; waiting.size() > 2; ++moment) {
    if (moment % 3 == 0) give_up(true);
    all[static_cast<std::size_t>(order.back())].got.reset();
    if (moment % 3 == 1) give_up(true);
    if (moment % 3 == 2) give_up(false);
    expected.push_back(waiting.front());
    waiting.pop_front();
    home->turn();
    ASSERT_EQ(order, expected) << "moment " << moment;
    if (order.size() > 1) order.erase(order.begin()), expected.erase(expected.begin());
  }
  while (!waiting.empty()) give_up(true);
  all[static_cast<std::size_t>(order.back())].got.reset();
}

}  // namespace
}  // namespace catenet::test
