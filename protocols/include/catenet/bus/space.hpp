// A space: one block that writers fill from the front, while a flusher on any thread reads what was
// committed.
//
//   [ message | message | hole | message |      free      ]
//     0                                   ▲ handed out so far
//
// Handing out and holding on are one word, so that many threads can do both at once. The memory of a space
// object outlives the space (a stock keeps it), so a thread may look at one that has just ended and be told
// so.
#pragma once

#include <catenet/slab/chain.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace catenet::bus::detail {

/// Bytes handed out (upper 40 bits) and holds (lower 24). A template over the atomic, so that the
/// interleaving checker can run it.
template <template <class> class Atomic = std::atomic>
class space_word {
 public:
  /// Begins a life with so many holds. By one thread that alone knows the space, or knows it to be dead.
  void open(std::uint32_t holds) { word_.store(holds, std::memory_order_release); }

  /// Takes another hold; the caller has one.
  void hold() { word_.fetch_add(1, std::memory_order_relaxed); }

  /// Takes a hold if the space lives still. For one who has none.
  bool try_hold() {
    std::uint64_t seen = word_.load(std::memory_order_relaxed);
    while ((seen & holds_mask) != 0)
      if (word_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed))
        return true;
    return false;
  }

  /// Gives a hold up; true when it was the last, and the caller has to end the space.
  bool drop() { return (word_.fetch_sub(1, std::memory_order_acq_rel) & holds_mask) == 1; }

  /// Hands out `bytes` bytes; returns where they begin, which may be at or beyond the end. The caller has a
  /// hold.
  std::uint64_t take(std::uint64_t bytes) {
    return word_.fetch_add(bytes << holds_bits, std::memory_order_relaxed) >> holds_bits;
  }
  [[nodiscard]] std::uint64_t handed_out() const {
    return word_.load(std::memory_order_relaxed) >> holds_bits;
  }

 private:
  static constexpr unsigned holds_bits = 24;
  static constexpr std::uint64_t holds_mask = (std::uint64_t{1} << holds_bits) - 1;
  Atomic<std::uint64_t> word_{0};
};

/// The space that writers of several threads fill now. Whoever finds it full opens the next; of several who
/// do so at once one wins, and all go on there. A template so that the interleaving checker can run it.
template <class Space, template <class> class Atomic = std::atomic>
class shared_current {
 public:
  /// For one who has a hold on `ours` (or null, at the beginning) and found it full: another one, with a hold
  /// for the caller. `open(holds)` makes one, or null: then there is none.
  template <class Open>
  Space* go_on(Space* ours, Open&& open) {
    for (;;) {
      Space* seen = current_.load(std::memory_order_acquire);
      if (seen != nullptr && seen != ours) {
        if (seen->word.try_hold()) return seen;
        continue;  // it has ended since, so another is current
      }
      Space* fresh = open(2);  // a hold for `current_`, one for the caller
      if (fresh == nullptr) return nullptr;
      if (current_.compare_exchange_strong(seen, fresh, std::memory_order_acq_rel,
                                           std::memory_order_relaxed)) {
        if (seen != nullptr) seen->drop();
        return fresh;
      }
      fresh->drop();
      fresh->drop();
    }
  }
  void let_go() {
    if (Space* s = current_.exchange(nullptr, std::memory_order_acquire)) s->drop();
  }

 private:
  Atomic<Space*> current_{nullptr};
};

class space_stock;

/// Who holds one: its writers (one hold each while they write to it, passed on to the flusher through their
/// log when they have left), each view of it on a thread that is not its home, and the `current` pointer of
/// shared blocks.
struct alignas(64) space {
  space_word<> word;
  std::byte* data = nullptr;
  std::uint32_t capacity = 0;
  block* home_block = nullptr;  ///< counted on its home thread only
  chain whole;                  ///< the reference that keeps the block; travels home when the space ends
  std::shared_ptr<space_stock> stock;  ///< while it lives
  chain seen;                          ///< the flusher's view of it during a take(); the flusher's alone

  [[nodiscard]] bool at_home() const {
    const pool* p = pool::current();
    return p != nullptr && home_block->home == p->id();
  }
  void drop() {
    if (word.drop()) end();
  }
  void end();

  /// A chain of one segment over the whole block for a thread that is not its home, with a hold of its own.
  /// Empty when memory ran out.
  chain map();
};

/// Where space objects come from and go back to. Thread-safe; used once a block.
class space_stock : public std::enable_shared_from_this<space_stock> {
 public:
  ~space_stock();
  /// A space over a leased block, with so many holds. Null, and the lease as it was, when memory ran out.
  space* open(lease&& over, std::uint32_t holds);

 private:
  friend struct space;
  void give(space* s);

  std::mutex mutex_;
  std::vector<space*> all_;   // guarded by mutex_
  std::vector<space*> free_;  // guarded by mutex_; has room for all
};

}  // namespace catenet::bus::detail
