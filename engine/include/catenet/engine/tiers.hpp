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
};
inline constexpr std::size_t tier_count = 3;
[[nodiscard]] std::string_view text(tier t);

/// Bytes that the kernel took, and the calls that it took them in.
struct tier_total {
  std::uint64_t bytes = 0;
  std::uint64_t calls = 0;
};
using tier_totals = std::array<tier_total, tier_count>;  ///< by tier

/// One core's; written by it, readable from any thread. Σ bytes = the core's bytes_out.
class tier_counters {
 public:
  void add(tier t, std::uint64_t bytes) {
    bytes_[static_cast<std::size_t>(t)].add(bytes);
    calls_[static_cast<std::size_t>(t)].add(1);
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
