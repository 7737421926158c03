// The slab's extents in a ring's table of registered buffers: the kernel holds their pages, so that a
// zero-copy send from them need not look each one up and pin it (io_uring_register_buffers(3)).
#pragma once

#include <catenet/slab/chain.hpp>
#include <catenet/slab/registry.hpp>

#include <liburing.h>

namespace catenet {

/// One ring's, used on its thread. Extents are registered when something is sent from them, and let go of
/// when the slab wants them back; within RLIMIT_MEMLOCK, and where that is used up, not at all.
class registered_memory {
 public:
  /// The ring gets an empty table; where the kernel refuses one, slot_of() says -1 always.
  void start(io_uring& ring, extent_registry& extents);
  /// To be called before the io_uring ends.
  void stop();

  /// The table's slot that holds all memory at the front of the chain (up to the first file region); -1: none
  /// does.
  int slot_of(const chain& bytes);
  /// A few times a second, while in_use().
  void let_go() { extents_->release_idle(ring_number_); }
  [[nodiscard]] bool in_use() const { return slots_used_ != 0; }

 private:
  int set_slot(unsigned slot, void* base, std::size_t bytes);

  io_uring* ring_ = nullptr;
  extent_registry* extents_ = nullptr;
  int ring_number_ = -1;
  std::size_t slots_used_ = 0;
};

}  // namespace catenet
