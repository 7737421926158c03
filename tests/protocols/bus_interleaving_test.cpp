// Every interleaving of two or three threads over the bus's cross-core parts: rings, waiting and waking at a
// channel, bells and a sleeping station, the flusher's list of dirty writers, a writer's log, spaces that
// writers share. The sources under test are those of production, with other atomics. Each part also runs with
// a fault put in on purpose (a weaker order, a fence left out, looking before telling), which the checker
// must find.
#include <catenet/bus/dirty_list.hpp>
#include <catenet/bus/handshake.hpp>
#include <catenet/bus/range_log.hpp>
#include <catenet/bus/ring.hpp>
#include <catenet/bus/space.hpp>
#include <catenet/slab/sanitizer.hpp>

#include "slab/interleave.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace catenet::bus::detail {
namespace {

#ifndef CATENET_TSAN  // it does not follow swapcontext

using interleave::checker;
using interleave::executions_max;
using interleave::plain;

/// The fault of a fence that is not there.
template <class T>
class unfenced : public interleave::atomic<T> {
 public:
  using interleave::atomic<T>::atomic;
  static void full_fence() {}
};
/// The fault of stores that release nothing.
template <class T>
class relaxed : public interleave::atomic<T> {
 public:
  using interleave::atomic<T>::atomic;
  void store(T value, std::memory_order) { interleave::atomic<T>::store(value, std::memory_order_relaxed); }
};

/// What is moved through a ring: its bytes are not atomic, so reading them has to be ordered after writing.
class cargo {
 public:
  cargo() = default;
  explicit cargo(int number) { value_.write(number); }
  cargo(const cargo&) = delete;
  cargo& operator=(cargo&& other) noexcept {
    value_.write(other.number());
    return *this;
  }
  [[nodiscard]] int number() const { return value_.read(); }

 private:
  plain<int> value_;
};

template <class Scene>
std::string explore(const std::function<checker::scene(const std::shared_ptr<Scene>&)>& play, bool all,
                    bool linger = false) {
  checker c;
  if (linger) c.linger();
  std::string wrong =
      c.explore([&] { return play(std::make_shared<Scene>()); }, all ? 3'000'000 : executions_max());
  if (all && wrong.empty() && !c.complete()) wrong = "there are more than 3,000,000 executions";
  return wrong;
}

// ---- rings

template <class Ring>
struct ring_scene {
  Ring ring{2};
  std::array<int, 2> pushed{};
  std::vector<int> got;
  void push(std::size_t who, int times) {
    for (int i = 0; i != times; ++i)
      if (cargo c(static_cast<int>(10 * who) + pushed[who] + 1); ring.push(c)) ++pushed[who];
  }
  void pop(int times) {
    for (int i = 0; i != times; ++i)
      if (cargo c; ring.pop(c)) got.push_back(c.number());
  }
  std::string verdict() {
    for (cargo c; ring.pop(c);) got.push_back(c.number());
    std::array<int, 2> next{};
    for (const int number : got)
      if (number % 10 != ++next[static_cast<std::size_t>(number / 10)]) return "out of order";
    return next == pushed ? "" : "lost or doubled";
  }
};

template <template <class> class Atomic>
std::string run_one_producer(bool all) {
  using scene = ring_scene<spsc_ring<cargo, Atomic>>;
  return explore<scene>(
      [](const auto& s) {
        return checker::scene{{[s] { s->push(0, 3); }, [s] { s->pop(3); }}, [s] { return s->verdict(); }};
      },
      all);
}
template <template <class> class Atomic>
std::string run_many_producers(bool all) {
  using scene = ring_scene<mpsc_ring<cargo, Atomic>>;
  return explore<scene>(
      [](const auto& s) {
        return checker::scene{{[s] { s->push(0, 2); }, [s] { s->push(1, 1); }, [s] { s->pop(2); }},
                              [s] { return s->verdict(); }};
      },
      all);
}

TEST(bus_interleaving, rings_lose_nothing_and_keep_each_producers_order) {
  EXPECT_EQ(run_one_producer<interleave::atomic>(true), "");
  EXPECT_EQ(run_many_producers<interleave::atomic>(false), "");
}

TEST(bus_interleaving, a_ring_that_does_not_release_is_found) {
  EXPECT_NE(run_one_producer<relaxed>(false), "");
  EXPECT_NE(run_many_producers<relaxed>(false), "");
}

// ---- waiting at a channel: the receiver for a packet, a sender for room, as channel.cpp does it

template <template <class> class Atomic>
struct channel_scene {
  spsc_ring<int, interleave::atomic> ring{1};
  wait_flag<Atomic> receiver_waits, sender_waits;
  interleave::atomic<bool> receiver_rung{false}, sender_rung{false};
  bool look_first = false;  // the fault of looking for who waits before the packet is there
  int got = 0;

  static void sleep_until(interleave::atomic<bool>& rung) {
    while (!rung.exchange(false, std::memory_order_acquire))
      checker::now().block_until([&rung] { return rung.is(true); });
  }
  static void ring_bell(wait_flag<Atomic>& of, interleave::atomic<bool>& bell) {
    if (of.take()) bell.store(true, std::memory_order_seq_cst);
  }
  bool push(int value) {
    const bool early = look_first && receiver_waits.raised_by_now();
    if (!ring.push(value)) return false;
    if (look_first ? early : receiver_waits.raised_by_now()) ring_bell(receiver_waits, receiver_rung);
    return true;
  }
  void send(int value) {
    while (!push(value)) {
      sender_waits.raise();
      if (push(value)) return;
      sleep_until(sender_rung);
    }
  }
  bool pop() {
    int value = 0;
    if (ring.pop(value)) {
      if (sender_waits.raised()) ring_bell(sender_waits, sender_rung);
      got = 10 * got + value;
      return true;
    }
    if (sender_waits.raised_by_now()) ring_bell(sender_waits, sender_rung);
    return false;
  }
  void receive() {
    while (!pop()) {
      receiver_waits.raise();
      if (pop()) return;
      sleep_until(receiver_rung);
    }
  }
};

template <template <class> class Atomic>
std::string run_channel(bool look_first, bool all = false) {
  return explore<channel_scene<Atomic>>(
      [look_first](const auto& s) {
        s->look_first = look_first;
        return checker::scene{{[s] { s->send(1), s->send(2); }, [s] { s->receive(), s->receive(); }},
                              [s] { return s->got == 12 ? "" : "not what was sent"; }};
      },
      all, true);
}

TEST(bus_interleaving, neither_end_of_a_channel_sleeps_beside_what_it_waits_for) {
  EXPECT_EQ(run_channel<interleave::atomic>(false), "");
}

TEST(bus_interleaving, a_channel_without_its_fence_or_that_looks_first_is_found) {
  EXPECT_EQ(run_channel<unfenced>(false), "deadlock");
  EXPECT_EQ(run_channel<interleave::atomic>(true), "deadlock");
}

// ---- bells and a sleeping station

struct letter {
  letter* below = nullptr;
  plain<int> number;
};

struct station_scene {
  letter_box<letter, &letter::below, interleave::atomic> box;
  sleep_word<interleave::atomic> asleep;
  bool awake_word = false;  // what the futex's wake-up has said
  bool look_first = false;  // the fault of looking whether it sleeps before the bell lies there
  std::array<letter, 2> letters;
  std::vector<int> got;
  int hushed = 0;

  void ring(std::size_t i) {
    letters[i].number.write(static_cast<int>(i));
    const bool early = look_first && asleep.must_wake();
    if (!box.push(&letters[i])) {
      ++hushed;
    } else if (look_first ? early : asleep.must_wake()) {
      awake_word = true;
    }
  }
  bool turn() {
    return box.take_all([this](letter& l) { got.push_back(l.number.read()); });
  }
  void answer(std::size_t all) {
    while (got.size() != all) {
      if (turn()) continue;
      awake_word = false;
      asleep.sleep_if([this] { return box.empty(); },
                      [this] { checker::now().block_until([this] { return awake_word; }); });
    }
  }
};

std::string run_station(bool look_first, bool linger) {
  return explore<station_scene>(
      [look_first](const auto& s) {
        s->look_first = look_first;
        return checker::scene{{[s] { s->ring(0); }, [s] { s->ring(1); }, [s] { s->answer(2); }},
                              [s] { return s->got.size() == 2 ? "" : "a bell was lost"; }};
      },
      false, linger);
}

TEST(bus_interleaving, a_station_does_not_sleep_beside_a_bell) {
  EXPECT_EQ(run_station(false, false), "");
  EXPECT_EQ(run_station(false, true), "");
}

TEST(bus_interleaving, a_bell_that_looks_for_the_sleeper_first_is_found) {
  EXPECT_EQ(run_station(true, false), "deadlock");
}

TEST(bus_interleaving, a_bell_is_heard_or_hushed_when_its_station_ends) {
  EXPECT_EQ(explore<station_scene>(
                [](const auto& s) {
                  return checker::scene{{[s] { s->ring(0); }, [s] { s->ring(1); },
                                         [s] {
                                           s->turn();
                                           s->box.close([s](letter&) { ++s->hushed; });
                                         }},
                                        [s] {
                                          const std::size_t all =
                                              s->got.size() + static_cast<std::size_t>(s->hushed);
                                          return all == 2 ? "" : "a bell was lost or told twice";
                                        }};
                },
                true),
            "");
}

// ---- the flusher's list, with a writer that marks only where the flusher would not look by itself

template <template <class> class Atomic>
struct flush_scene {
  struct log {
    interleave::atomic<bool> queued{false};
    log* below = nullptr;
    plain<bool> kept;
    interleave::atomic<int> committed{0};
    int taken = 0;
    void keep() { kept.write(true); }
    log* let_go() {
      if (!kept.read()) checker::now().fail("nobody keeps what lies in the list");
      kept.write(false);
      return this;
    }
  };
  dirty_list<log, Atomic> dirty;
  std::array<log, 2> logs;
  bool rung = false;

  void commit(log& l) {
    l.committed.store(l.committed.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    if (dirty.is_missed(l) && dirty.mark(l)) rung = true;
  }
  void take() {
    rung = false;
    dirty.take_all([](log* l) { l->taken = l->committed.load(std::memory_order_acquire); });
  }
  std::string verdict() {
    if (rung) take();
    for (const log& l : logs)
      if (!l.committed.is(l.taken)) return "a commit that nobody will take";
    return {};
  }
};

template <template <class> class Atomic>
std::string run_flush(std::size_t writers, bool all) {
  return explore<flush_scene<Atomic>>(
      [writers](const auto& s) {
        std::vector<std::function<void()>> threads{[s] { s->take(); }};
        for (std::size_t w = 0; w != writers; ++w)
          threads.push_back([s, w] {
            s->commit(s->logs[w]);
            s->commit(s->logs[w]);
          });
        return checker::scene{threads, [s] { return s->verdict(); }};
      },
      all, true);
}

TEST(bus_interleaving, no_commit_is_left_behind) {
  EXPECT_EQ(run_flush<interleave::atomic>(1, true), "");
  EXPECT_EQ(run_flush<interleave::atomic>(2, false), "");
}

TEST(bus_interleaving, a_commit_without_its_fence_is_found) {
  EXPECT_EQ(run_flush<unfenced>(1, true), "a commit that nobody will take");
}

// ---- a writer's log

struct plain_memory {
  static inline int live = 0;
  static void* allocate(std::size_t bytes) {
    ++live;
    return std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  }
  static void release(void* at) {
    --live;
    std::free(at);
  }
};

// The writer commits (growing a range, opening others, a message in two pieces, leaving a space) while the
// reader takes twice: everything comes out once, in order, written, and no message in part.
template <template <class> class Atomic>
struct log_scene {
  struct bytes {
    std::array<plain<int>, 12> at;
  };
  using log = range_log<bytes, plain_memory, Atomic, 2>;
  log entries;
  std::array<bytes, 2> spaces;
  std::vector<int> got;
  bool left = false;
  bool torn = false;

  void fill(std::size_t space, std::uint32_t from, std::uint32_t to) {
    for (std::uint32_t i = from; i != to; ++i) spaces[space].at[i].write(static_cast<int>(i + 20 * space));
  }
  void commit(std::size_t space, std::uint32_t from, std::uint32_t to) {
    fill(space, from, to);
    entries.commit(&spaces[space], from, to);
  }
  void write() {
    if (!entries.make_room(6)) return;
    commit(0, 0, 2);
    commit(0, 2, 3);
    commit(0, 5, 6);
    fill(0, 8, 10);
    fill(1, 0, 3);
    entries.append({&spaces[0], 8, 10, true, false});
    entries.append({&spaces[1], 0, 3, false, false});
    entries.publish();
    entries.append({&spaces[0], 0, 0, false, true});
    entries.publish();
    commit(1, 3, 4);
  }
  void take() {
    const std::uint64_t reach = entries.reach();
    bool more = false;
    for (typename log::piece p; entries.peek(p, reach); entries.pop(p)) {
      torn |= left && p.in == &spaces[0];
      if (p.left) {
        left = true;
        continue;
      }
      for (std::uint32_t i = p.start; i != p.end; ++i) got.push_back(p.in->at[i].read());
      more = p.more;
    }
    torn |= more;
  }
  std::string verdict() {
    take();
    if (torn) return "half a message, or one after its space was left";
    return got == std::vector<int>{0, 1, 2, 5, 8, 9, 20, 21, 22, 23} ? "" : "lost, doubled or out of order";
  }
};

template <template <class> class Atomic>
std::string run_log(bool all) {
  std::string wrong = explore<log_scene<Atomic>>(
      [](const auto& s) {
        return checker::scene{{[s] { s->write(); },
                               [s] {
                                 s->take();
                                 s->take();
                               }},
                              [s] { return s->verdict(); }};
      },
      all);
  return wrong.empty() && plain_memory::live != 0 ? "a chunk was not given back" : wrong;
}

TEST(bus_interleaving, a_log_is_read_whole_and_in_order_at_any_moment) {
  EXPECT_EQ(run_log<interleave::atomic>(false), "");
}

TEST(bus_interleaving, a_log_that_does_not_release_is_found) { EXPECT_NE(run_log<relaxed>(false), ""); }

// ---- spaces that writers of several threads fill

// Writers take room and go on to the next space when theirs is full, while the current one is let go: no byte
// is handed out twice, each space ends exactly once, and nobody holds one that has ended.
template <class Word>
struct shared_scene {
  static constexpr std::uint64_t capacity = 1;
  struct space {
    Word word;
    int ended = 0;
    std::array<int, capacity> taken{};
    void drop() {
      if (word.drop()) ++ended;
    }
  };
  shared_current<space, interleave::atomic> current;
  std::array<space, 12> spaces;
  std::size_t opened = 0;
  std::string wrong;

  /// There is a space already, so that all find it current.
  shared_scene() {
    current.go_on(nullptr, [this](std::uint32_t holds) { return open(holds); })->drop();
  }

  space* open(std::uint32_t holds) {
    space& s = spaces[opened++];
    s.word.open(holds);
    return &s;
  }
  void write(int messages) {
    space* mine = nullptr;
    for (int i = 0; i != messages;) {
      std::uint64_t at = capacity;
      if (mine != nullptr) {
        if (mine->ended != 0) wrong = "a hold on a space that has ended";
        at = mine->word.take(1);
      }
      if (at < capacity) {
        if (++mine->taken[at] != 1) wrong = "a byte was handed out twice";
        ++i;
        continue;
      }
      space* next = current.go_on(mine, [this](std::uint32_t holds) { return open(holds); });
      if (mine != nullptr) mine->drop();
      mine = next;
    }
    mine->drop();
  }
  /// A writer that comes and goes.
  void visit() {
    space* s = current.go_on(nullptr, [this](std::uint32_t holds) { return open(holds); });
    if (s->ended != 0) wrong = "a hold on a space that has ended";
    s->drop();
  }
  std::string verdict() {
    current.let_go();
    for (std::size_t i = 0; i != opened; ++i)
      if (spaces[i].ended != 1) return "a space did not end once";
    return wrong;
  }
};

/// The fault of holding what may have ended.
struct careless_word : space_word<interleave::atomic> {
  bool try_hold() {
    hold();
    return true;
  }
};

template <class Word>
std::string run_shared(int visits, int messages, bool all) {
  return explore<shared_scene<Word>>(
      [visits, messages](const auto& s) {
        return checker::scene{{[s, visits, messages] { visits != 0 ? s->visit() : s->write(messages); },
                               [s, messages] { s->write(messages); }},
                              [s] { return s->verdict(); }};
      },
      all);
}

TEST(bus_interleaving, shared_spaces_end_once_and_hand_no_byte_out_twice) {
  EXPECT_EQ(run_shared<space_word<interleave::atomic>>(1, 2, true), "");
  EXPECT_EQ(run_shared<space_word<interleave::atomic>>(0, 3, false), "");
}

TEST(bus_interleaving, a_hold_on_a_space_that_has_ended_is_found) {
  EXPECT_EQ(run_shared<careless_word>(1, 2, true), "a space did not end once");
}

#endif

}  // namespace
}  // namespace catenet::bus::detail
