// Every interleaving of two or three threads over the slab's lock-free parts: shelf slots, inbox and
// resignation, and the hand-off to a waiter. The sources under test are those of production, with other
// atomics. Each scene also runs once in a broken form, which the checker must find.
#include <catenet/slab/sanitizer.hpp>
#include <catenet/slab/shelf.hpp>

#include "inbox.hpp"
#include "interleave.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <set>

namespace catenet::test {
namespace {

#ifndef CATENET_TSAN  // it does not follow swapcontext

using interleave::checker;
using interleave::executions_max;

struct node {
  node* next = nullptr;
  interleave::plain<int> payload;
};

// ---- slots
// ---------------------------------------------------------------------------------------------------

struct slots_scene {
  batch_slots<node, 2, interleave::atomic> slots;
  std::array<node, 3> nodes;
  std::vector<node*> taken, refused;
  void put(std::size_t i) {
    nodes[i].payload.write(static_cast<int>(i));
    if (!slots.put(&nodes[i])) refused.push_back(&nodes[i]);
  }
  void take() {
    if (node* n = slots.take()) {
      EXPECT_EQ(n->payload.read(), static_cast<int>(n - nodes.data()));
      taken.push_back(n);
    }
  }
  std::string verdict(std::size_t count) {
    std::vector<node*> all = taken;
    all.insert(all.end(), refused.begin(), refused.end());
    while (node* n = slots.take()) all.push_back(n);
    const std::set<node*> different(all.begin(), all.end());
    if (different.size() != all.size()) return "a batch was taken twice";
    return all.size() == count ? "" : "a batch was lost";
  }
};

TEST(interleaving, slots_lose_and_double_nothing) {
  checker all, more;
  EXPECT_EQ(all.explore([] {
    auto s = std::make_shared<slots_scene>();
    return checker::scene{{[s] { s->put(0); }, [s] { s->take(); }, [s] { s->put(1); }},
                          [s] { return s->verdict(2); }};
  }),
            "");
  EXPECT_TRUE(all.complete()) << "after " << all.executions() << " executions";
  EXPECT_EQ(more.explore(
                [] {
                  auto s = std::make_shared<slots_scene>();
                  return checker::scene{
                      {[s] { s->put(0), s->put(1); }, [s] { s->take(), s->take(); }, [s] { s->put(2); }},
                      [s] { return s->verdict(3); }};
                },
                executions_max()),
            "");
}

TEST(interleaving, two_takers_never_get_the_same_batch) {
  checker c;
  EXPECT_EQ(c.explore([] {
    auto s = std::make_shared<slots_scene>();
    return checker::scene{{[s] { s->put(0); }, [s] { s->take(); }, [s] { s->take(); }},
                          [s] { return s->verdict(1); }};
  }),
            "");
  EXPECT_TRUE(c.complete());
}

// ---- inbox and resignation
// -----------------------------------------------------------------------------------

struct inbox_scene {
  inbox<node, interleave::atomic> box;
  interleave::mutex registry;
  std::array<node, 3> nodes;
  int settled = 0;
  bool look_before_push = false;

  void settle_all() {
    for (node* n = box.take_all(); n != nullptr; n = n->next) settled += n->payload.read();
  }
  void send(std::size_t i) {
    nodes[i].payload.write(1);
    const bool early = look_before_push && box.held();
    box.push(&nodes[i], &nodes[i]);
    if (early || (!look_before_push && box.held())) return;
    settle_if_gone();
  }
  void settle_if_gone() {
    {
      const std::lock_guard lock(registry);
      if (!box.claim()) return;
    }
    leave();
  }
  // What ~pool does.
  void leave() {
    do settle_all();
    while (!resigned());
  }
  bool resigned() {
    const std::lock_guard lock(registry);
    return box.resign();
  }
};

std::string run_inbox(checker& c, std::size_t senders, bool broken) {
  return c.explore(
      [senders, broken] {
        auto s = std::make_shared<inbox_scene>();
        s->look_before_push = broken;
        std::vector<std::function<void()>> threads{[s] { s->leave(); }};
        for (std::size_t i = 0; i != senders; ++i) threads.push_back([s, i] { s->send(i); });
        // The home holds its number when the scene begins.
        EXPECT_TRUE(s->box.claim());
        return checker::scene{
            threads, [s, senders]() -> std::string {
              return s->settled == static_cast<int>(senders) ? "" : "something waits in the inbox of nobody";
            }};
      },
      executions_max());
}

TEST(interleaving, a_drop_against_the_end_of_its_home_is_settled_once) {
  checker one, two;
  EXPECT_EQ(run_inbox(one, 1, false), "");
  EXPECT_TRUE(one.complete()) << one.executions();
  EXPECT_EQ(run_inbox(two, 2, false), "");
}

TEST(interleaving, looking_before_pushing_would_lose_a_drop) {
  checker c;
  EXPECT_EQ(run_inbox(c, 1, true), "something waits in the inbox of nobody");
}

// ---- hand-off
// ------------------------------------------------------------------------------------------------

enum class broken : std::uint8_t {
  no,
  flag_first,      // the giver looks at the flag before the batch can be seen
  forgets_late,    // who gives up does not look at what was put aside meanwhile
  keeps_for_self,  // who gives up keeps what was put aside, and others wait
};

// depot::put, want_blocks, hand_out, collect and forget, in the order in which they touch slots and flag.
struct hand_off_scene {
  struct want_entry {
    bool waits = false;         // guarded by shelf
    node* delivered = nullptr;  // guarded by shelf
    node* got = nullptr;
  };
  batch_slots<node, 1, interleave::atomic> slots;
  interleave::atomic<std::uint32_t> wanted{0};
  interleave::mutex shelf;
  node block;
  std::array<want_entry, 2> wants;
  broken how = broken::no;

  void put(node* b) {
    const bool early = how == broken::flag_first;
    const bool seen = early && wanted.load(std::memory_order_seq_cst) != 0;
    EXPECT_TRUE(slots.put(b));
    if (early ? seen : wanted.load(std::memory_order_seq_cst) != 0) hand_out();
  }
  void hand_out() {
    const std::lock_guard lock(shelf);
    for (want_entry& w : wants)
      if (w.waits && w.delivered == nullptr) w.delivered = slots.take();
  }
  void want(std::size_t i) {
    {
      const std::lock_guard lock(shelf);
      wants[i].waits = true;
      wanted.store(1, std::memory_order_seq_cst);
    }
    hand_out();
  }
  void collect(std::size_t i) {
    const std::lock_guard lock(shelf);
    wants[i].got = std::exchange(wants[i].delivered, nullptr);
  }
  void give_up(std::size_t i) {
    {
      const std::lock_guard lock(shelf);
      wants[i].waits = false;
      if (!wants[0].waits && !wants[1].waits) wanted.store(0, std::memory_order_seq_cst);
    }
    if (how == broken::forgets_late) return;
    collect(i);
    if (wants[i].got != nullptr && how != broken::keeps_for_self) put(std::exchange(wants[i].got, nullptr));
  }
  std::string verdict() {
    node* lying = slots.take();
    int places = lying != nullptr;
    for (const want_entry& w : wants) {
      places += (w.delivered != nullptr) + (w.got != nullptr);
      if (!w.waits && w.delivered != nullptr) return "a block was put aside for nobody";
    }
    if (places != 1) return "the block was lost or doubled";
    for (std::size_t i = 0; i != 2; ++i)
      if (wants[i].waits && wants[i].delivered == nullptr &&
          (lying != nullptr || wants[1 - i].got != nullptr))
        return "somebody waits beside a free block";
    return {};
  }
};

// One puts a block down; the others' steps are told by letters: w wants, g gives up.
std::string run_hand_off(const std::vector<std::string>& others, broken how = broken::no,
                         bool* complete = nullptr) {
  checker c;
  const std::string wrong = c.explore(
      [&] {
        auto s = std::make_shared<hand_off_scene>();
        s->how = how;
        std::vector<std::function<void()>> threads{[s] { s->put(&s->block); }};
        for (std::size_t i = 0; i != others.size(); ++i)
          threads.push_back([s, i, steps = others[i]] {
            for (const char step : steps) step == 'w' ? s->want(i) : s->give_up(i);
          });
        return checker::scene{threads, [s] { return s->verdict(); }};
      },
      others.size() == 1 ? 3'000'000 : executions_max());
  if (complete != nullptr) *complete = c.complete();
  return wrong;
}

TEST(interleaving, nobody_waits_beside_a_free_block) {
  for (const char* steps : {"w", "wg", "wgw", "wgwg"}) {
    bool complete = false;
    EXPECT_EQ(run_hand_off({steps}, broken::no, &complete), "") << steps;
    EXPECT_TRUE(complete) << steps;
  }
}

TEST(interleaving, one_gives_up_at_every_step_while_another_waits) {
  EXPECT_EQ(run_hand_off({"wg", "w"}), "");
  EXPECT_EQ(run_hand_off({"w", "wg"}), "");
  EXPECT_EQ(run_hand_off({"wg", "wg"}), "");
}

TEST(interleaving, looking_at_the_flag_first_would_lose_a_wake_up) {
  EXPECT_EQ(run_hand_off({"w"}, broken::flag_first), "somebody waits beside a free block");
}

TEST(interleaving, who_gives_up_has_to_look_for_what_came_late_and_to_pass_it_on) {
  EXPECT_EQ(run_hand_off({"wg"}, broken::forgets_late), "a block was put aside for nobody");
  EXPECT_EQ(run_hand_off({"wg", "w"}, broken::keeps_for_self), "somebody waits beside a free block");
}

// ---- the checker itself
// --------------------------------------------------------------------------------------

TEST(interleaving, the_checker_sees_a_missing_release) {
  struct scene {
    interleave::atomic<bool> ready{false};
    interleave::plain<int> data;
  };
  const auto run = [](std::memory_order order) {
    checker c;
    return c.explore([order] {
      auto s = std::make_shared<scene>();
      return checker::scene{{[s, order] {
                               s->data.write(1);
                               s->ready.store(true, order);
                             },
                             [s] {
                               if (s->ready.load(std::memory_order_acquire)) (void)s->data.read();
                             }},
                            [] { return std::string{}; }};
    });
  };
  EXPECT_EQ(run(std::memory_order_release), "");
  EXPECT_NE(run(std::memory_order_relaxed), "");
}

#endif

}  // namespace
}  // namespace catenet::test
