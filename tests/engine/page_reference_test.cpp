// Where copying and page reference cross: the rule, and that it is measured here.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/page_body.hpp>
#include <catenet/engine/page_reference.hpp>
#include <catenet/engine/stream.hpp>

#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace catenet;
using namespace catenet::test;

std::vector<reference_cost> costs(double at_16, double at_64, double at_256) {
  return {{16_KiB, 100, at_16}, {64_KiB, 100, at_64}, {256_KiB, 100, at_256}};
}

TEST(page_reference, crosses_where_it_pays_from_there_on) {
  EXPECT_EQ(crossing(costs(80, 80, 80), 1_MiB), 16_KiB);
  EXPECT_EQ(crossing(costs(120, 80, 80), 1_MiB), 64_KiB);
  EXPECT_EQ(crossing(costs(80, 120, 80), 1_MiB), 256_KiB) << "a longer one does not pay";
  EXPECT_EQ(crossing(costs(80, 80, 120), 16_KiB), 512_KiB) << "beyond what was measured";
  EXPECT_EQ(crossing({}, 16_KiB), 16_KiB);
}

TEST(page_reference, a_difference_of_less_than_a_tenth_changes_nothing) {
  EXPECT_EQ(crossing(costs(105, 105, 105), 16_KiB), 16_KiB);
  EXPECT_EQ(crossing(costs(115, 105, 105), 16_KiB), 64_KiB);
  EXPECT_EQ(crossing(costs(95, 95, 95), 256_KiB), 256_KiB);
  EXPECT_EQ(crossing(costs(95, 85, 95), 256_KiB), 64_KiB);
  EXPECT_EQ(crossing(costs(95, 95, 95), 1_MiB), 512_KiB);
}

TEST(page_reference, is_measured_and_leaves_nothing_behind) {
  const std::size_t before = open_descriptors();
  const std::uint64_t found = measure_page_reference();
  EXPECT_GE(found, 16_KiB);
  EXPECT_LE(found, 512_KiB);
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(page_reference_bytes_min(engine_options{}), found);
  engine_options chosen;
  chosen.page_reference_bytes_min = 5;
  EXPECT_EQ(page_reference_bytes_min(chosen), 5u);
}

TEST(page_reference, that_cannot_be_measured_stays_as_it_is) {
  const std::uint64_t before = page_reference_bytes_min(engine_options{});
  rlimit usual{};
  getrlimit(RLIMIT_NOFILE, &usual);
  const std::size_t open = open_descriptors();
  for (const std::size_t room : {0, 1, 2, 20}) {
    const rlimit few{open + room, usual.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    EXPECT_EQ(measure_page_reference(), before) << room;
  }
  setrlimit(RLIMIT_NOFILE, &usual);
  EXPECT_EQ(open_descriptors(), open);
}

// An engine whose options leave it open answers one client with that.
void serve_once(const std::function<chain()>& make) {
  class answers final : public protocol {
   public:
    explicit answers(const std::function<chain()>& make) : make_(make) {}
    void received(stream& s, chain&&) override {
      s.send(make_());
      s.close();
    }

   private:
    const std::function<chain()>& make_;
  };
  engine_options o;
  o.handle_signals = false;
  choose_io(o);
  engine net(o);
  endpoint where;
  static_cast<void>(net.listen(
      "127.0.0.1:0", [&](core&) { return std::make_unique<answers>(make); }, &where));
  std::thread asks;
  net.on_start([&] {
    asks = std::thread([&] {
      client c(where);
      c.send("?");
      c.receive_all();
      net.stop();
    });
  });
  static_cast<void>(net.run());
  asks.join();
}

[[noreturn]] void exit_with_times_measured() {
  static std::atomic<int> told{0};
  set_log_sink([](log_level, std::string_view line) {
    if (line.starts_with("page reference from ")) ++told;
  });
  serve_once([] { return chain::copy_of(pattern(0, 64_KiB)); });
  if (told != 0) std::exit(100);
  const std::string bytes = pattern(0, 64_KiB);
  const page_body body = page_body::copy_of(std::as_bytes(std::span(bytes)));
  for (int i = 0; i != 2; ++i) serve_once([&] { return body.view(); });
  std::exit(told);
}

// In a process of its own: it waits for that before its engine ends, and does it once.
TEST(page_reference, is_measured_once_by_the_first_page_body_that_is_sent) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(exit_with_times_measured(), testing::ExitedWithCode(1), "");
}

}  // namespace
