// Chains, one property at a time: headroom, gathering, compacting, conversions, ranges; and chains that
// several cores hold.
#include <catenet/slab/remote.hpp>

#include "fixture.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ranges>
#include <thread>
#include <vector>

namespace catenet::test {
namespace {

static_assert(std::ranges::forward_range<chain>);
static_assert(std::is_nothrow_move_constructible_v<chain> && !std::is_copy_constructible_v<chain>);

using chain_test = slab_test;

TEST_F(chain_test, headroom_takes_a_header_without_a_block) {
  chain c{lease::of(4096), 100, 50};
  std::ranges::fill(const_cast<std::byte*>(c.head()->data), const_cast<std::byte*>(c.head()->data) + 50,
                    std::byte{'b'});
  EXPECT_EQ(c.headroom(), 100u);
  ASSERT_TRUE(c.prepend_copy("head:"));
  EXPECT_EQ(c.segment_count(), 1u);
  EXPECT_EQ(c.to_string(), "head:" + std::string(50, 'b'));
  ASSERT_TRUE(c.prepend_copy(std::string(200, 'x')));
  EXPECT_EQ(c.segment_count(), 2u);
  EXPECT_GT(c.headroom(), 300u) << "what a fresh block does not need is headroom";
  auto twin = c.share();
  EXPECT_EQ(c.headroom(), 0u) << "never into a block that somebody else sees";
}

TEST_F(chain_test, gathers_the_beginning) {
  chain c = chain::copy_of("abc");
  ASSERT_TRUE(c.append_constant("defghi"));
  EXPECT_FALSE(c.gather(10));
  ASSERT_TRUE(c.gather(5));
  EXPECT_EQ(as_text(c.front()), "abcde");
  EXPECT_EQ(c.to_string(), "abcdefghi");
}

TEST_F(chain_test, compact_lets_go_of_a_big_block) {
  chain c = chain::of_size(1_MiB);
  c.consume(1_MiB - 300);
  c.compact();
  EXPECT_EQ(c.head()->blk->capacity(), 512u);
  chain small{lease::of(512), 0, 20};
  const segment* before = small.head();
  small.compact();
  EXPECT_EQ(small.head(), before) << "nothing is gained by copying from the smallest class to itself";
}

TEST_F(chain_test, wastes_at_most_a_quarter) {
  for (std::uint64_t n = 385; n < 3'000'000; n += n / 7 + 13) {
    const chain c = chain::of_size(n);
    std::uint64_t rented = 0;
    for (const segment* s = c.head(); s != nullptr; s = s->next) rented += s->blk->capacity();
    EXPECT_LE(rented - n, std::max<std::uint64_t>(n / 4, 511)) << n;
  }
}

TEST_F(chain_test, converts_to_and_from_strings_spans_and_iovecs) {
  std::string text(2000, 's');
  const char* where = text.data();
  chain c;
  ASSERT_TRUE(c.append_string(std::move(text)));
  EXPECT_EQ(reinterpret_cast<const char*>(c.front().data()), where) << "taken over, not copied";
  ASSERT_TRUE(c.append_string("short"));
  std::array<iovec, 4> vectors;
  const auto sum = c.to_iovecs(vectors);
  EXPECT_EQ(sum.bytes, 2005u);
  EXPECT_EQ(chain::copy_of(std::span<const iovec>{vectors}.first(sum.count)).to_string(), c.to_string());
  std::size_t seen = 0;
  for (const std::span<const std::byte> piece : c) seen += piece.size();
  EXPECT_EQ(seen, 2005u);
}

TEST_F(chain_test, is_a_range_of_spans_for_the_standard_algorithms) {
  chain c = chain::copy_of("one ");
  ASSERT_TRUE(c.append_constant("two "));
  c.append(chain::copy_of("three"));
  EXPECT_EQ(std::ranges::distance(c), 3);
  const auto sizes = c | std::views::transform([](std::span<const std::byte> s) { return s.size(); });
  EXPECT_TRUE(std::ranges::equal(sizes, std::vector<std::size_t>{4, 4, 5}));
  std::string text;
  std::ranges::for_each(c | std::views::join, [&](std::byte b) { text.push_back(static_cast<char>(b)); });
  EXPECT_EQ(text, "one two three");
  const auto longest = std::ranges::max_element(c, {}, [](std::span<const std::byte> s) { return s.size(); });
  EXPECT_EQ(as_text(*longest), "three");
  EXPECT_TRUE(std::ranges::empty(chain{} | std::views::all));
  const chain from_span = chain::copy_of(std::as_bytes(std::span{text}));
  EXPECT_EQ(from_span.to_string(), text);
}

TEST_F(chain_test, append_copy_never_changes_what_a_twin_sees) {
  chain c = chain::copy_of("one");
  auto twin = c.share();
  ASSERT_TRUE(c.append_copy("two"));
  twin->clear();
  ASSERT_TRUE(c.append_copy("three"));
  EXPECT_EQ(c.to_string(), "onetwothree");
}

bool all_exclusive(const chain& c) {
  for (const segment* s = c.head(); s != nullptr; s = s->next)
    if (!s->exclusive) return false;
  return true;
}
bool none_exclusive(const chain& c) {
  for (const segment* s = c.head(); s != nullptr; s = s->next)
    if (s->exclusive) return false;
  return true;
}

// Who holds the only view of some bytes may change them in place; a segment that is used again remembers
// nothing.
TEST_F(chain_test, bytes_are_exclusive_until_they_are_shared) {
  chain c = chain::of_size(10'000);
  EXPECT_TRUE(all_exclusive(c));
  {
    auto front = c.split(5000);
    EXPECT_TRUE(all_exclusive(*front) && all_exclusive(c)) << "two parts that do not overlap";
  }
  auto one = c.split(100);
  auto twin = one->share();
  EXPECT_TRUE(none_exclusive(*one) && none_exclusive(*twin)) << "one segment";
  auto twins = c.share();
  EXPECT_TRUE(none_exclusive(c) && none_exclusive(*twins)) << "several";
  auto narrow = twins->share(1, 10);
  EXPECT_TRUE(none_exclusive(*narrow));
  chain constant;
  ASSERT_TRUE(constant.append_constant("never to be written"));
  EXPECT_TRUE(none_exclusive(constant));
}

// ---- remote
// --------------------------------------------------------------------------------------------------

TEST_F(chain_test, a_move_to_another_core_costs_no_read_modify_write_and_the_first_share_one) {
  remote r{chain::of_size(100'000)};
  const std::uint64_t before = atomic_rmw_count();
  remote moved = std::move(r);
  auto same = moved.take();
  ASSERT_TRUE(same);
  EXPECT_EQ(atomic_rmw_count(), before);
  remote again{std::move(*same)};
  auto twin = again.share();
  ASSERT_TRUE(twin);
  EXPECT_EQ(atomic_rmw_count(), before + 1);
  auto mine = twin->take();
  auto mine_too = mine->share();
  EXPECT_EQ(atomic_rmw_count(), before + 1) << "at home again, views cost none";
  EXPECT_EQ(mine_too->bytes(), 100'000u);
}

TEST_F(chain_test, many_cores_hold_one_body_and_its_maker_ends_first) {
  std::vector<remote> copies;
  const std::string text(150'000, 'r');
  const int file = memfd_create("remote", MFD_CLOEXEC);
  ASSERT_EQ(write(file, "file", 4), 4);
  std::thread([&] {
    pool maker{*central};
    chain c = chain::copy_of(text);
    ASSERT_TRUE(c.append_constant("constant"));
    ASSERT_TRUE(c.append_file(dup(file), 0, 4, true));
    remote r{std::move(c)};
    for (int i = 0; i != 8; ++i) copies.push_back(std::move(*r.share()));
  }).join();
  const std::uint64_t blocks = out(*central);
  std::vector<std::thread> cores;
  for (remote& r : copies)
    cores.emplace_back([&central = central, &text, mine = std::move(r)]() mutable {
      pool p{*central};
      auto c = mine.take();
      ASSERT_TRUE(c);
      EXPECT_EQ(c->bytes(), text.size() + 12);
      auto twin = c->share(100, 1000);
      c->consume(149'000);
      EXPECT_EQ(twin->to_string(), std::string(1000, 'r'));
      EXPECT_EQ(c->validate(), nullptr);
      char byte = 0;
      EXPECT_EQ(pread(c->tail()->file->fd, &byte, 1, 0), 1) << "the descriptor lives as long as any view";
    });
  for (std::thread& t : cores) t.join();
  copies.clear();
  home->turn();
  EXPECT_LE(blocks, 8u) << "one body, however many hold it";
  close(file);
}

TEST_F(chain_test, a_remote_that_finds_no_memory_is_as_it_was) {
  for (std::uint64_t k = 0;; ++k) {
    remote r{chain::of_size(20'000)};
    home->decay(1'000'000 + k * 1000);  // so that segments come from the allocator
    for (int i = 0; i != 20; ++i) home->decay(2'000'000 + k * 100'000 + static_cast<unsigned>(i) * 200);
    bool reached = false;
    {
      const fault ordered(k);
      auto twin = r.share();
      if (twin) {
        auto views = twin->take();
        if (!views) {
          EXPECT_EQ(twin->bytes(), 20'000u);
        }
      }
      reached = ordered.happened();
      EXPECT_EQ(r.bytes(), 20'000u);
    }
    if (!reached) return;
  }
}

// As in main() before an engine runs, and after it.
TEST_F(chain_test, what_needs_a_block_fails_on_a_thread_without_a_pool) {
  chain c = chain::copy_of("some bytes");
  ASSERT_TRUE(c.append_constant(" and more"));
  const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
  std::thread([&] {
    ASSERT_EQ(pool::current(), nullptr);
    EXPECT_TRUE(chain::copy_of("text").empty());
    const iovec piece{const_cast<char*>("text"), 4};
    EXPECT_TRUE(chain::copy_of(std::span{&piece, 1}).empty());
    EXPECT_TRUE(chain::of_size(100'000).empty());
    EXPECT_FALSE(c.append_copy("text"));
    EXPECT_FALSE(c.append_constant("text"));
    EXPECT_FALSE(c.append_string(std::string(1000, 's')));
    std::array<char, 5> foreign{};
    const auto release = [](void*, void*, std::size_t) { ADD_FAILURE() << "released, though it failed"; };
    EXPECT_FALSE(c.append_foreign(foreign.data(), foreign.size(), release, nullptr));
    EXPECT_FALSE(c.append_file(file, 0, 100, true));
    EXPECT_EQ(fcntl(file, F_GETFD), -1) << "closed at once when it fails";
    EXPECT_FALSE(c.prepend_copy("text"));
    EXPECT_FALSE(c.reserve(10));
    EXPECT_FALSE(c.gather(12));
    EXPECT_FALSE(c.share());
    EXPECT_FALSE(c.share(2, 3));
    EXPECT_FALSE(c.split(3));
    EXPECT_EQ(c.to_string(), "some bytes and more");
    c.consume(5);
    const chain dropped = std::move(*c.split(5));  // a whole segment
    EXPECT_EQ(dropped.to_string(), "bytes");
  }).join();
  EXPECT_EQ(c.to_string(), " and more");
  EXPECT_EQ(c.validate(), nullptr);
}

}  // namespace
}  // namespace catenet::test
