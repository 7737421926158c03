// Long runs: mixed operations on four threads with nothing lost, ten thousand short threads, and the cost
// table. CATENET_OPERATIONS sets how many mixed operations in all (default 2 million; the proof of record is
// 1e8).
#include <catenet/slab/remote.hpp>
#include <catenet/slab/waiter.hpp>

#include "fixture.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace catenet::test {
namespace {

std::uint64_t operations_wanted() {
  const char* asked = std::getenv("CATENET_OPERATIONS");
  return asked == nullptr ? 2'000'000 : std::strtoull(asked, nullptr, 10);
}

struct letterbox {
  std::mutex lock;
  std::vector<remote> letters;
};

// One of the threads: rents, drops, shares, splits, sends and receives.
class worker {
 public:
  worker(depot& d, std::vector<letterbox>& boxes, std::size_t self)
      : pool_(d), boxes_(boxes), self_(self), random_(self) {}

  void work(std::uint64_t operations) {
    std::vector<chain> held(16);
    for (std::uint64_t i = 0; i != operations; ++i) {
      const std::uint64_t r = random_();
      chain& c = held[r % held.size()];
      step(c, held[r >> 8 & 15], r >> 16);
      if (i % 64 == 0) pool_.turn();
      if (i % 4096 == 0) pool_.decay(now_ += 40);
    }
  }

 private:
  void step(chain& c, chain& other, std::uint64_t r) {
    switch (r % 16) {
      case 0:
      case 1:
      case 2:
        c.append(chain::of_size(1 + (r >> 8) % 6000));
        break;
      case 3:
      case 4:
        c.clear();
        break;
      case 5:
        if (auto twin = c.share(); twin && &c != &other) other = std::move(*twin);
        break;
      case 6:
        if (auto front = c.split(c.bytes() / 2); front && &c != &other) other.append(std::move(*front));
        break;
      case 7:
        c.consume(c.bytes() / 3);
        break;
      case 8: {
        remote letter{std::move(c)};
        if (r >> 8 & 1)
          if (auto twin = letter.share()) post(std::move(*twin), r >> 20);
        post(std::move(letter), r >> 16);
        break;
      }
      case 9:
        receive(c);
        break;
      case 10:
        if (!c.append_copy("a few bytes")) c.clear();
        break;
      default: {
        const lease l{pool_.rent(static_cast<size_class>((r >> 8) % 4))};
        break;
      }
    }
    if (c.bytes() > 100'000) c.clear();
  }
  void post(remote&& letter, std::uint64_t to) {
    letterbox& box = boxes_[to % boxes_.size()];
    const std::lock_guard lock(box.lock);
    if (box.letters.size() < 200) box.letters.push_back(std::move(letter));
  }
  void receive(chain& into) {
    std::vector<remote> mine;
    {
      const std::lock_guard lock(boxes_[self_].lock);
      mine.swap(boxes_[self_].letters);
    }
    for (remote& letter : mine)
      if (auto c = letter.take()) into = std::move(*c);
  }

  pool pool_;
  std::vector<letterbox>& boxes_;
  std::size_t self_;
  std::mt19937_64 random_;
  std::uint64_t now_ = 0;
};

TEST(long_run, mixed_operations_on_four_threads_lose_nothing) {
  constexpr std::size_t threads = 4;
  depot d{small_depot(256_MiB)};
  std::vector<letterbox> boxes(threads);
  const std::uint64_t each = operations_wanted() / threads;
  std::atomic<bool> stop{false};
  std::uint64_t exact = 0, seen = 0;
  std::thread watcher([&] {
    while (!stop) {
      EXPECT_EQ(conservation(d), "");
      exact += d.statistics().exact;
      ++seen;
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> all;
  for (std::size_t t = 0; t != threads; ++t) all.emplace_back([&, t] { worker{d, boxes, t}.work(each); });
  for (std::thread& t : all) t.join();
  stop = true;
  watcher.join();
  boxes.clear();
  EXPECT_EQ(census(d), "");
  EXPECT_EQ(out(d), 0u);
  EXPECT_GT(exact, 0u) << "of " << seen << " snapshots none was exact";
}

TEST(long_run, ten_thousand_short_threads_give_everything_back) {
#if defined(CATENET_ASAN) || defined(CATENET_TSAN)
  constexpr int threads = 1000;
#else
  constexpr int threads = 10'000;
#endif
  depot d{small_depot(64_MiB)};
  std::mutex lock;
  std::vector<chain> left_behind;
  pool_id highest = 0;
  {
    pool home{d};
    for (int i = 0; i != threads; i += 4) {
      std::vector<std::thread> four;
      for (int t = 0; t != 4; ++t)
        four.emplace_back([&] {
          pool p{d};
          chain c = chain::of_size(5000);
          const std::lock_guard guard(lock);
          highest = std::max(highest, p.id());
          if (left_behind.size() > 20) left_behind.erase(left_behind.begin(), left_behind.begin() + 10);
          left_behind.push_back(std::move(c));
        });
      for (std::thread& t : four) t.join();
    }
    left_behind.clear();
  }
  EXPECT_LT(highest, 8) << "numbers are used again";
  EXPECT_EQ(census(d), "");
  EXPECT_EQ(out(d), 0u);
}

// The cost table of architecture.md: atomic read-modify-writes an operation.
TEST(cost_table, is_what_the_design_says) {
  depot d{small_depot()};
  pool p{d};
  { const chain warm = chain::of_size(600); }
  chain body = chain::of_size(4096);
  const auto cost = [](auto&& operation) {
    const std::uint64_t before = atomic_rmw_count();
    operation();
    return atomic_rmw_count() - before;
  };
  EXPECT_EQ(cost([] { const lease pair = lease::of(4096); }), 0u) << "rent and return";
  EXPECT_EQ(cost([&] { auto twin = body.share(); }), 0u) << "share and drop";
  EXPECT_EQ(cost([&] {
              chain a = chain::of_size(600);
              a.append(chain::of_size(700));
              a.consume(650);
              auto front = a.split(10);
            }),
            0u)
      << "append, consume, split, with the cache warm";
  p.turn();
  EXPECT_EQ(cost([&] { p.turn(); }), 0u) << "a turn with nothing to do";
  std::vector<chain> handed;
  for (int i = 0; i != 59; ++i) handed.push_back(chain::of_size(4096));
  std::thread([&] {
    pool away{d};
    EXPECT_EQ(cost([&] { handed.pop_back(); }), 0u) << "a foreign return before its parcel is full";
    EXPECT_EQ(cost([&] { handed.clear(); }), 1u) << "one for the whole parcel";
  }).join();
  EXPECT_EQ(cost([&] { p.turn(); }), 1u) << "settling all that came home";
  const size_class c = p.classes().fitting(4096);
  const auto before = d.statistics().classes[c];
  std::vector<block*> many;
  const std::uint64_t spent = cost([&] {
    p.spill_all();
    for (int i = 0; i != 48; ++i) many.push_back(p.rent(c));
  });
  const auto after = d.statistics().classes[c];
  EXPECT_LE(spent, after.refills - before.refills + d.statistics().classes.size() * 2) << "one a batch";
  for (block* b : many) {
    b->refs = 0;
    p.give(b);
  }
}

}  // namespace
}  // namespace catenet::test
