// Allocation k fails, for every k: of control memory and of blocks. Nothing is lost, and what the header
// promises to leave as it was is as it was.
#include <catenet/slab/cursor.hpp>
#include <catenet/slab/view.hpp>

#include "fixture.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <functional>
#include <thread>

namespace catenet::test {
namespace {

// Runs the operation on a fresh chain with allocation k failing, for k = 0, 1, … until it is not reached any
// more. `operation` returns whether it succeeded; on failure the chain must say what it said before.
void for_every_k(const std::function<bool(chain&)>& operation,
                 std::string_view text = "some bytes to begin with") {
  for (std::uint64_t k = 0;; ++k) {
    ASSERT_LT(k, 100u) << "the operation never succeeds";
    depot d{small_depot()};
    bool reached = false;
    {
      pool p{d};
      chain c = chain::copy_of(text);
      ASSERT_TRUE(c.append_constant(text));
      const std::string before = c.to_string();
      p.spill_all();
      {
        const fault ordered(k);
        const bool succeeded = operation(c);
        reached = ordered.happened();
        EXPECT_TRUE(succeeded || reached) << "failed without a cause";
        if (!succeeded) {
          EXPECT_EQ(c.to_string(), before) << "changed by a failure at " << k;
        }
        EXPECT_EQ(c.validate(), nullptr);
      }
      EXPECT_EQ(conservation(d), "");
    }
    EXPECT_EQ(out(d), 0u) << "lost by a failure at " << k;
    if (!reached) return;
  }
}

TEST(faults, append_copy) {
  for_every_k([](chain& c) { return c.append_copy(std::string(200'000, 'x')); });
  for_every_k([](chain& c) { return c.append_copy("short"); });
}

TEST(faults, copy_of_and_of_size) {
  for_every_k([](chain&) { return chain::copy_of(std::string(300'000, 'y')).bytes() == 300'000; });
  for_every_k([](chain&) { return chain::of_size(70'000).bytes() == 70'000; });
}

TEST(faults, append_constant) {
  for_every_k([](chain& c) { return c.append_constant("more") && c.append_constant(""); });
}

TEST(faults, append_foreign) {
  static int released;
  for_every_k([](chain& c) {
    released = 0;
    static char memory[10];
    const bool done = c.append_foreign(
        memory, 10, [](void*, void*, std::size_t) { ++released; }, nullptr);
    EXPECT_EQ(released, 0);
    return done;
  });
  EXPECT_EQ(released, 1);
}

TEST(faults, append_file_closes_an_owned_descriptor) {
  for_every_k([](chain& c) {
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const bool done = c.append_file(fd, 0, 3 * file_segment_bytes_max, true);
    if (!done) {
      EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "closed at once when it fails";
    } else {
      c.clear();
      EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "closed with the last region";
    }
    return done;
  });
}

TEST(faults, reserve) {
  for_every_k([](chain& c) {
    reservation r = c.reserve(10'000);
    const bool done = static_cast<bool>(r);
    if (done) r.commit(5000);
    return done;
  });
}

TEST(faults, split) {
  for_every_k([](chain& c) {
    auto front = c.split(7);
    if (!front) return false;
    EXPECT_EQ(front->to_string() + c.to_string(), "some bytes to begin withsome bytes to begin with");
    return true;
  });
}

TEST(faults, share) {
  for_every_k([](chain& c) { return c.share().has_value(); });
  for_every_k([](chain& c) { return c.share(3, 30).has_value(); });
}

TEST(faults, compact_never_loses_bytes) {
  for_every_k([](chain& c) {
    const std::string before = c.to_string();
    for (int i = 0; i != 8; ++i)
      if (!c.append_copy(std::string(4000, 'a')))
        return c.consume(0), c.to_string() == before ? false : (c.clear(), true);
    c.consume(3900);
    const std::string text = c.to_string();
    c.compact();
    EXPECT_EQ(c.to_string(), text);
    return true;
  });
}

TEST(faults, view_to_chain) {
  for_every_k([](chain&) {
    lease l = lease::of(100);
    if (!l) return false;
    view v{std::move(l), 0, 50};
    auto first = v.to_chain();
    auto second = v.to_chain();
    return first && second;
  });
}

// The same, elsewhere: drops that find no memory for a parcel travel alone.
TEST(faults, sharing_splitting_and_dropping_on_another_thread) {
  for (std::uint64_t k = 0;; ++k) {
    ASSERT_LT(k, 100u);
    depot d{small_depot()};
    bool reached = false;
    {
      pool p{d};
      chain c = chain::copy_of(std::string(20'000, 'w'));
      std::thread([&] {
        pool away{d};
        const fault ordered(k, k % 2 == 1);
        auto twin = c.share();
        if (twin) {
          EXPECT_EQ(twin->to_string(), c.to_string());
        }
        auto front = c.split(11'000);
        if (front) {
          EXPECT_EQ(front->bytes() + c.bytes(), 20'000u);
        }
        EXPECT_EQ(c.validate(), nullptr);
        c.clear();
        twin.reset();
        front.reset();
        away.turn();
        reached = ordered.happened();
      }).join();
      p.turn();
      EXPECT_EQ(out(d), 0u);
    }
    EXPECT_EQ(conservation(d), "");
    if (!reached) return;
  }
}

// The k-th block is one too many, for every k.
TEST(faults, capacity_ends_after_k_blocks) {
  for (std::size_t k = 0; k != 12; ++k) {
    depot d{small_depot(2_MiB, {4_KiB})};
    {
      pool p{d};
      std::vector<lease> all;
      while (lease l = lease::of(4096)) all.push_back(std::move(l));
      ASSERT_EQ(all.size(), 512u);
      chain c{std::move(all.back()), 0, 100};
      all.pop_back();
      c.mark_in_flight(true);  // nothing may be written behind it
      all.resize(all.size() - k);
      EXPECT_EQ(chain::of_size(10 * 4096).bytes(), k < 10 ? 0u : 10u * 4096);
      const std::string more(10 * 4096, 'm');
      EXPECT_EQ(c.append_copy(more), k >= 10);
      EXPECT_EQ(c.bytes(), k >= 10 ? 100 + more.size() : 100u);
      EXPECT_EQ(c.validate(), nullptr);
      EXPECT_EQ(conservation(d), "");
      c.mark_in_flight(false);
    }
    EXPECT_EQ(out(d), 0u);
  }
}

}  // namespace
}  // namespace catenet::test
