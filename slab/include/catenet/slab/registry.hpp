// Which extents are registered with the kernel, for whom: the slab's side of registered buffers.
//
// A ring registers memory in slots; a send from registered memory names the slot. An extent keeps one slot
// number for all rings (so a table can be cloned from ring to ring), and is registered with a ring when that
// ring first needs it. Pinned memory counts against RLIMIT_MEMLOCK: at the limit, or when the kernel refuses,
// the answer is "no slot", and the caller sends without registration. An extent that is registered anywhere
// stays committed; when it idles, each ring is asked to let go of it in its own turn.
#pragma once

#include <catenet/slab/arena.hpp>
#include <catenet/slab/atomic.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace catenet {

class depot;

inline constexpr std::size_t registered_slots_max = 1024;  ///< of 2 MiB each; a ring takes up to 16384
inline constexpr std::size_t registered_rings_max = 64;

/// What a ring does for the registry, on its own thread. `add` returns 0 or a negative errno (io_uring: one
/// slot of a sparse table, IORING_REGISTER_BUFFERS_UPDATE).
struct registrar {
  int (*add)(void* context, unsigned slot, void* base, std::size_t bytes) = nullptr;
  void (*remove)(void* context, unsigned slot) = nullptr;
  void* context = nullptr;
};

/// One a depot, made before the rings and ended after them. Thread-safe except where a ring's thread is
/// named.
class extent_registry {
 public:
  /// At most `bytes_max` bytes are registered at one time; 0 means RLIMIT_MEMLOCK less a margin for the rings
  /// themselves. Clones and further rings cost nothing more (the kernel charges a user once a page).
  explicit extent_registry(depot& of, std::size_t bytes_max = 0);
  ~extent_registry();
  extent_registry(const extent_registry&) = delete;
  extent_registry& operator=(const extent_registry&) = delete;

  /// A ring, by a small number. join and leave on the ring's thread; -1 when there are too many.
  int join(registrar how);
  void leave(int ring);

  /// The slot of the extent that holds `address`, registered with this ring, or -1: then send unregistered.
  /// On the ring's thread. O(1) when it is registered already. A refusal is remembered, and tried again after
  /// `retry_after` requests.
  int slot_for(int ring, const void* address);

  /// Once in a while on the ring's thread, when it has no registered send in flight: lets go of extents that
  /// idle. Returns how many.
  std::size_t release_idle(int ring);

  /// Whether any ring has it registered; asks them to let go when it is not in use. Called by the depot.
  bool holds(std::size_t extent);

  struct counts {
    std::size_t extents = 0;  ///< registered now, with any ring
    std::size_t bytes = 0;
    std::uint64_t refused = 0;  ///< requests answered with -1
    int last_error = 0;         ///< what the kernel said last, an errno, or ENOMEM for the limit
  };
  [[nodiscard]] counts statistics() const;

 private:
  static constexpr std::uint32_t retry_after = 4096;
  struct entry {
    std::size_t extent = 0;
    std::uint64_t rings = 0;  // a bit a ring
    bool used = false;
    bool idle = false;  // the depot wants it back
  };
  struct ring_state {
    registrar how;
    bool joined = false;
    std::uint32_t refusals_to_skip = 0;  // on the ring's thread only
  };
  int slot_of(std::size_t extent) const;

  depot& depot_;
  std::size_t slots_max_ = 0;
  mutable std::mutex mutex_;
  std::vector<entry> slots_;  // guarded by mutex_
  std::array<ring_state, registered_rings_max> rings_;
  // For each ring and extent the slot + 1, read without the lock on the ring's own thread: it alone writes
  // it.
  std::array<std::unique_ptr<std::uint16_t[]>, registered_rings_max> known_;
  counts counts_;  // guarded by mutex_
};

}  // namespace catenet
