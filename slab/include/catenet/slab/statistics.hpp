// What the slab holds, class by class.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace catenet {

/// One size class. total = rented + cached + in_depot + lent, always: rented is what remains. Blocks in an
/// outbox or on their way home count as rented.
struct class_statistics {
  std::size_t size = 0;          ///< bytes a block
  std::uint64_t total = 0;       ///< blocks carved
  std::uint64_t rented = 0;      ///< held by leases and views
  std::uint64_t cached = 0;      ///< in the pools' caches
  std::uint64_t in_depot = 0;    ///< in the central manager
  std::uint64_t lent = 0;        ///< with the kernel: in receive rings, or read by sends
  std::uint64_t waiters = 0;     ///< requests that wait for a block
  std::uint64_t refills = 0;     ///< batches taken from the depot
  std::uint64_t spills = 0;      ///< batches given to the depot
  std::uint64_t high_water = 0;  ///< most blocks that were out of the depot at one time, as seen by snapshots
};

struct slab_statistics {
  std::vector<class_statistics> classes;
  std::size_t committed_bytes = 0;      ///< bytes of carved spans
  std::size_t capacity_bytes = 0;       ///< bytes that may be carved
  std::uint64_t segments_homeward = 0;  ///< views dropped on a foreign core that are not settled yet
  std::size_t pools = 0;
  bool exact = false;  ///< nothing moved between depot and pools while it was taken
};

}  // namespace catenet
