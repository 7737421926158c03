// Where a block is, and the table of the moves it may make.
//
//   unborn ◀──▶ depot ◀──▶ cached ◀──▶ rented ◀──▶ lent
//   carve, uncarve  refill, spill  rent, return  lend, unlend
//
// A block is in exactly one state. Builds with CATENET_CHECKS look every move up and end the process at one
// that is not in the table (ownership.hpp); other builds store the state and no more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace catenet {

enum class block_state : std::uint8_t {
  unborn,  ///< its span is not carved into blocks
  depot,   ///< with the central manager: in a batch, cold, kept aside or delivered to who waits
  cached,  ///< in a pool's cache
  rented,  ///< somebody holds it: a lease, a view
  lent,    ///< the kernel has it: it stands in a receive ring, or a send reads it
};
inline constexpr std::size_t block_state_count = 5;

/// Its word for messages.
constexpr const char* name_of(block_state s) {
  constexpr std::array<const char*, block_state_count> names{"unborn", "depot", "cached", "rented", "lent"};
  return static_cast<std::size_t>(s) < names.size() ? names[static_cast<std::size_t>(s)] : "no state at all";
}

/// From the row's state to the column's: whether a block may go there.
inline constexpr bool legal_moves[block_state_count][block_state_count] = {
    //            unborn depot cached rented lent
    /* unborn */ {false, true, false, false, false},
    /* depot  */ {true, false, true, false, false},
    /* cached */ {false, true, false, true, false},
    /* rented */ {false, false, true, false, true},
    /* lent   */ {false, false, false, true, false},
};

constexpr bool legal_move(block_state from, block_state to) {
  const auto row = static_cast<std::size_t>(from), column = static_cast<std::size_t>(to);
  return row < block_state_count && column < block_state_count && legal_moves[row][column];
}

}  // namespace catenet
