// When a zero-copy send is tried, and what its notification teaches.
#include "zero_copy.hpp"

#include <catenet/engine/log.hpp>

#include "fault.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace catenet {

namespace {

constexpr std::uint8_t copied_in_a_row_max = 4;    // then a route rests
constexpr std::uint8_t uncopied_in_a_row_min = 2;  // then one that is tried is open again
constexpr std::uint32_t first_rest_ms = 10'000;
constexpr std::uint32_t longest_rest_ms = 600'000;

// What a send is refused with when it is the zero-copy that is refused: EINVAL by a kernel that cannot report
// (before 6.2), EOPNOTSUPP by the socket, ENOMEM and ENOBUFS when RLIMIT_MEMLOCK has no room for the pages.
bool refuses(std::int32_t result) {
  return result == -EINVAL || result == -EOPNOTSUPP || result == -ENOMEM || result == -ENOBUFS;
}

// An address, or the bytes of it that say how it is reached.
std::string_view bytes_of(const endpoint& e, bool prefix_only) {
  const auto part = [](const void* at, std::size_t bytes) {
    return std::string_view(static_cast<const char*>(at), bytes);
  };
  const sockaddr* a = e.address();
  if (a->sa_family == AF_INET)
    return part(&reinterpret_cast<const sockaddr_in*>(a)->sin_addr, prefix_only ? 3 : 4);
  return part(&reinterpret_cast<const sockaddr_in6*>(a)->sin6_addr, prefix_only ? 6 : 16);
}

// Both ends are on this host: the kernel copies always, and the receiver's socket is charged whole pages for
// it, so that its window may shrink to nothing.
bool within_host(const endpoint& own, const endpoint& peer) {
  return own.family() == peer.family() && bytes_of(own, false) == bytes_of(peer, false);
}

}  // namespace

bool route::take(std::uint32_t now_ms) {
  if (now == state::open) return true;
  if (now == state::resting && now_ms - rest_from_ms >= rest_ms) {
    now = state::trying;
    in_a_row = 0;
  }
  return now == state::trying && !std::exchange(under_way, true);
}

bool route::observe(bool copied, std::uint32_t now_ms) {
  under_way = false;
  if (now == state::open) {
    in_a_row = copied ? static_cast<std::uint8_t>(in_a_row + 1) : 0;
    if (in_a_row != copied_in_a_row_max) return false;
  } else if (now == state::trying) {
    if (!copied && ++in_a_row == uncopied_in_a_row_min) *this = {};
    if (!copied) return false;
  } else {
    return false;  // sent before it went to rest
  }
  now = state::resting;
  in_a_row = 0;
  rest_ms = std::clamp(2 * rest_ms, first_rest_ms, longest_rest_ms);
  rest_from_ms = now_ms;
  return true;
}

route* zero_copy_sends::route_of(backend& io, int fd, bool even_within_host) {
  const endpoint peer = io.address_of(fd, true);
  if (peer.length() == 0 || peer.is_unix()) return &refusing_;
  if (!even_within_host && within_host(io.address_of(fd, false), peer)) return &refusing_;
  return &routes_[std::hash<std::string_view>{}(bytes_of(peer, true)) % routes_.size()];
}

std::uint32_t zero_copy_sends::hold(chain&& memory, route* way) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(records_.size()));
    records_.emplace_back();
  }
  const std::uint32_t id = free_.back();
  free_.pop_back();
  const std::uint64_t bytes = memory.bytes();
  memory.mark_in_flight(true);
  records_[id] = {std::move(memory), bytes, 0, way};
  pinned_bytes_.add(bytes);
  return id;
}

std::int64_t zero_copy_sends::begin(backend& io, const engine_options& how, std::uint32_t now_ms, int fd,
                                    token t, chain& flight, route*& way, bool more_follows) {
  if (how.zero_copy == zero_copy_use::never || flight.bytes() < how.zero_copy_bytes_min || !io_has_it_)
    return -1;
  const bool first = way == nullptr;
  if (first) way = route_of(io, fd, how.zero_copy == zero_copy_use::always);
  if (way->now == route::state::refused) return -1;
  if (how.zero_copy != zero_copy_use::always && !way->take(now_ms)) return -1;
  const bool fits = pinned_bytes_.get() + flight.bytes() <= how.zero_copy_pinned_max;
  if (!fits) tell_over_cap(how.zero_copy_pinned_max);
  std::optional<chain> memory = fits ? flight.share() : std::nullopt;
  if (!memory) {
    way->under_way = false;
    return -1;
  }
  const std::uint32_t id = hold(std::move(*memory), way);
  io_has_it_ = io.send_zero_copy(fd, t, id, flight, more_follows);
  if (!io_has_it_) {
    released(id, -EOPNOTSUPP, now_ms);
    return -1;
  }
  // The memory is held until all is acknowledged, which a peer that has gone never does.
  if (first) io.limit_unacknowledged(fd, how.send_stall_ms);
  return id;
}

bool zero_copy_sends::sent(std::int64_t id, std::int32_t result) {
  pinned& p = records_[static_cast<std::size_t>(id)];
  if (result > 0) {
    p.taken = static_cast<std::uint64_t>(result);
    tiers_.add(tier::zero_copy, p.taken);
    if (faulty(fault::early_release)) {
      p.memory.mark_in_flight(false);
      p.memory.clear();
    }
    return true;
  }
  if (!refuses(result)) return true;
  log(log_level::warning,
      "zero-copy send: the kernel refuses it (" + errno_text(-result) +
          "); plain sends are used to these peers. EINVAL: it needs kernel 6.2; ENOMEM, ENOBUFS: "
          "raise RLIMIT_MEMLOCK (ulimit -l)");
  p.way->now = route::state::refused;
  note(downgrade::refused);
  count_resting();
  return false;
}

void zero_copy_sends::released(std::uint32_t id, std::int32_t result, std::uint32_t now_ms) {
  pinned& p = records_[id];
  p.memory.mark_in_flight(false);
  p.memory.clear();
  pinned_bytes_.sub(p.bytes);
  free_.push_back(id);
  p.way->under_way = false;
  if (result < 0 || p.taken == 0) return;
  if (result == 1) tiers_.move(tier::zero_copy, tier::zero_copy_copied, p.taken);
  const bool was_open = p.way->is_open();
  const bool rests = p.way->observe(result == 1, now_ms);
  if (rests) note(downgrade::route_copies);
  if (rests && p.way->rest_ms == first_rest_ms)
    log(std::exchange(told_, true) ? log_level::info : log_level::warning,
        "zero-copy send: the kernel copied " + std::to_string(copied_in_a_row_max) +
            " in a row on one route; plain sends are used there for " + std::to_string(first_rest_ms / 1000) +
            " s, then one is tried");
  if (was_open != p.way->is_open()) count_resting();
}

void zero_copy_sends::abandon() {
  for (pinned& p : records_) {
    p.memory.mark_in_flight(false);
    p.memory.clear();
  }
  records_.clear();
  free_.clear();
  pinned_bytes_.set(0);
}

void zero_copy_sends::tell_over_cap(std::uint64_t bytes_max) {
  if (over_cap_.get() == 0)
    log(log_level::info, "zero-copy send: peers have yet to acknowledge nearly " + std::to_string(bytes_max) +
                             " bytes of a core's memory; further sends are plain meanwhile, and counted");
  over_cap_.add(1);
  note(downgrade::over_cap);
}

void zero_copy_sends::note(downgrade why) {
  if (why != downgrade::over_cap) stepped_down_.add(1);
  last_.set(static_cast<std::uint64_t>(why));
}

void zero_copy_sends::count_resting() {
  const auto open = std::count_if(routes_.begin(), routes_.end(), [](const route& r) { return r.is_open(); });
  resting_.set(routes_.size() - static_cast<std::size_t>(open));
}

std::string_view text(downgrade d) {
  switch (d) {
    case downgrade::none:
      return "none";
    case downgrade::route_copies:
      return "the route copies";
    case downgrade::refused:
      return "the kernel refused";
    case downgrade::over_cap:
      return "too much is unacknowledged";
  }
  return "unknown";
}

zero_copy_statistics zero_copy_sends::statistics() const {
  return {pinned_bytes_.get(), resting_.get(), stepped_down_.get(), over_cap_.get(),
          static_cast<downgrade>(last_.get())};
}

}  // namespace catenet
