// Registered extents: which ring has which, within the limit on pinned memory.
#include <catenet/slab/depot.hpp>
#include <catenet/slab/registry.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>

namespace catenet {

namespace {

// A ring's own memory is charged to the same limit on older kernels, so not all of it is ours.
std::size_t lockable_bytes() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 0;
  if (limit.rlim_cur == RLIM_INFINITY) return registered_slots_max * extent_size;
  return static_cast<std::size_t>(limit.rlim_cur) / 4 * 3;
}

}  // namespace

extent_registry::extent_registry(depot& of, std::size_t bytes_max) : depot_(of) {
  slots_max_ = std::min((bytes_max == 0 ? lockable_bytes() : bytes_max) / extent_size, registered_slots_max);
  slots_.resize(slots_max_);
  depot_.set_registry(this);
}

extent_registry::~extent_registry() { depot_.set_registry(nullptr); }

int extent_registry::join(registrar how) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i != rings_.size(); ++i) {
    if (rings_[i].joined) continue;
    rings_[i] = {how, true, 0};
    known_[i] = std::make_unique<std::uint16_t[]>(depot_.memory().extent_count());
    return static_cast<int>(i);
  }
  return -1;
}

void extent_registry::leave(int ring) {
  const auto r = static_cast<std::size_t>(ring);
  const std::lock_guard lock(mutex_);
  for (std::size_t slot = 0; slot != slots_.size(); ++slot) {
    entry& e = slots_[slot];
    if ((e.rings >> r & 1) == 0) continue;
    rings_[r].how.remove(rings_[r].how.context, static_cast<unsigned>(slot));
    e.rings &= ~(std::uint64_t{1} << r);
    if (e.rings == 0) e.used = false;
  }
  rings_[r].joined = false;
  known_[r].reset();
}

// The slot that an extent has, a free one when it has none, or -1. Under mutex_.
int extent_registry::slot_of(std::size_t extent) const {
  int free = -1;
  for (std::size_t i = 0; i != slots_.size(); ++i) {
    if (slots_[i].used && slots_[i].extent == extent) return static_cast<int>(i);
    if (!slots_[i].used && free < 0) free = static_cast<int>(i);
  }
  return free;
}

int extent_registry::slot_for(int ring, const void* address) {
  const auto r = static_cast<std::size_t>(ring);
  arena& a = depot_.memory();
  const auto* at = static_cast<const std::byte*>(address);
  if (at < a.base() || at >= a.base() + a.capacity()) return -1;
  const std::size_t extent = static_cast<std::size_t>(at - a.base()) / extent_size;
  if (const std::uint16_t known = known_[r][extent]; known != 0) return known - 1;
  ring_state& state = rings_[r];
  if (state.refusals_to_skip != 0) {
    --state.refusals_to_skip;
    return -1;
  }
  const std::lock_guard lock(mutex_);
  const int slot = slot_of(extent);
  int error = slot < 0 ? -ENOMEM : 0;
  if (slot >= 0)
    error = state.how.add(state.how.context, static_cast<unsigned>(slot), a.base() + extent * extent_size,
                          extent_size);
  if (error < 0) {
    state.refusals_to_skip = retry_after;
    ++counts_.refused;
    counts_.last_error = -error;
    return -1;
  }
  entry& e = slots_[static_cast<std::size_t>(slot)];
  e.extent = extent;
  e.used = true;
  e.idle = false;
  e.rings |= std::uint64_t{1} << r;
  known_[r][extent] = static_cast<std::uint16_t>(slot + 1);
  return slot;
}

bool extent_registry::holds(std::size_t extent) {
  const std::lock_guard lock(mutex_);
  for (entry& e : slots_) {
    if (!e.used || e.extent != extent) continue;
    e.idle = true;
    return true;
  }
  return false;
}

std::size_t extent_registry::release_idle(int ring) {
  const auto r = static_cast<std::size_t>(ring);
  std::size_t released = 0;
  const std::lock_guard lock(mutex_);
  for (std::size_t slot = 0; slot != slots_.size(); ++slot) {
    entry& e = slots_[slot];
    if (!e.used || !e.idle || (e.rings >> r & 1) == 0) continue;
    rings_[r].how.remove(rings_[r].how.context, static_cast<unsigned>(slot));
    known_[r][e.extent] = 0;
    e.rings &= ~(std::uint64_t{1} << r);
    if (e.rings == 0) e = {};
    ++released;
  }
  return released;
}

extent_registry::counts extent_registry::statistics() const {
  const std::lock_guard lock(mutex_);
  counts now = counts_;
  for (const entry& e : slots_) now.extents += e.used;
  now.bytes = now.extents * extent_size;
  return now;
}

}  // namespace catenet
