// Giving up while waiting at the end of a channel or for a writer's room, at every moment: in every order of
// pushes, pops, turns and withdrawals, from within another that is resumed, and in every place among ten
// thousand.
#include <catenet/bus/channel.hpp>
#include <catenet/bus/flusher.hpp>
#include <catenet/bus/writer.hpp>
#include <catenet/engine/task.hpp>

#include "bus_slab.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace catenet;
using bus::packet;
using bus::producers;
using bus::push_result;
using bus::send_packet;
using bus::station;

constexpr int three = 3;

send_packet letter(int number) { return *packet::copy_of(std::to_string(number))->clone().send(); }
int number_of(send_packet&& p) { return std::stoi(std::move(p).take().to_string()); }

// A channel of two places with three who wait at one end. `script` says what happens, one letter each: o the
// other end pushes or pops, t a turn, 0 to 2 who gives up. Everything is on one thread: what another thread
// does comes to this one as a bell, between two turns.
class scene {
 public:
  explicit scene(producers who) { std::tie(tx, rx) = bus::make_channel(2, who); }
  virtual ~scene() = default;
  scene(const scene&) = delete;
  scene& operator=(const scene&) = delete;

  /// What went wrong, or "".
  std::string run(const std::string& script) {
    for (int i = 0; i != three; ++i) waiting[static_cast<std::size_t>(i)].emplace(begin(i));
    for (const char step : script) {
      if (step == 'o') other_end();
      if (step == 't') here.turn();
      if (step >= '0' && step <= '2') give_up(step - '0');
    }
    for (int i = 0; i != three; ++i) here.turn();
    std::string wrong = verdict();
    for (auto& task : waiting) task.reset();
    return wrong;
  }
  /// When that one is resumed, it ends the other.
  std::array<int, three> ends{-1, -1, -1};

 protected:
  virtual task<> begin(int number) = 0;
  virtual void other_end() = 0;
  virtual std::string verdict() = 0;
  void give_up(int number) {
    waiting[static_cast<std::size_t>(number)].reset();
    if (!done[static_cast<std::size_t>(number)]) gone[static_cast<std::size_t>(number)] = true;
  }
  void resumed(int number) {
    done[static_cast<std::size_t>(number)] = true;
    if (const int whom = ends[static_cast<std::size_t>(number)]; whom >= 0) give_up(whom);
  }
  /// Those who have not given up, in order.
  std::vector<int> patient() const {
    std::vector<int> left;
    for (int i = 0; i != three; ++i)
      if (!gone[static_cast<std::size_t>(i)]) left.push_back(i);
    return left;
  }

  station here;
  bus::sender tx;
  bus::receiver rx;
  std::array<std::optional<task<>>, three> waiting;
  std::array<bool, three> done{}, gone{};
};

class receivers final : public scene {
 public:
  using scene::scene;

 private:
  task<> begin(int number) override {
    auto p = co_await rx.receive();
    got.push_back(number_of(std::move(*p)));
    order.push_back(number);
    resumed(number);
  }
  void other_end() override {
    send_packet p = letter(pushed);
    if (tx.try_send(p) == push_result::sent) ++pushed;
  }
  std::string verdict() override {
    std::vector<int> expected = patient();
    if (expected.size() > static_cast<std::size_t>(pushed) && rx.size() != 0) return "waits beside a packet";
    expected.resize(std::min(expected.size(), static_cast<std::size_t>(pushed)));
    if (order != expected) return "not served in order, or somebody who gave up";
    while (auto p = rx.try_receive()) got.push_back(number_of(std::move(*p)));
    for (int i = 0; i != pushed; ++i)
      if (static_cast<std::size_t>(i) >= got.size() || got[static_cast<std::size_t>(i)] != i)
        return "a packet is lost or out of order";
    return got.size() == static_cast<std::size_t>(pushed) ? "" : "a packet came twice";
  }

  int pushed = 0;
  std::vector<int> got, order;
};

class senders final : public scene {
 public:
  explicit senders(producers who) : scene(who) {
    for (int i = 0; i != 2; ++i) {
      send_packet p = letter(100 + i);
      EXPECT_EQ(tx.try_send(p), push_result::sent);
    }
  }

 private:
  task<> begin(int number) override {
    const bool sent = co_await tx.send(letter(number));
    EXPECT_TRUE(sent);
    resumed(number);
  }
  void other_end() override {
    if (auto p = rx.try_receive()) got.push_back(number_of(std::move(*p)));
  }
  std::string verdict() override {
    std::vector<int> expected{100, 101};
    for (const int i : patient()) {
      const bool is_done = done[static_cast<std::size_t>(i)];
      if (!is_done && rx.size() < 2) return "waits beside a free place";
      if (is_done) expected.push_back(i);
    }
    while (auto p = rx.try_receive()) got.push_back(number_of(std::move(*p)));
    return got == expected ? "" : "lost, doubled, out of order, or sent by somebody who gave up";
  }

  std::vector<int> got;
};

class bus_cancellation : public testing::TestWithParam<producers> {
 protected:
  template <class Scene>
  std::string run(const std::string& script, int who = 0, int whom = -1) {
    Scene s{GetParam()};
    s.ends[static_cast<std::size_t>(who)] = whom;
    return s.run(script);
  }
  bus_slab memory;
};

TEST_P(bus_cancellation, in_every_order_of_the_other_end_turns_and_withdrawals) {
  for (unsigned who = 0; who != 8; ++who) {
    std::string script = "ooott";
    for (unsigned i = 0; i != three; ++i)
      if ((who >> i & 1) != 0) script += static_cast<char>('0' + i);
    std::sort(script.begin(), script.end());
    do {
      ASSERT_EQ(run<receivers>(script), "") << "receivers: " << script;
      ASSERT_EQ(run<senders>(script), "") << "senders: " << script;
    } while (std::next_permutation(script.begin(), script.end()));
  }
}

TEST_P(bus_cancellation, any_may_be_ended_by_any_other_that_is_resumed) {
  for (int who = 0; who != three; ++who) {
    for (int whom = 0; whom != three; ++whom) {
      if (who == whom) continue;
      for (const char* script : {"ooot", "ottoot", "otototo", "toot"}) {
        ASSERT_EQ(run<receivers>(script, who, whom), "") << who << " ends " << whom << ": " << script;
        ASSERT_EQ(run<senders>(script, who, whom), "") << who << " ends " << whom << ": " << script;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(all, bus_cancellation, testing::Values(producers::one, producers::many),
                         [](const auto& of) { return of.param == producers::one ? "one" : "many"; });

// ---- a writer's room

task<> wait_for_room(bus::writer& w, int number, std::vector<int>& served, std::vector<bus::slot>& slots) {
  bus::slot s = co_await w.reserve(1000);
  EXPECT_TRUE(s);
  served.push_back(number);
  slots.push_back(std::move(s));
}

TEST(bus_writer_cancellation, ten_thousand_and_each_place_is_given_up_once) {
  constexpr int many = 10'000;
  bus_slab memory{2_MiB};
  station here;
  bus::flusher out;
  std::vector<lease> all;
  for (lease l = lease::of(64_KiB); l; l = lease::of(64_KiB)) all.push_back(std::move(l));
  bus::writer w{out, {.block_bytes = 64_KiB}};
  std::vector<int> served, expected;
  std::vector<bus::slot> slots;
  std::vector<std::optional<task<>>> tasks(many);
  const auto ask = [&](int who) {
    tasks[static_cast<std::size_t>(who)].emplace(wait_for_room(w, who, served, slots));
    expected.push_back(who);
  };
  for (int i = 0; i != many; ++i) ask(i);
  for (std::size_t place = 0; place != many; ++place) {
    const int who = expected[place];
    tasks[static_cast<std::size_t>(who)].reset();
    ASSERT_EQ(w.waiting(), many - 1u);
    expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(place));
    ask(who);
  }
  while (served.size() != many) {
    ASSERT_FALSE(all.empty() && slots.empty()) << "nobody is served beside free blocks";
    if (!all.empty()) all.pop_back();
    const std::size_t before = served.size();
    ASSERT_TRUE(here.wait_until([&] { return served.size() != before; }, std::chrono::seconds{20}));
    slots.clear();
    out.request();
    out.take().clear();
  }
  EXPECT_EQ(served, expected);
}

}  // namespace
