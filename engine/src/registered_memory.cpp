// Registering extents with a ring, and finding what is sent in them.
#include "registered_memory.hpp"

#include <catenet/slab/arena.hpp>

#include <cstdint>

namespace catenet {

namespace {
std::uintptr_t extent_of(const segment* s) { return reinterpret_cast<std::uintptr_t>(s->data) / extent_size; }
}  // namespace

void registered_memory::start(io_uring& ring, extent_registry& extents) {
  if (io_uring_register_buffers_sparse(&ring, registered_slots_max) != 0) return;
  ring_ = &ring;
  extents_ = &extents;
  const auto add = [](void* self, unsigned slot, void* base, std::size_t bytes) {
    auto& m = *static_cast<registered_memory*>(self);
    const int result = m.set_slot(slot, base, bytes);
    if (result == 0) ++m.slots_used_;
    return result;
  };
  // Sends that are under way keep what they use.
  const auto remove = [](void* self, unsigned slot) {
    auto& m = *static_cast<registered_memory*>(self);
    m.set_slot(slot, nullptr, 0);
    --m.slots_used_;
  };
  ring_number_ = extents.join({add, remove, this});
}

void registered_memory::stop() {
  if (ring_number_ >= 0) extents_->leave(ring_number_);
  ring_number_ = -1;
}

// 0 or -errno. The update itself tells how many slots it set.
int registered_memory::set_slot(unsigned slot, void* base, std::size_t bytes) {
  const iovec memory{base, bytes};
  const __u64 no_tag = 0;
  const int set = io_uring_register_buffers_update_tag(ring_, slot, &memory, &no_tag, 1);
  return set < 0 ? set : 0;
}

int registered_memory::slot_of(const chain& bytes) {
  if (ring_number_ < 0) return -1;
  const segment* const first = bytes.head();
  for (const segment* s = first->next; s != nullptr && s->kind != segment_kind::file; s = s->next)
    if (extent_of(s) != extent_of(first)) return -1;
  return extents_->slot_for(ring_number_, first->data);
}

}  // namespace catenet
