// The depot: the central manager. It owns every block and lends them to the pools in batches.
//
//   pool ──spill──▶ shelf of a class: 32 slots, each one batch ──refill──▶ pool
//                          │ full ▲ empty
//                          ▼      │
//                   store (a list of batches, locked) ──decay──▶ cold store (blocks by span) ──▶ arena ──▶
//                   system
//                                                                      ▲ carves when all else is empty
//
// A batch moves with one exchange (shelf.hpp). While a pool waits for a block, what is put down goes to it
// first.
#pragma once

#include <catenet/slab/arena.hpp>
#include <catenet/slab/block.hpp>
#include <catenet/slab/shelf.hpp>
#include <catenet/slab/size_class.hpp>
#include <catenet/slab/statistics.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace catenet {

class pool;
class extent_registry;

/// How urgent a request for a block is; the lower the more so. Waiters are served in this order, first-in
/// first-out within one.
enum class priority : std::uint8_t {
  transmit,    ///< to send what is there already: frees blocks, so it always goes first
  in_process,  ///< work under way
  known_body,  ///< to read a body whose length is known
  read,        ///< to read whatever may come
};
inline constexpr std::size_t priority_count = 4;

struct depot_options {
  size_class_table classes;
  /// Most bytes of blocks at one time; 0 means half of the machine's memory. Address space only, until used.
  std::size_t capacity = 0;
  /// Advise huge pages for extents.
  bool huge_pages = true;
  /// A batch between pool and depot: at most this many bytes and blocks.
  std::size_t batch_bytes = 256_KiB;
  std::uint32_t batch_blocks = 64;
  /// Blocks of each class up to 64 KiB that only priority::transmit gets, kept aside from the first carving
  /// on.
  std::uint32_t transmit_reserve = 4;
};

namespace detail {
// What a pool waits for at the depot, one a class. Guarded by the shelf's mutex, `ready` excepted.
struct want {
  want* next = nullptr;
  pool* who = nullptr;
  block* delivered = nullptr;  // by own.next_free; counted as in the depot until the pool picks it up
  std::uint64_t ticket = 0;    // first-in first-out between pools
  std::uint32_t needed = 0;    // blocks still to be delivered
  std::uint32_t delivered_count = 0;
  priority best = priority::read;
  bool listed = false;
};
}  // namespace detail

/// Owns the arena and the shelves. Thread-safe. Must outlive every pool that draws from it; when it ends,
/// every block must be home (in builds with CATENET_CHECKS what is missing is told on stderr, with who rented
/// it).
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

  /// Takes a batch (a list by own.next_free, null at its end), carving a span when nothing else is left.
  /// Empty when the capacity is reached, or somebody waits for this class. One atomic exchange when the shelf
  /// has a batch.
  arena::run take(size_class c);

  /// Takes one block from what is kept aside for transmitting. Empty when that is gone too.
  arena::run take_reserved(size_class c);

  /// Takes blocks of a class from that extent: cold ones, freshly carved, or one off the shelf. Empty when
  /// the extent has none, or somebody waits for this class.
  arena::run take_near(size_class c, std::size_t extent);

  /// Gives a batch back; any length from 1. One atomic compare-exchange when the shelf has room.
  void put(size_class c, arena::run batch);

  /// Which classes somebody waits for, a bit a class. Pools look at it once a turn.
  [[nodiscard]] std::uint32_t wanted() const { return wanted_.load(std::memory_order_seq_cst); }

  /// Idle memory goes back: half of what nobody needed since the last call leaves the shelves, and spans that
  /// are free as a whole return to the system. At most `blocks_max` blocks are looked at; true when there is
  /// more to do soon. Called by pool::decay.
  bool decay(std::size_t blocks_max);

  /// Extents that are registered with the kernel stay committed until the registry lets go of them.
  void set_registry(extent_registry* r) { registry_.store(r, std::memory_order_release); }

  /// A snapshot over all pools, without stopping them; `exact` says whether nothing moved while it was taken
  /// (it is tried again a few times).
  [[nodiscard]] slab_statistics statistics() const;

 private:
  friend class pool;

  static constexpr std::size_t shelf_slots = 32;
  static constexpr std::size_t trim_bytes_max = 32_MiB;  // a call of decay: bounds how long it takes
  struct alignas(64) shelf {
    batch_slots<block, shelf_slots> slots;
    atomic<std::uint64_t> total{0};            // blocks carved
    atomic<std::uint32_t> reserve_lacking{0};  // blocks that the reserve has lent out
    std::mutex mutex;                          // guards what follows
    block* store = nullptr;                    // batches
    std::uint32_t cold_spans = 0;              // spans with cold blocks: index + 1 of the first
    std::uint64_t cold = 0;                    // blocks in them
    block* reserve = nullptr;
    std::uint32_t reserved = 0;
    bool reserve_made = false;
    std::uint64_t given_before = 0;  // what the pools had given when decay was here last
    detail::want* wants = nullptr;
  };

  void enroll(pool& p);
  void leave(pool& p);

  // take, step by step; the caller holds the shelf's mutex where `shelf&` is passed.
  arena::run take_idle(shelf& s, size_class c);
  arena::run take_cold(shelf& s, std::uint32_t most);
  arena::run take_cold_near(shelf& s, std::uint32_t spans, std::size_t extent);
  arena::run take_shelved_near(shelf& s, std::size_t extent);
  arena::run carve(size_class c, std::size_t extent = arena::anywhere);
  void fill_reserve(shelf& s, arena::run& batch);
  void set_aside(size_class c, arena::run& fresh);

  // cold store
  void chill(shelf& s, block* b);
  void unlist(shelf& s, std::size_t span);
  std::uint64_t chill_batches(shelf& s, std::uint64_t blocks);
  bool decay_class(size_class c, std::size_t& budget);
  bool reclaim(size_class but);

  // waiting
  void want_blocks(size_class c, detail::want& w, std::uint32_t needed, priority best);
  arena::run collect(size_class c, detail::want& w);
  void forget(size_class c, detail::want& w);
  void unlist_want(shelf& s, size_class c, detail::want& w);
  bool hand_out(size_class c);
  void relieve(size_class returned);
  void wake(pool* who);
  void wake_holders(size_class c, const pool* but);
  void wake_home(pool_id home);
  void tell_homes();

  struct flows {
    std::uint64_t taken = 0, given = 0, refills = 0, spills = 0;
  };
#ifdef CATENET_CHECKS
  void report_missing();
#endif
  struct tally;
  void collect(tally& t) const;

  depot_options options_;
  arena arena_;
  std::array<shelf, size_class_count_max> shelves_;
  std::array<std::uint32_t, size_class_count_max> batch_{};
  atomic<std::uint32_t> wanted_{0};
  atomic<std::uint64_t> tickets_{0};
  atomic<std::uint64_t> decay_due_{0};  // milliseconds; see pool::decay
  atomic<extent_registry*> registry_{nullptr};

  mutable std::mutex pools_mutex_;
  std::vector<pool*> pools_;  // guarded by pools_mutex_
  // Of pools that left; guarded by pools_mutex_, as is the mark below.
  std::array<flows, size_class_count_max> departed_flows_;
  std::uint64_t departed_posted_ = 0, departed_settled_ = 0;
  mutable std::array<std::uint64_t, size_class_count_max> high_water_{};
};

}  // namespace catenet
