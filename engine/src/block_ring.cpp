// Lending and taking back the blocks of a receive ring (io_uring_register_buf_ring(3), kernel 5.19).
#include "block_ring.hpp"

#include <catenet/engine/log.hpp>
#include <catenet/slab/pool.hpp>

#include "uring_tier.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <utility>

namespace catenet {

namespace {
constexpr std::size_t page_bytes = 4096;
constexpr std::uint32_t quiet_looks_min = 4;  // a second of little use
}  // namespace

error block_ring::start(io_uring& ring, std::uint16_t group, std::uint32_t entries, std::size_t block_bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, page_bytes, std::max(entries * sizeof(io_uring_buf), page_bytes)) != 0)
    return uring_failed("allocate a receive ring", ENOMEM);
  ring_ = &ring;
  memory_ = static_cast<io_uring_buf_ring*>(memory);
  group_ = group;
  block_bytes_ = block_bytes;
  mask_ = entries - 1;
  cls_ = pool::current()->classes().fitting(block_bytes);
  lent_.assign(entries, nullptr);
  order_.assign(entries, 0);
  place_.assign(entries, 0);
  idle_.reserve(entries);
  for (std::uint32_t id = entries; id != 0; --id) idle_.push_back(static_cast<std::uint16_t>(id - 1));
  if (!attach()) return uring_failed("register a receive ring", errno);
  return {};
}

bool block_ring::attach() {
  io_uring_buf_reg reg{};
  reg.ring_addr = reinterpret_cast<std::uintptr_t>(memory_);
  reg.ring_entries = entries();
  reg.bgid = group_;
  io_uring_buf_ring_init(memory_);
  tail_ = 0;
  const int result = io_uring_register_buf_ring(ring_, &reg, 0);
  attached_ = result == 0;
  errno = -result;
  return attached_;
}

void block_ring::withdraw() {
  if (std::exchange(attached_, false)) io_uring_unregister_buf_ring(ring_, group_);
}

void block_ring::take_back() {
  for (std::uint16_t id = 0; id != lent_.size(); ++id) {
    if (lent_[id] == nullptr) continue;
    block* b = std::exchange(lent_[id], nullptr);
    idle_.push_back(id);
    pool::current()->unlend(b);
    lease{b}.reset();
  }
}

void block_ring::release() {
  if (memory_ == nullptr) return;
  withdraw();
  take_back();
  std::free(std::exchange(memory_, nullptr));
}

void block_ring::fill() {
  if (!attached_ && target_ != 0 && !attach()) return;  // no memory for that a moment ago
  pool& p = *pool::current();
  int added = 0;
  while (lent_.size() - idle_.size() < target_) {
    block* b = p.rent_for(cls_, priority::read);  // never before a stream that waits for one
    if (b == nullptr) break;
    lend(b, added++);
  }
  if (added != 0) io_uring_buf_ring_advance(memory_, added);
}

// Lays a block into the ring, `place` places behind what the kernel was told of last.
void block_ring::lend(block* b, int place) {
  pool::current()->lend(b);
  const std::uint16_t id = idle_.back();
  idle_.pop_back();
  lent_[id] = b;
  place_[id] = static_cast<std::uint16_t>(tail_ & mask_);
  order_[tail_++ & mask_] = id;
  io_uring_buf_ring_add(memory_, b->data, static_cast<unsigned>(b->capacity()), id, static_cast<int>(mask_),
                        place);
}

void block_ring::offer(lease block) {
  if (!attached_ || idle_.empty()) return;
  lend(block.release(), 0);
  io_uring_buf_ring_advance(memory_, 1);
}

block* block_ring::take(std::uint16_t id) {
  block* b = std::exchange(lent_[id], nullptr);
  idle_.push_back(id);
  ++taken_in_turn_;
  pool::current()->unlend(b);
  return b;
}

void block_ring::follow_load() {
  const std::uint32_t taken = std::exchange(taken_in_turn_, 0);
  most_taken_ = std::max(most_taken_, taken);
  if (taken * 4 > target_ * 3) set_target(target_ * 2);
}

bool block_ring::provide(std::uint32_t blocks) {
  if (blocks > target_) set_target(std::bit_ceil(blocks));
  fill();
  return lent_.size() - idle_.size() >= blocks;
}

bool block_ring::lend_more() {
  if (idle_.size() == lent_.size()) set_target(target_ * 2);
  fill();
  return idle_.size() != lent_.size();
}

bool block_ring::little_used(std::uint32_t least) {
  const bool quiet = target_ > least && most_taken_ * 4 < target_;
  most_taken_ = 0;
  quiet_looks_ = quiet ? quiet_looks_ + 1 : 0;
  if (quiet_looks_ < quiet_looks_min) return false;
  quiet_looks_ = 0;
  return true;
}

// The kernel uses blocks in the order of the ring, and none at all while nothing comes, so what is too much
// is taken back by registering the ring anew. Receives that wait name the group only, and look it up when
// data comes.
void block_ring::renew(std::uint32_t target) {
  take_back();
  set_target(target);
  if (!attach())
    log(log_level::warning, "io_uring: a receive ring could not be registered: " + errno_text(errno));
  fill();
}

}  // namespace catenet
