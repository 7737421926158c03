// Zero-copy sends of a core: where they pay, and what memory they still hold.
//
//   send ─▶ (long enough? does the route not copy? below the cap?) ─▶ SENDMSG_ZC ─▶ sent ─▶ … ─▶ released
//             │ no: a plain send                                         the memory is held until then, as
//             peers may ▼                                                          have to be sent it again
//
// Whether a route copies is known only afterwards, from the kernel's notification. One that copies several
// times in a row rests: plain sends, and after a while, longer each time, one is tried. Two in a row that
// were not copied open it again.
#pragma once

#include <catenet/engine/backend.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/tiers.hpp>
#include <catenet/slab/chain.hpp>

#include <array>
#include <cstdint>
#include <vector>

namespace catenet {

/// Peers that are reached in the same way: an IPv4 /24, an IPv6 /48. Two that meet in one place of the table
/// share a fate.
struct route {
  enum class state : std::uint8_t { open, resting, trying, refused };
  state now = state::open;
  std::uint8_t in_a_row = 0;  // open: sends that were copied; trying: that were not
  bool under_way = false;     // trying: the one send
  std::uint32_t rest_ms = 0;  // the present rest, and the next one is twice as long
  std::uint32_t rest_from_ms = 0;

  [[nodiscard]] bool is_open() const { return now == state::open; }
  /// Whether the next send may be a zero-copy one; then observe() is owed.
  [[nodiscard]] bool take(std::uint32_t now_ms);
  /// What became of one. True when the route goes to rest by it.
  bool observe(bool copied, std::uint32_t now_ms);
};

/// One core's, used on its thread; statistics() from any.
class zero_copy_sends {
 public:
  explicit zero_copy_sends(tier_counters& tiers) : tiers_(tiers) {}

  /// Begins to send the whole flight; `way` is looked up when null. The id of the send, or -1: a plain one is
  /// to be used.
  std::int64_t begin(backend& io, const engine_options& how, std::uint32_t now_ms, int fd, token t,
                     chain& flight, route*& way, bool more_follows);
  /// The send has ended: so many bytes were taken, or -errno. False when it was refused as such: nothing was
  /// sent, and a plain one may do.
  bool sent(std::int64_t id, std::int32_t result);
  /// operation::released
  void released(std::uint32_t id, std::int32_t result, std::uint32_t now_ms);

  /// Lets go of what is still held, once the back end has gone: nobody writes there any more.
  void abandon();

  [[nodiscard]] zero_copy_statistics statistics() const;

 private:
  struct pinned {
    chain memory;
    std::uint64_t bytes = 0;  // held
    std::uint64_t taken = 0;  // by the kernel
    route* way = nullptr;
  };

  route* route_of(backend& io, int fd, bool even_within_host);
  std::uint32_t hold(chain&& memory, route* way);
  void tell_over_cap(std::uint64_t bytes_max);
  void note(downgrade why);
  void count_resting();

  tier_counters& tiers_;
  std::array<route, 256> routes_{};
  route refusing_{route::state::refused};  // to where there is no such thing
  std::vector<pinned> records_;
  std::vector<std::uint32_t> free_;
  bool io_has_it_ = true;
  bool told_ = false;  // that the kernel copied
  counter pinned_bytes_, resting_, stepped_down_, over_cap_, last_;
};

}  // namespace catenet
