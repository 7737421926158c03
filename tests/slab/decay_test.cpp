// Idle memory goes back: caches by half of their low-water mark, the depot's batches by span, and the system
// sees it.
#include "fixture.hpp"
#include "support/rss.hpp"

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

// The sanitizers' shadow is not given back, nor are the notes of who rented what.
#if defined(CATENET_ASAN) || defined(CATENET_TSAN) || defined(CATENET_CHECKS)
#define CATENET_BLURRED 1
#endif

namespace catenet::test {
namespace {

TEST(decay, a_cache_gives_half_of_its_low_water_mark) {
  depot d{small_depot(16_MiB, {4_KiB})};
  pool p{d};
  { const lease fills_the_cache = lease::of(4096); }
  const auto cached = [&] { return d.statistics().classes[0].cached; };
  ASSERT_EQ(cached(), 16u);
  p.decay(1000);
  EXPECT_EQ(cached(), 16u) << "the mark since the refill is zero";
  p.decay(1050);
  EXPECT_EQ(cached(), 16u) << "not due yet";
  p.decay(1100);
  EXPECT_EQ(cached(), 8u);
  {
    std::vector<lease> busy;
    for (int i = 0; i != 3; ++i) busy.push_back(lease::of(4096));
  }
  p.decay(1200);
  EXPECT_EQ(cached(), 5u) << "5 were never needed: 3 go";
  for (std::uint64_t now = 1300; now != 2500; now += 100) p.decay(now);
  EXPECT_EQ(cached(), 0u);
  EXPECT_EQ(conservation(d), "");
}

TEST(decay, what_comes_back_from_the_depot_has_not_idled_here) {
  depot d{small_depot(16_MiB, {4_KiB})};
  pool p{d};
  const auto fill = [] { const lease fills_the_cache = lease::of(4096); };
  const auto cached = [&] { return d.statistics().classes[0].cached; };
  fill();
  p.decay(1000);
  p.spill_all();
  fill();
  ASSERT_EQ(cached(), 16u);
  p.decay(1100);
  EXPECT_EQ(cached(), 16u);
}

TEST(decay, spare_and_active_lists_count_together) {
  depot d{small_depot(16_MiB, {4_KiB})};
  pool p{d};
  {
    std::vector<lease> peak;
    for (int i = 0; i != 120; ++i) peak.push_back(lease::of(4096));
  }
  p.decay(1000);
  const std::uint64_t before = d.statistics().classes[0].cached;
  ASSERT_GT(before, 64u);
  p.decay(1100);
  EXPECT_EQ(d.statistics().classes[0].cached, before - (before + 1) / 2);
  EXPECT_EQ(conservation(d), "");
}

TEST(decay, whole_spans_return_to_the_system) {
  depot d{small_depot(64_MiB)};
  {
    pool p{d};
    std::vector<chain> peak;
    for (int i = 0; i != 20; ++i) peak.push_back(chain::of_size(1'000'000 + static_cast<unsigned>(i) * 1000));
    EXPECT_GT(d.statistics().committed_bytes, 19_MiB);
    peak.clear();
    for (std::uint64_t now = 0; now != 5000; now += 10) p.decay(now);
    EXPECT_EQ(d.statistics().committed_bytes, 0u);
    EXPECT_EQ(conservation(d), "");
    EXPECT_TRUE(chain::of_size(1'000'000)) << "and comes back";
  }
  EXPECT_EQ(out(d), 0u);
}

// A peak of 1 GiB in 4 KiB blocks, every page touched; 5 s of a loop that calls decay every 100 ms, told in
// numbers.
TEST(decay, rss_falls_after_a_peak_of_a_gigabyte) {
#ifdef CATENET_BLURRED
  constexpr std::size_t peak_bytes = 64_MiB;
#else
  constexpr std::size_t peak_bytes = 1_GiB;
#endif
  depot_options options = small_depot(2_GiB);
  options.huge_pages = true;
  depot d{options};
  pool p{d};
  { const chain warm = chain::of_size(100'000); }
  const std::size_t before = rss_bytes();
  {
    std::vector<lease> peak;
    peak.reserve(peak_bytes / 4096);
    for (std::size_t i = 0; i != peak_bytes / 4096; ++i) {
      peak.push_back(lease::of(4096));
      peak.back().bytes()[0] = std::byte{1};
    }
    EXPECT_GT(rss_bytes(), before + peak_bytes);
  }
  for (std::uint64_t now = 1000; now <= 6000; now += 10) p.decay(now);
  EXPECT_EQ(conservation(d), "");
#ifndef CATENET_BLURRED
  const std::size_t after = rss_bytes();
  EXPECT_LT(after, before + peak_bytes / 10) << "within 10 % of the peak";
  // The tables of an arena of 2 GiB and what the allocator keeps make some 2 MiB, which in a process as small
  // as this test is more than a tenth.
  EXPECT_LT(after, before + std::max<std::size_t>(before / 10, 3_MiB))
      << "before " << before << ", after " << after;
#endif
}

#ifndef CATENET_BLURRED
// The same on the real clock, as a thread without an engine would do it: a look every 100 ms.
TEST(decay, a_plain_thread_is_back_within_ten_percent_in_seconds) {
  using clock = std::chrono::steady_clock;
  depot_options options = small_depot(2_GiB);
  options.huge_pages = true;
  depot d{options};
  pool p{d};
  // What a program of some size has besides, so that a tenth of it is more than an extent's pages.
  std::vector<char> program(32_MiB, 'p');
  { const chain warm = chain::of_size(100'000); }
  const std::size_t before = rss_bytes();
  {
    std::vector<lease> peak;
    peak.reserve(1_GiB / 64_KiB);
    for (std::size_t i = 0; i != 1_GiB / 64_KiB; ++i) {
      peak.push_back(lease::of(64_KiB));
      std::memset(peak.back().bytes().data(), 1, 64_KiB);
    }
    EXPECT_GT(rss_bytes(), before + 900_MiB);
  }
  const auto begin = clock::now();
  const auto since = [&] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - begin).count();
  };
  while (rss_bytes() > before + before / 10 && since() < 30'000) {
    p.decay(static_cast<std::uint64_t>(since()));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  RecordProperty("milliseconds", static_cast<int>(since()));
  EXPECT_LE(rss_bytes(), before + before / 10);
  EXPECT_LT(since(), 15'000) << "5 s on a machine that does nothing else";
}
#endif

TEST(decay, what_is_in_use_stays) {
  depot d{small_depot(64_MiB)};
  pool p{d};
  std::vector<chain> kept;
  for (int i = 0; i != 500; ++i) {
    chain c = chain::copy_of(std::string(4000, static_cast<char>('a' + i % 26)));
    if (i % 10 == 0) kept.push_back(std::move(c));
  }
  for (std::uint64_t now = 0; now != 4000; now += 50) p.decay(now);
  for (std::size_t i = 0; i != kept.size(); ++i)
    ASSERT_EQ(kept[i].to_string(), std::string(4000, static_cast<char>('a' + i * 10 % 26)));
  EXPECT_EQ(conservation(d), "");
}

}  // namespace
}  // namespace catenet::test
