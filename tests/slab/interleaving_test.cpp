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

// depot::put, want_blocks, hand_out, collect and forget, in the order in which they touch slots and flag.
struct hand_off_scene {
  batch_slots<node, 1, interleave::atomic> slots;
  interleave::atomic<std::uint32_t> wanted{0};
  interleave::mutex shelf;
  node block;
  bool waits = false;         // guarded by shelf
  node* delivered = nullptr;  // guarded by shelf
  bool flag_first = false;    // the broken form: the giver looks at the flag before the batch can be seen
  node* got = nullptr;

  void put(node* b) {
    const bool seen = flag_first && wanted.load(std::memory_order_seq_cst) != 0;
    EXPECT_TRUE(slots.put(b));
    if (flag_first ? seen : wanted.load(std::memory_order_seq_cst) != 0) hand_out();
  }
  void hand_out() {
    const std::lock_guard lock(shelf);
    if (!waits || delivered != nullptr) return;
    delivered = slots.take();
  }
  void want() {
    {
      const std::lock_guard lock(shelf);
      waits = true;
      wanted.store(1, std::memory_order_seq_cst);
    }
    hand_out();
  }
  void collect() {
    const std::lock_guard lock(shelf);
    got = std::exchange(delivered, nullptr);
  }
  void forget() {
    {
      const std::lock_guard lock(shelf);
      waits = false;
      wanted.store(0, std::memory_order_seq_cst);
    }
    collect();
    if (got != nullptr) put(std::exchange(got, nullptr));
  }
  std::string verdict() {
    node* lying = slots.take();
    const int places = (lying != nullptr) + (delivered != nullptr) + (got != nullptr);
    if (places != 1) return "the block was lost or doubled";
    if (waits && lying != nullptr) return "somebody waits beside a free block";
    if (!waits && delivered != nullptr) return "a block was put aside for nobody";
    return {};
  }
};

std::string run_hand_off(checker& c, bool cancel, bool broken) {
  return c.explore([cancel, broken] {
    auto s = std::make_shared<hand_off_scene>();
    s->flag_first = broken;
    return checker::scene{{[s] { s->put(&s->block); },
                           [s, cancel] {
                             s->want();
                             if (cancel) s->forget();
                           }},
                          [s] { return s->verdict(); }};
  });
}

TEST(interleaving, nobody_waits_beside_a_free_block) {
  checker wait, cancel;
  EXPECT_EQ(run_hand_off(wait, false, false), "");
  EXPECT_TRUE(wait.complete());
  EXPECT_EQ(run_hand_off(cancel, true, false), "");
  EXPECT_TRUE(cancel.complete());
}

TEST(interleaving, looking_at_the_flag_first_would_lose_a_wake_up) {
  checker c;
  EXPECT_EQ(run_hand_off(c, false, true), "somebody waits beside a free block");
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
