// The depot's shelves, and its tally over the pools.
#include <catenet/slab/depot.hpp>
#include <catenet/slab/pool.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace catenet {

namespace {

std::size_t default_capacity() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_size = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_size <= 0) return 4_GiB;
  return static_cast<std::size_t>(pages) * static_cast<std::size_t>(page_size) / 2;
}

// A batch that stands in the depot keeps its length, and the batch below it, in the built-in segment of its first
// block: nobody uses that while the block is free.
void label(const arena::run& batch) { batch.head->own.length = batch.count; }
arena::run labelled(block* head) { return {head, head->own.length}; }

}  // namespace

depot::depot(depot_options options)
    : options_(options),
      arena_(options.capacity == 0 ? default_capacity() : options.capacity, options.huge_pages) {
  if (!options_.classes.valid()) options_.classes = size_class_table{};
  for (std::size_t c = 0; c != options_.classes.count(); ++c) {
    const std::size_t fit = options_.batch_bytes / options_.classes.size(c);
    batch_[c] = static_cast<std::uint32_t>(std::clamp<std::size_t>(fit, 1, std::max(1u, options_.batch_blocks)));
  }
}

depot::~depot() {
  pool::settle_all_gone(*this);
#ifdef CATENET_CHECKS
  for (const class_statistics& c : statistics().classes)
    if (c.rented + c.lent != 0)
      std::fprintf(stderr, "catenet: slab ended with %llu blocks of %zu bytes still rented\n",
                   static_cast<unsigned long long>(c.rented + c.lent), c.size);
#endif
}

arena::run depot::take(size_class c) {
  shelf& s = shelves_[c];
  if (block* head = s.slots.take()) return labelled(head);
  {
    const std::lock_guard lock(s.mutex);
    if (block* head = s.store) {
      s.store = head->own.blk;
      return labelled(head);
    }
  }
  arena::run made = arena_.carve(c, options_.classes.shift(c));
  s.total.fetch_add(made.count, std::memory_order_relaxed);
  // A span can hold several batches: one is taken, the others are laid on the shelf.
  while (made.count > batch_[c]) {
    const arena::run one{made.head, batch_[c]};
    block* last = one.head;
    for (std::uint32_t i = 1; i != one.count; ++i) last = last->link;
    made = {std::exchange(last->link, nullptr), made.count - one.count};
    put(c, one);
  }
  return made;
}

void depot::put(size_class c, arena::run batch) {
  shelf& s = shelves_[c];
  label(batch);
  if (s.slots.put(batch.head)) return;
  const std::lock_guard lock(s.mutex);
  batch.head->own.blk = s.store;
  s.store = batch.head;
}

void depot::enroll(pool& p) {
  const std::lock_guard lock(pools_mutex_);
  pools_.push_back(&p);
}

void depot::leave(pool& p) {
  const std::lock_guard lock(pools_mutex_);
  std::erase(pools_, &p);
  for (std::size_t c = 0; c != options_.classes.count(); ++c) {
    const pool::cache& k = p.caches_[c];
    departed_flows_[c].taken += k.taken.get();
    departed_flows_[c].given += k.given.get();
    departed_flows_[c].refills += k.refills.get();
    departed_flows_[c].spills += k.spills.get();
  }
}

slab_statistics depot::statistics() const {
  slab_statistics all;
  all.committed_bytes = arena_.committed();
  all.capacity_bytes = arena_.capacity();
  const std::lock_guard lock(pools_mutex_);
  for (std::size_t c = 0; c != options_.classes.count(); ++c) {
    class_statistics one;
    one.size = options_.classes.size(c);
    flows sum = departed_flows_[c];
    for (const pool* p : pools_) {
      const pool::cache& k = p->caches_[c];
      one.cached += k.count.get() + k.spare_count.get();
      one.lent += k.lent.get();
      sum.taken += k.taken.get();
      sum.given += k.given.get();
      sum.refills += k.refills.get();
      sum.spills += k.spills.get();
    }
    one.total = shelves_[c].total.load(std::memory_order_relaxed);
    one.refills = sum.refills;
    one.spills = sum.spills;
    // Read while cores move blocks, the terms may belong to different moments: never below zero.
    const std::uint64_t out = sum.taken > sum.given ? sum.taken - sum.given : 0;
    one.in_depot = one.total > out ? one.total - out : 0;
    one.rented = out > one.cached + one.lent ? out - one.cached - one.lent : 0;
    all.classes.push_back(one);
  }
  return all;
}

}  // namespace catenet
