// The arena: carving, finding, giving back, spans of several classes in one extent, exhaustion; and the class
// table.
#include <catenet/slab/arena.hpp>

#include "fixture.hpp"

#include <sys/mman.h>

#include <array>
#include <cstring>
#include <initializer_list>
#include <random>
#include <set>
#include <vector>

namespace catenet::test {
namespace {

std::vector<block*> listed(arena::run r) {
  std::vector<block*> all;
  for (block* b = r.head; b != nullptr; b = b->own.next_free) all.push_back(b);
  EXPECT_EQ(all.size(), r.count);
  return all;
}

TEST(arena, carves_a_span_into_page_exact_blocks) {
  arena a{8_MiB, false};
  ASSERT_TRUE(a.ok()) << a.error();
  for (const std::uint8_t shift : std::initializer_list<std::uint8_t>{9, 12, 14, 16, 18, 20}) {
    const auto blocks = listed(a.carve(3, shift));
    ASSERT_EQ(blocks.size(), shift >= 16 ? 1u : 1u << (16 - shift));
    for (std::size_t i = 0; i != blocks.size(); ++i) {
      const block* b = blocks[i];
      EXPECT_EQ(b->capacity(), std::size_t{1} << shift);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b->data) % std::min<std::size_t>(b->capacity(), 64_KiB), 0u);
      EXPECT_EQ(b->state, block_state::depot);
      EXPECT_EQ(b->refs, 0u);
      EXPECT_EQ(a.find(b->data), b);
      EXPECT_EQ(a.find(b->data + b->capacity() - 1), b);
      EXPECT_EQ(a.sibling(blocks[0], static_cast<std::uint32_t>(i)), b);
    }
  }
}

TEST(arena, finds_nothing_outside_what_is_carved) {
  arena a{4_MiB, false};
  int local = 0;
  EXPECT_EQ(a.find(&local), nullptr);
  EXPECT_EQ(a.find(a.base()), nullptr);
  EXPECT_EQ(a.find(nullptr), nullptr);
  const auto blocks = listed(a.carve(0, 12));
  EXPECT_EQ(a.find(blocks[0]->data - 1), nullptr);
  EXPECT_EQ(a.find(a.base() + a.capacity()), nullptr);
  a.uncarve(blocks[0]);
  EXPECT_EQ(a.find(blocks[0]->data), nullptr);
}

TEST(arena, mixes_classes_in_one_extent) {
  arena a{2_MiB, false};
  const auto small = listed(a.carve(1, 12)), big = listed(a.carve(5, 20));
  ASSERT_FALSE(small.empty());
  ASSERT_FALSE(big.empty());
  EXPECT_EQ(static_cast<std::size_t>(small[0]->data - a.base()) / extent_size,
            static_cast<std::size_t>(big[0]->data - a.base()) / extent_size);
  EXPECT_EQ(static_cast<std::size_t>(big[0]->data - a.base()) % 1_MiB, 0u);
}

// What is walked is what was carved and not given back: all classes, over several extents, each block once.
TEST(arena, walks_every_carved_block_once) {
  arena a{16_MiB, false};
  std::set<const block*> carved;
  std::vector<std::vector<block*>> spans;
  std::mt19937 random(9);
  constexpr std::array<std::uint8_t, 6> shifts{9, 12, 14, 16, 18, 20};
  for (int step = 0; step != 2000; ++step) {
    if (random() % 5 < 3) {
      spans.push_back(listed(a.carve(3, shifts[random() % shifts.size()])));
      if (spans.back().empty())
        spans.pop_back();  // there was no room
      else
        carved.insert(spans.back().begin(), spans.back().end());
    } else if (!spans.empty()) {
      std::swap(spans[random() % spans.size()], spans.back());
      for (const block* b : spans.back()) carved.erase(b);
      a.uncarve(spans.back().front());
      spans.pop_back();
    }
    if (step % 20 != 0) continue;
    std::set<const block*> walked;
    std::size_t calls = 0;
    a.for_each_block([&](const block& b) {
      ++calls;
      walked.insert(&b);
    });
    ASSERT_EQ(calls, carved.size()) << step;
    ASSERT_EQ(walked, carved) << step;
  }
}

TEST(arena, is_exhausted_exactly_and_recovers) {
  arena a{4_MiB, false};
  std::vector<block*> ones;
  while (true) {
    const auto r = a.carve(5, 20);
    if (r.head == nullptr) break;
    ones.push_back(r.head);
  }
  ASSERT_EQ(ones.size(), 4u);
  EXPECT_EQ(a.committed(), 4_MiB);
  EXPECT_EQ(a.carve(0, 9).head, nullptr);
  a.uncarve(ones[2]);
  EXPECT_EQ(a.committed(), 3_MiB);
  std::set<block*> seen;
  for (int i = 0; i != 16; ++i)
    for (block* b : listed(a.carve(3, 12))) EXPECT_TRUE(seen.insert(b).second) << "a block was carved twice";
  EXPECT_EQ(seen.size(), 256u);
  EXPECT_EQ(a.carve(3, 12).head, nullptr);
}

TEST(arena, gives_memory_back_to_the_system) {
  arena a{8_MiB, false};
  const auto run = a.carve(5, 20);
  unpoison(run.head->data, 1_MiB);
  std::memset(run.head->data, 'x', 1_MiB);
  std::byte* at = run.head->data;
  std::vector<unsigned char> resident(1_MiB / 4096);
  ASSERT_EQ(mincore(at, 1_MiB, resident.data()), 0);
  EXPECT_TRUE(resident[0] & 1);
  a.uncarve(run.head);
  EXPECT_EQ(a.trim(64_MiB, [](void*, std::size_t) { return true; }), 0u) << "a pinned extent stays";
  EXPECT_EQ(a.trim(64_MiB), 1_MiB);
  EXPECT_EQ(a.trim(64_MiB), 0u);
  ASSERT_EQ(mincore(at, 1_MiB, resident.data()), 0);
  for (const unsigned char page : resident) ASSERT_FALSE(page & 1);
}

TEST(arena, says_why_it_cannot_reserve) {
  arena a{std::size_t{1} << 60, false};
  EXPECT_FALSE(a.ok());
  EXPECT_NE(a.error().find("address space"), std::string::npos) << a.error();
}

TEST(size_classes, fit_and_stay_within) {
  constexpr size_class_table t;
  static_assert(t.count() == 6);
  EXPECT_EQ(t.size(t.fitting(1)), 512u);
  EXPECT_EQ(t.size(t.fitting(512)), 512u);
  EXPECT_EQ(t.size(t.fitting(513)), 4096u);
  EXPECT_EQ(t.size(t.fitting(1_MiB)), 1_MiB);
  EXPECT_EQ(t.size(t.fitting(5_MiB)), 1_MiB);
  const auto fits = [](const size_class_table& of, std::size_t bytes) {
    size_class c = 0;
    while (c + 1u < of.count() && of.size(c) < bytes) ++c;
    return c;
  };
  for (const size_class_table& of : {t, size_class_table{4_KiB}, size_class_table{1_KiB, 2_KiB, 512_KiB}})
    for (std::size_t power = 1; power != 0; power <<= 1)
      for (const std::size_t bytes : {power - 1, power, power + 1})
        ASSERT_EQ(of.fitting(bytes), fits(of, bytes)) << bytes;
  EXPECT_EQ(t.size(t.within(1)), 512u);
  EXPECT_EQ(t.size(t.within(4095)), 512u);
  EXPECT_EQ(t.size(t.within(4096)), 4096u);
  EXPECT_EQ(t.size(t.within(1_GiB)), 1_MiB);
}

TEST(size_classes, refuse_what_cannot_be) {
  EXPECT_TRUE((size_class_table{4_KiB, 64_KiB}.valid()));
  EXPECT_FALSE((size_class_table{}.valid()) == false);
  EXPECT_FALSE((size_class_table{64_KiB, 4_KiB}.valid()));
  EXPECT_FALSE((size_class_table{4_KiB, 4_KiB}.valid()));
  EXPECT_FALSE((size_class_table{5000}.valid()));
  EXPECT_FALSE((size_class_table{256}.valid()));
  EXPECT_FALSE((size_class_table{2_MiB}.valid()));
  EXPECT_FALSE((size_class_table(std::initializer_list<std::size_t>{}).valid()));
  EXPECT_FALSE((size_class_table{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072}.valid()));
  depot d{small_depot(4_MiB, {5000})};
  EXPECT_TRUE(d.classes().valid()) << "a table that cannot be is replaced by the default one";
}

}  // namespace
}  // namespace catenet::test
