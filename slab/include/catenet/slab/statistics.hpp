// What the slab holds, class by class.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace catenet {

/// One size class. total = rented + cached + in_depot + lent when nothing moves while it is read; between cores
/// that are at work a sum may be off by what was on its way. Blocks in an outbox count as rented.
struct class_statistics {
  std::size_t size = 0;         ///< bytes a block
  std::uint64_t total = 0;      ///< blocks carved
  std::uint64_t rented = 0;     ///< held by leases and views
  std::uint64_t cached = 0;     ///< in the pools' caches
  std::uint64_t in_depot = 0;   ///< in the central manager
  std::uint64_t lent = 0;       ///< with the kernel: in receive rings, or read by sends
  std::uint64_t refills = 0;    ///< batches taken from the depot
  std::uint64_t spills = 0;     ///< batches given to the depot
};

struct slab_statistics {
  std::vector<class_statistics> classes;
  std::size_t committed_bytes = 0;  ///< bytes of carved spans
  std::size_t capacity_bytes = 0;   ///< bytes that may be carved
};

}  // namespace catenet
