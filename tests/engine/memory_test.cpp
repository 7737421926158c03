// A core gives idle memory back on its own: after a peak of a gigabyte the process is as small as it was,
// within seconds of the real clock, although nothing happens on the core any more.
#include <catenet/slab/lease.hpp>
#include <catenet/slab/sanitizer.hpp>

#include "support/engine_host.hpp"
#include "support/rss.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <vector>

#if !defined(CATENET_ASAN) && !defined(CATENET_TSAN)  // their shadow is not given back

namespace catenet::test {
namespace {

using clock = std::chrono::steady_clock;

TEST(idle_memory, of_a_core_goes_back_after_a_peak_of_a_gigabyte) {
  constexpr std::size_t peak_bytes = 1_GiB, piece = 64_KiB;
  engine_options o;
  o.slab.capacity = 2_GiB;
  engine_host host({}, o);
  host.start();
  const std::vector<char> program(32_MiB, 'p');  // what a program of some size has besides
  host.on_core([] { return lease::of(piece).bytes().size(); });
  const std::size_t before = rss_bytes();
  const std::size_t peak = host.on_core([] {
    std::vector<lease> all;
    all.reserve(peak_bytes / piece);
    for (std::size_t i = 0; i != peak_bytes / piece; ++i) {
      all.push_back(lease::of(piece));
      std::memset(all.back().bytes().data(), 1, piece);
    }
    return rss_bytes();
  });
  EXPECT_GT(peak, before + peak_bytes * 9 / 10);
  const auto begin = clock::now();
  EXPECT_TRUE(eventually([&] { return rss_bytes() <= before + before / 10; }, 30'000))
      << "before " << before << ", now " << rss_bytes();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - begin);
  RecordProperty("milliseconds", static_cast<int>(took.count()));
  EXPECT_LT(took.count(), 15'000) << "5 s on a machine that does nothing else";
  EXPECT_EQ(host.on_core([&] { return program.back(); }), 'p');
  host.stop();
}

}  // namespace
}  // namespace catenet::test

#endif
