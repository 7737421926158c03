// The depot: the central manager. It owns every block and lends them to the pools in batches.
//
//   pool ──spill──▶ shelf of a class: 32 slots, each one batch ──refill──▶ pool
//                          │ full ▲ empty
//                          ▼      │
//                   back store (a list of batches, locked) ◀── arena carves
//
// A batch moves with one exchange: a slot holds a whole batch or nothing, so taking is exchange(null) and putting is
// one compare-exchange of null. Nothing is ever popped from a shared list, so there is no ABA.
#pragma once

#include <catenet/slab/arena.hpp>
#include <catenet/slab/block.hpp>
#include <catenet/slab/shelf.hpp>
#include <catenet/slab/size_class.hpp>
#include <catenet/slab/statistics.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace catenet {

class pool;

struct depot_options {
  size_class_table classes;
  /// Most bytes of blocks at one time; 0 means half of the machine's memory. Address space only, until used.
  std::size_t capacity = 0;
  /// Advise huge pages for extents.
  bool huge_pages = true;
  /// A batch between pool and depot: at most this many bytes and blocks.
  std::size_t batch_bytes = 256_KiB;
  std::uint32_t batch_blocks = 64;
};

/// Owns the arena and the shelves. Thread-safe. Must outlive every pool that draws from it; when it ends, every
/// block must be home (checked in builds with CATENET_CHECKS: what is missing is told on stderr).
class depot {
 public:
  explicit depot(depot_options options = {});
  ~depot();
  depot(const depot&) = delete;
  depot& operator=(const depot&) = delete;

  [[nodiscard]] bool ok() const { return arena_.ok(); }
  [[nodiscard]] const std::string& error() const { return arena_.error(); }
  [[nodiscard]] const size_class_table& classes() const { return options_.classes; }
  [[nodiscard]] arena& memory() { return arena_; }

  /// Blocks in a full batch of a class.
  [[nodiscard]] std::uint32_t batch(size_class c) const { return batch_[c]; }

  /// Takes a batch (a list by `link`, null at its end), carving a span when the shelf is empty. Empty when the
  /// capacity is reached. One atomic exchange when the shelf has a batch.
  arena::run take(size_class c);

  /// Gives a batch back; any length from 1. One atomic compare-exchange when the shelf has room.
  void put(size_class c, arena::run batch);

  /// A snapshot over all pools, without stopping them.
  [[nodiscard]] slab_statistics statistics() const;

 private:
  friend class pool;
  void enroll(pool& p);
  void leave(pool& p);

  static constexpr std::size_t shelf_slots = 32;
  struct alignas(64) shelf {
    batch_slots<block, shelf_slots> slots;
    std::mutex mutex;
    block* store = nullptr;                ///< batches; guarded by mutex
    std::atomic<std::uint64_t> total{0};   ///< blocks carved
  };

  depot_options options_;
  arena arena_;
  std::array<shelf, size_class_count_max> shelves_;
  std::array<std::uint32_t, size_class_count_max> batch_{};

  struct flows {
    std::uint64_t taken = 0, given = 0, refills = 0, spills = 0;
  };
  mutable std::mutex pools_mutex_;
  std::vector<pool*> pools_;                                // guarded by pools_mutex_
  std::array<flows, size_class_count_max> departed_flows_;  // of pools that left; guarded by pools_mutex_
};

}  // namespace catenet
