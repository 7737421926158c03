// Registered extents: on demand, one slot for all rings, within a limit, and given up before the memory goes.
#include <catenet/slab/registry.hpp>

#include "fixture.hpp"

#include <algorithm>
#include <cerrno>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace catenet::test {
namespace {

struct ring {
  std::map<unsigned, void*> slots;
  int refuse_with = 0;
  registrar how() {
    return {[](void* self, unsigned slot, void* base, std::size_t bytes) {
              auto& r = *static_cast<ring*>(self);
              if (r.refuse_with != 0) return -r.refuse_with;
              EXPECT_EQ(bytes, extent_size);
              EXPECT_EQ(r.slots.count(slot), 0u);
              r.slots[slot] = base;
              return 0;
            },
            [](void* self, unsigned slot) { EXPECT_EQ(static_cast<ring*>(self)->slots.erase(slot), 1u); },
            this};
  }
};

using registry_test = slab_test;

TEST_F(registry_test, registers_on_demand_with_one_slot_for_all_rings) {
  extent_registry reg{*central, 8_MiB};
  ring a, b;
  const int ra = reg.join(a.how()), rb = reg.join(b.how());
  const lease l = lease::of(4096);
  const int slot = reg.slot_for(ra, l.bytes().data());
  ASSERT_GE(slot, 0);
  EXPECT_EQ(reg.slot_for(ra, l.bytes().data() + 100), slot);
  EXPECT_EQ(a.slots.size(), 1u);
  EXPECT_EQ(reg.slot_for(rb, l.bytes().data()), slot);
  EXPECT_EQ(reg.statistics().extents, 1u);
  int local = 0;
  EXPECT_EQ(reg.slot_for(ra, &local), -1);
  reg.leave(ra);
  reg.leave(rb);
  EXPECT_TRUE(a.slots.empty() && b.slots.empty());
}

TEST_F(registry_test, stays_within_the_limit_and_says_so) {
  extent_registry reg{*central, 4_MiB};
  ring a;
  const int ra = reg.join(a.how());
  std::vector<lease> big;
  int refused = 0;
  for (int i = 0; i != 8; ++i) {
    big.push_back(lease::of(1_MiB));
    refused += reg.slot_for(ra, big.back().bytes().data()) < 0;
  }
  EXPECT_GT(refused, 0);
  EXPECT_EQ(reg.statistics().bytes, 4_MiB);
  EXPECT_EQ(reg.statistics().last_error, ENOMEM);
  reg.leave(ra);
}

TEST_F(registry_test, a_kernel_that_refuses_is_not_asked_every_time) {
  extent_registry reg{*central, 4_MiB};
  ring a;
  a.refuse_with = EPERM;
  const int ra = reg.join(a.how());
  const lease l = lease::of(4096);
  for (int i = 0; i != 100; ++i) EXPECT_EQ(reg.slot_for(ra, l.bytes().data()), -1);
  EXPECT_EQ(reg.statistics().refused, 1u);
  EXPECT_EQ(reg.statistics().last_error, EPERM);
  reg.leave(ra);
}

TEST_F(registry_test, memory_goes_only_after_every_ring_let_go) {
  extent_registry reg{*central, 8_MiB};
  ring a;
  const int ra = reg.join(a.how());
  std::byte* at = nullptr;
  {
    const lease l = lease::of(1_MiB);
    at = l.bytes().data();
    at[0] = std::byte{7};
    ASSERT_GE(reg.slot_for(ra, at), 0);
  }
  EXPECT_EQ(reg.release_idle(ra), 0u);
  for (std::uint64_t now = 0; now != 3000; now += 50) home->decay(now);
  unpoison(at, 1);
  EXPECT_EQ(at[0], std::byte{7}) << "still registered: the pages stay";
  EXPECT_EQ(reg.release_idle(ra), 1u);
  EXPECT_TRUE(a.slots.empty());
  for (std::uint64_t now = 3000; now != 4000; now += 50) home->decay(now);
  EXPECT_EQ(at[0], std::byte{0});
  poison(at, 1);
  const lease again = lease::of(1_MiB);
  ASSERT_GE(reg.slot_for(ra, again.bytes().data()), 0);
  EXPECT_EQ(a.slots.size(), 1u) << "what was let go is registered anew before its slot is named";
  reg.leave(ra);
}

TEST_F(registry_test, a_header_comes_from_its_bodys_extent) {
  std::vector<lease> bodies, headers;
  for (int i = 0; i != 9; ++i) {
    bodies.push_back(lease::of(1_MiB));
    headers.emplace_back(home->rent_beside(home->classes().fitting(4096), bodies.back().get()));
    ASSERT_TRUE(headers.back());
  }
  arena& a = central->memory();
  int together = 0;
  for (std::size_t i = 0; i != bodies.size(); ++i)
    together += a.extent_index(bodies[i].get()) == a.extent_index(headers[i].get());
  // An extent of two whole 1 MiB blocks has no room for a header.
  EXPECT_GE(together, 4);
  std::vector<lease> bodies_64;
  for (int i = 0; i != 100; ++i) {
    bodies_64.push_back(lease::of(64_KiB));
    headers.emplace_back(home->rent_beside(0, bodies_64.back().get()));
    ASSERT_TRUE(headers.back());
    EXPECT_EQ(a.extent_index(headers.back().get()), a.extent_index(bodies_64.back().get()))
        << "both fit: " << i;
  }
}

// The body's extent is full, and its small blocks lie in batches on the shelf, among others.
TEST(registry, a_header_from_its_bodys_extent_is_found_on_the_shelf) {
  depot d{small_depot(4_MiB, {4_KiB, 1_MiB})};
  pool p{d};
  const lease body = lease::of(1_MiB);
  const std::size_t extent = d.memory().extent_index(body.get());
  const auto near = [&](const lease& l) { return d.memory().extent_index(l.get()) == extent; };
  std::vector<lease> all;
  while (lease l = lease::of(4096)) all.push_back(std::move(l));
  const auto there = std::count_if(all.begin(), all.end(), near);
  ASSERT_EQ(there, 256);
  ASSERT_EQ(all.size(), 768u);
  // Every batch gets blocks of both extents.
  std::shuffle(all.begin(), all.end(), std::mt19937_64{3});
  while (!all.empty()) all.pop_back();
  p.spill_all();
  ASSERT_EQ(d.statistics().classes[0].in_depot, 768u);
  for (int i = 0; i != 256; ++i) {
    all.emplace_back(p.rent_beside(0, body.get()));
    ASSERT_TRUE(all.back());
    ASSERT_TRUE(near(all.back())) << i;
  }
  all.emplace_back(p.rent_beside(0, body.get()));
  ASSERT_TRUE(all.back());
  EXPECT_FALSE(near(all.back())) << "the extent has no more";
  while (lease l = lease::of(4096)) all.push_back(std::move(l));
  EXPECT_EQ(all.size(), 768u) << "no batch lost a block";
  std::set<block*> different;
  for (const lease& l : all) different.insert(l.get());
  EXPECT_EQ(different.size(), 768u);
  EXPECT_EQ(d.statistics().classes[0].rented, 768u) << "the batches kept their counts";
  EXPECT_EQ(conservation(d), "");
}

// The same where they have idled for long: one block a span is in use, so that no span goes back.
TEST(registry, a_header_from_its_bodys_extent_is_found_in_the_cold_store) {
  depot d{small_depot(4_MiB, {4_KiB, 1_MiB})};
  pool p{d};
  arena& memory = d.memory();
  const lease body = lease::of(1_MiB);
  const std::size_t extent = memory.extent_index(body.get());
  std::map<std::size_t, lease> one_a_span;
  {
    std::vector<lease> all;
    while (lease l = lease::of(4096)) all.push_back(std::move(l));
    for (lease& l : all) one_a_span.try_emplace(memory.span_index(l.get()), std::move(l));
  }
  ASSERT_EQ(one_a_span.size(), 48u);
  for (std::uint64_t now = 0; now != 5000; now += 100) p.decay(now);
  ASSERT_EQ(d.statistics().classes[0].in_depot, 720u);
  std::vector<lease> headers;
  for (int i = 0; i != 240; ++i) {
    headers.emplace_back(p.rent_beside(0, body.get()));
    ASSERT_TRUE(headers.back());
    ASSERT_EQ(memory.extent_index(headers.back().get()), extent) << i;
  }
  EXPECT_EQ(conservation(d), "");
}

}  // namespace
}  // namespace catenet::test
