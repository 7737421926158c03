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
/// written; with `state` beside `cls` a rent and return takes 3.0 ns instead of 1.7. `refs` to `state` are
/// one word, which rent and return each write with one store.
struct alignas(64) block {
  std::byte* data;               ///< first of capacity() bytes
  std::uint32_t refs;            ///< counted by the home pool only, without atomics
  std::uint32_t in_flight : 23;  ///< views that a send which is under way reads
  std::uint32_t idle : 1;        ///< not rented since its cache's last decay
  block_state state : 8;         ///< changed by detail::move_block() alone (ownership.hpp)
  size_class cls;
  std::uint8_t shift;  ///< log2 of the capacity
  std::uint16_t
      generation;  ///< how often it was rented (with CATENET_CHECKS): tells a stale reference from a live one
  bool own_used;   ///< the built-in segment is in a chain
  pool_id home;    ///< the pool that has it, in its cache or rented
  account* payer;  ///< who pays, or null; always null while it is free
  segment own;     ///< while it is free, own.next_free is the next block of its list

  static constexpr std::uint32_t in_flight_max = (1u << 23) - 1;
  [[nodiscard]] std::size_t capacity() const { return std::size_t{1} << shift; }
};
static_assert(sizeof(block) == 64, "architecture.md: a descriptor takes at most 64 bytes");

}  // namespace catenet
