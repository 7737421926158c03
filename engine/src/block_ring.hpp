// A ring of slab blocks that stand ready for receives: the kernel picks from it when data comes.
#pragma once

#include <catenet/engine/error.hpp>
#include <catenet/slab/block.hpp>
#include <catenet/slab/lease.hpp>

#include <liburing.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace catenet {

/// Used by the thread of one core, which needs a pool. Invariants: as many blocks are in it as ids are not
/// idle, at most `target`; each is in the state lent.
class block_ring {
 public:
  block_ring() = default;
  block_ring(const block_ring&) = delete;
  block_ring& operator=(const block_ring&) = delete;

  /// `entries`: a power of two. Blocks are lent by fill() only.
  error start(io_uring& ring, std::uint16_t group, std::uint32_t entries, std::size_t block_bytes);
  /// Takes every block back. To be called before the io_uring ends.
  void release();

  /// Lends blocks up to the target; when the slab has none, with what there is.
  void fill();
  /// Lends that block, which has the ring's size, even beyond the target; it goes home when there is no
  /// place.
  void offer(lease block);
  /// The block of a completion; now the caller's.
  block* take(std::uint16_t id);
  /// The buffer that the kernel uses after that one.
  [[nodiscard]] std::uint16_t after(std::uint16_t id) const { return order_[(place_[id] + 1u) & mask_]; }

  /// How many blocks should be with the kernel.
  [[nodiscard]] std::uint32_t target() const { return target_; }
  void set_target(std::uint32_t blocks) { target_ = blocks < entries() ? blocks : entries(); }
  /// Once a turn, when its completions are taken: a turn that took most of the target might have taken more,
  /// so it is doubled.
  void follow_load();
  /// Lends until so many are with the kernel, in its receives or ready. Whether they are: not beyond the
  /// ring's entries, nor when the slab has none.
  bool provide(std::uint32_t blocks);
  /// After a receive found none: a turn may take twice as many. Whether there are any now.
  bool lend_more();
  /// Whether the ring was little used for as many calls in a row as make it worth halving.
  bool little_used(std::uint32_t least);
  /// The kernel picks from it no more. Completions that name its blocks may still be there: take those first,
  /// then renew().
  void withdraw();
  /// Takes all blocks back and lends as many as that anew. Not while a receive holds a block of the ring.
  void renew(std::uint32_t target);

  [[nodiscard]] std::uint16_t group() const { return group_; }
  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }

 private:
  [[nodiscard]] std::uint32_t entries() const { return mask_ + 1; }
  bool attach();
  void lend(block* b, int place);
  void take_back();

  io_uring* ring_ = nullptr;
  io_uring_buf_ring* memory_ = nullptr;
  bool attached_ = false;             // the kernel knows it
  std::vector<block*> lent_;          // by buffer id; null = not with the kernel
  std::vector<std::uint16_t> idle_;   // buffer ids without a block
  std::vector<std::uint16_t> order_;  // by place in the ring: the id that was put there last
  std::vector<std::uint16_t> place_;  // by id
  std::uint32_t mask_ = 0;
  std::uint32_t tail_ = 0;
  std::uint32_t target_ = 0;
  std::uint32_t taken_in_turn_ = 0;
  std::uint32_t most_taken_ = 0;  // in one turn, since little_used() was asked
  std::uint32_t quiet_looks_ = 0;
  std::size_t block_bytes_ = 0;
  size_class cls_ = 0;
  std::uint16_t group_ = 0;
};

}  // namespace catenet
