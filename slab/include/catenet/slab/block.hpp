// A block: fixed-size memory of one size class. Its descriptor lies out of line, in a side table of the
// arena, so that the bytes stay page-exact and a stray write into a body cannot damage the bookkeeping.
#pragma once

#include <catenet/slab/block_state.hpp>
#include <catenet/slab/segment.hpp>
#include <catenet/slab/size_class.hpp>

#include <cstddef>
#include <cstdint>

namespace catenet {

class account;

/// A block's descriptor: one cache line, so two cores never share one by accident.
/// Invariants: refs = leases + segments that name it; state cached or depot ⇒ refs = 0 and in_flight = 0;
/// writable ⇒ refs = 1 and in_flight = 0.
///
/// The order of the fields is measured: `cls` is read on every return, and a processor that forwards stores
/// to loads by predicting them (Intel since Alder Lake) stumbles when a field in the same four bytes was just
/// written; with `state` beside `cls` a rent and return takes 3.0 ns instead of 1.7.
struct alignas(64) block {
  std::byte* data;          ///< first of capacity() bytes
  std::uint32_t refs;       ///< counted by the home pool only, without atomics
  std::uint32_t in_flight;  ///< views that a send which is under way reads
  size_class cls;
  std::uint8_t shift;  ///< log2 of the capacity
  std::uint16_t
      generation;  ///< how often it was rented (with CATENET_CHECKS): tells a stale reference from a live one
  block_state state;  ///< changed by detail::move_block() alone (ownership.hpp)
  bool own_used;      ///< the built-in segment is in a chain
  pool_id home;       ///< the pool that has it, in its cache or rented
  union {
    account* payer;  ///< while rented: who pays, or null
    block* link;     ///< while free: the next of its list
  };
  segment own;

  [[nodiscard]] std::size_t capacity() const { return std::size_t{1} << shift; }
};
static_assert(sizeof(block) == 64, "architecture.md: a descriptor takes at most 64 bytes");

}  // namespace catenet
