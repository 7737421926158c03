// Tiers: the ways in which a byte can reach a socket or pipe, and how many went each way.
#pragma once

#include <catenet/slab/counter.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace catenet {

enum class tier : std::uint8_t {
  copied,          ///< from memory, by a send or a write
  page_reference,  ///< sendfile from the page cache or a page body's memfd
  spliced,         ///< through a pipe, from one descriptor to another
  zero_copy,  ///< by SENDMSG_ZC, read from our memory by the device; while the kernel has not said, counted
              ///< here
  zero_copy_copied  ///< by SENDMSG_ZC, but the kernel said that it copied
};
inline constexpr std::size_t tier_count = 5;
[[nodiscard]] std::string_view text(tier t);

/// Bytes that the kernel took, and the calls that it took them in.
struct tier_total {
  std::uint64_t bytes = 0;
  std::uint64_t calls = 0;
};
using tier_totals = std::array<tier_total, tier_count>;  ///< by tier

/// Why the better of two ways was left.
enum class downgrade : std::uint8_t {
  none,
  route_copies,  ///< the kernel said that zero-copy sends to these peers were copied all the same
  refused,       ///< the kernel refused a zero-copy send
  over_cap,      ///< more memory would have waited for peers to acknowledge than engine_options allows
};
[[nodiscard]] std::string_view text(downgrade d);

/// Zero-copy sends of one core (or all).
struct zero_copy_statistics {
  std::uint64_t pinned_bytes = 0;    ///< sent, and not yet said to be free again
  std::uint64_t routes_resting = 0;  ///< where plain sends are used for a while, or for good
  std::uint64_t stepped_down = 0;    ///< times that a route was found to copy, or a send was refused
  std::uint64_t over_cap = 0;        ///< sends that were plain for the cap's sake
  downgrade last = downgrade::none;
  std::uint64_t registered = 0;  ///< sends from memory that is registered with the ring
};

/// One core's; written by it, readable from any thread. Σ bytes = the core's bytes_out.
class tier_counters {
 public:
  void add(tier t, std::uint64_t bytes) {
    bytes_[static_cast<std::size_t>(t)].add(bytes);
    calls_[static_cast<std::size_t>(t)].add(1);
  }
  /// What was counted as one call by `from` turned out to be `to`.
  void move(tier from, tier to, std::uint64_t bytes) {
    bytes_[static_cast<std::size_t>(from)].sub(bytes);
    calls_[static_cast<std::size_t>(from)].sub(1);
    add(to, bytes);
  }
  [[nodiscard]] tier_totals totals() const {
    tier_totals all;
    for (std::size_t i = 0; i != tier_count; ++i) all[i] = {bytes_[i].get(), calls_[i].get()};
    return all;
  }

 private:
  std::array<counter, tier_count> bytes_;
  std::array<counter, tier_count> calls_;
};

}  // namespace catenet
