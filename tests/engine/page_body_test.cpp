// Page bodies and file regions through streams: the bytes, who counts them, late readers, files that shrink.
#include <catenet/engine/log.hpp>
#include <catenet/engine/page_body.hpp>

#include "page_cache.hpp"
#include "page_region.hpp"
#include "support/client.hpp"
#include "support/engine_host.hpp"
#include "support/in_child.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

namespace {

using namespace catenet;
using namespace catenet::test;

constexpr std::size_t body_bytes = 3_MiB + 123;

std::uint64_t by(const engine_host& host, tier t) {
  return host.statistics().tiers[static_cast<std::size_t>(t)].bytes;
}

// Sends "head" and then what `make` makes to whoever sends a byte.
handlers answering(std::function<chain()> make) {
  return {.received = [make](stream& s, chain&&) {
    chain answer = chain::copy_of("head");
    answer.append(make());
    s.send(std::move(answer));
  }};
}

TEST(page_body, is_memory_and_gives_itself_back) {
  const page_body_statistics before = page_bodies();
  {
    const std::string bytes = pattern(0, 10000);
    const page_body body = page_body::copy_of(as_bytes(bytes));
    ASSERT_EQ(body.bytes(), bytes.size());
    EXPECT_EQ(as_text(body.memory()), bytes);
    EXPECT_EQ(page_bodies().bodies, before.bodies + 1);
    EXPECT_EQ(page_bodies().bytes, before.bytes + 12288);
  }
  EXPECT_EQ(page_bodies().bodies, before.bodies);
  EXPECT_EQ(page_bodies().bytes, before.bytes);
  EXPECT_LE(page_bodies().extents, before.extents + 1);
  EXPECT_FALSE(page_body::copy_of(std::span<const std::byte>{}));
  EXPECT_TRUE(page_body{}.memory().empty());
}

TEST(page_body, views_are_cut_to_what_there_is_and_outlive_the_body) {
  depot d;
  pool p(d);
  const std::string bytes = pattern(0, 100000);
  chain middle;
  {
    const page_body body = page_body::copy_of(chain::copy_of(bytes));
    EXPECT_EQ(body.view().to_string(), bytes);
    EXPECT_TRUE(body.view(100000).empty());
    EXPECT_TRUE(body.view(0, 0).empty());
    EXPECT_EQ(body.view(99990, 100).to_string(), bytes.substr(99990));
    middle = body.view(4000, 50000);
  }
  EXPECT_EQ(page_bodies().bodies, 1u);
  EXPECT_EQ(middle.to_string(), bytes.substr(4000, 50000));
  EXPECT_EQ(middle.validate(), nullptr);
  middle.clear();
  EXPECT_EQ(page_bodies().bodies, 0u);
}

// Ranges of many sizes are taken and given back in any order; nobody's bytes end up with another.
TEST(page_body, ranges_never_overlap) {
  std::vector<std::pair<page_body, std::uint64_t>> all;
  std::uint64_t seed = 1;
  for (int step = 0; step != 600; ++step) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    if (all.size() < 40 || (seed >> 60 & 1) != 0) {
      all.emplace_back(page_body::copy_of(as_bytes(pattern(seed % 1000, seed >> 33 & 0x1ffff))), seed % 1000);
    } else {
      std::swap(all[(seed >> 33) % all.size()], all.back());
      all.pop_back();
    }
    const auto& [body, from] = all[(seed >> 20) % all.size()];
    ASSERT_EQ(off_pattern(from, as_text(body.memory())), std::string::npos);
  }
  all.clear();
  EXPECT_EQ(page_bodies().bytes, 0u);
}

// With free room in two extents, a range is taken from one of them only.
TEST(page_body, an_extent_that_is_empty_again_is_given_back) {
  {
    page_body whole_extent = page_body::copy_of(as_bytes(std::string(64_MiB, 'x')));
    const page_body small = page_body::copy_of(as_bytes(pattern(0, 100)));
    ASSERT_GE(page_bodies().extents, 2u);
    whole_extent = {};
    const page_body another = page_body::copy_of(as_bytes(pattern(0, 100)));
  }
  EXPECT_LE(page_bodies().extents, 1u) << "one is kept, not more";
}

// Where shared memory may be given large folios, no two bodies may share one.
TEST(page_body, is_as_coarse_as_folios_may_be) {
  const temp_folder folder;
  const std::string settings = folder.path("");
  std::filesystem::create_directory(settings + "hugepages-64kB");
  const auto grain = [&](const char* general, const char* of_64k) {
    std::ofstream(settings + "shmem_enabled") << general << '\n';
    std::ofstream(settings + "hugepages-64kB/shmem_enabled") << of_64k << '\n';
    return page_body_grain(settings);
  };
  EXPECT_EQ(grain("always within_size advise [never] deny force", "always inherit [never]"), 4_KiB);
  EXPECT_EQ(grain("always within_size [advise] never deny force", "always [inherit] never"), 4_KiB);
  EXPECT_EQ(grain("[always] within_size advise never deny force", "always inherit [never]"), 2_MiB);
  EXPECT_EQ(grain("always within_size advise never deny [force]", "always inherit [never]"), 2_MiB);
  EXPECT_EQ(grain("always within_size advise [never] deny force", "[always] inherit never"), 2_MiB);
  EXPECT_EQ(page_body_grain(folder.path("none")), 4_KiB) << "a kernel without huge pages";
}

// Large folios begin and end with their body: punching part of one would write zeros into it.
TEST(page_body, from_a_MiB_on_it_has_whole_folios_where_it_lasts) {
  const auto pages_of_a = [](std::uint64_t bytes, body_life life) {
    const std::uint64_t before = page_bodies().bytes;
    const page_body body = page_body::copy_of(as_bytes(pattern(3, bytes)), life);
    EXPECT_EQ(off_pattern(3, as_text(body.memory())), std::string::npos) << bytes;
    const auto place = reinterpret_cast<std::uintptr_t>(body.memory().data());
    if (bytes >= 1_MiB && life == body_life::lasting) {
      EXPECT_EQ(place % 2_MiB, 0u) << bytes;
    }
    return page_bodies().bytes - before;
  };
  const page_body before_them = page_body::copy_of(as_bytes(pattern(0, 100)));
  if (page_bodies().bytes != 4_KiB) GTEST_SKIP() << "shared memory is given large folios here";
  EXPECT_EQ(pages_of_a(1_MiB - 1, body_life::lasting), 1_MiB);
  EXPECT_EQ(pages_of_a(1_MiB, body_life::lasting), 2_MiB);
  EXPECT_EQ(pages_of_a(1_MiB, body_life::passing), 1_MiB);
  EXPECT_EQ(pages_of_a(2_MiB + 1, body_life::lasting), 2_MiB + 4_KiB);
  EXPECT_EQ(pages_of_a(3_MiB, body_life::lasting), 4_MiB);
  EXPECT_EQ(pages_of_a(100_MiB, body_life::lasting), 100_MiB);
}

TEST(page_body, goes_out_by_reference_and_is_counted_so) {
  const page_body body = page_body::copy_of(as_bytes(pattern(0, body_bytes)));
  engine_host host(answering([&] { return body.view(); }));
  host.start();
  client c(host.at());
  for (int round = 0; round != 3; ++round) {
    ASSERT_TRUE(c.send("?"));
    ASSERT_EQ(c.receive(4), "head");
    const std::string got = c.receive(body_bytes);
    ASSERT_EQ(got.size(), body_bytes);
    ASSERT_EQ(off_pattern(0, got), std::string::npos);
  }
  c.finish();
  EXPECT_EQ(c.receive_all(), "");
  host.stop();
  // The head is copied, and so is what is left of a body when a full socket cut it close to its end.
  EXPECT_GT(by(host, tier::page_reference), 3 * body_bytes - 3 * 16_KiB);
  EXPECT_EQ(by(host, tier::copied) + by(host, tier::page_reference), 3 * (body_bytes + 4));
  EXPECT_EQ(host.statistics().bytes_out, 3 * (body_bytes + 4));
}

TEST(page_body, below_the_threshold_it_is_copied) {
  const page_body body = page_body::copy_of(as_bytes(pattern(0, 5000)));
  engine_host host(answering([&] { return body.view(); }));
  host.start();
  client c(host.at());
  ASSERT_TRUE(c.send("?"));
  EXPECT_EQ(off_pattern(0, c.receive(5004).substr(4)), std::string::npos);
  host.stop();
  EXPECT_EQ(by(host, tier::page_reference), 0u);
  EXPECT_EQ(by(host, tier::copied), 5004u);
}

// A view that was shared on a core it does not come from is still known to be pages.
TEST(page_body, crosses_cores) {
  const page_body body = page_body::copy_of(as_bytes(pattern(0, body_bytes)));
  engine_options o;
  o.cores = 2;
  std::promise<handle> opened;
  engine_host host({.opened = [&](stream& s) { opened.set_value(s.id()); }}, o);
  host.start();
  client c(host.at());
  const handle to = opened.get_future().get();
  const unsigned other = to.core == 0 ? 1 : 0;
  host.on_core(
      [&] {
        auto letter = std::make_shared<chain>(body.view());
        host.net().at(to.core).post([&host, to, letter] {
          std::optional<chain> second = letter->share();
          stream* s = host.net().at(to.core).find(to);
          s->send(std::move(*letter));
          s->send(std::move(*second));
        });
      },
      other);
  const std::string got = c.receive(2 * body_bytes);
  ASSERT_EQ(got.size(), 2 * body_bytes);
  EXPECT_EQ(off_pattern(0, std::string_view(got).substr(0, body_bytes)), std::string::npos);
  EXPECT_EQ(off_pattern(0, std::string_view(got).substr(body_bytes)), std::string::npos);
  c.close();
  host.stop();
  EXPECT_GT(by(host, tier::page_reference), 2 * body_bytes - 2 * 16_KiB);
}

class page_body_life : public testing::TestWithParam<body_life> {};
INSTANTIATE_TEST_SUITE_P(both, page_body_life, testing::Values(body_life::lasting, body_life::passing));

// The peer reads only after the body has ended and its pages were taken by others, who filled them anew.
TEST_P(page_body_life, a_late_reader_gets_the_old_bytes) {
  constexpr std::size_t bytes = 1_MiB;
  auto body = std::make_shared<page_body>(page_body::copy_of(as_bytes(pattern(0, bytes)), GetParam()));
  engine_host host(answering([&] { return body->view(); }));
  host.start();
  client c(host.at());
  ASSERT_TRUE(c.send("?"));
  ASSERT_TRUE(eventually([&] { return host.statistics().bytes_out == bytes + 4; }))
      << "the socket did not take all of it";
  const void* place = body->memory().data();
  host.on_core([] {});  // it has left the handler, which reads `body`
  body.reset();
  ASSERT_TRUE(eventually([] { return page_bodies().bodies == 0; }));
  std::vector<page_body> others;
  for (int i = 0; i != 4; ++i)
    others.push_back(page_body::copy_of(as_bytes(std::string(bytes, 'x')), GetParam()));
  EXPECT_EQ(others.front().memory().data(), place) << "the range was not taken again, so this shows nothing";
  EXPECT_EQ(off_pattern(0, c.receive(bytes + 4).substr(4)), std::string::npos);
  host.stop();
}

TEST(page_body, a_reader_that_stalls_and_one_that_resets) {
  const page_body body = page_body::copy_of(as_bytes(pattern(0, 16_MiB)));
  engine_host host(answering([&] { return body.view(); }));
  host.start();
  client slow(host.at(), 16384);
  client gone(host.at(), 16384);
  ASSERT_TRUE(slow.send("?"));
  ASSERT_TRUE(gone.send("?"));
  sleep_ms(100);
  EXPECT_EQ(gone.receive(100000).size(), 100000u);
  gone.reset();
  const std::string got = slow.receive(16_MiB + 4);
  ASSERT_EQ(got.size(), 16_MiB + 4);
  EXPECT_EQ(off_pattern(0, std::string_view(got).substr(4)), std::string::npos);
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 1; }));
  host.stop();
}

class file_region : public testing::Test {
 protected:
  void SetUp() override {
    name_ = folder_.path("f");
    fd_ = open(name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const std::string bytes = pattern(0, body_bytes);
    ASSERT_EQ(write(fd_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  void TearDown() override { close(fd_); }

  chain region(std::uint64_t offset, std::uint64_t length) const {
    chain made;
    EXPECT_TRUE(made.append_file(fd_, offset, length, false));
    return made;
  }

  temp_folder folder_;
  std::string name_;
  int fd_ = -1;
};

TEST_F(file_region, a_message_of_head_and_region) {
  engine_host host(answering([&] { return region(1000, body_bytes - 1000); }));
  host.start();
  client c(host.at());
  ASSERT_TRUE(c.send("?"));
  EXPECT_EQ(off_pattern(1000, c.receive(body_bytes - 996).substr(4)), std::string::npos);
  host.stop();
  EXPECT_EQ(by(host, tier::page_reference), body_bytes - 1000);
}

// A seccomp filter, as a sandbox may have one, or a file system that cannot do it.
class sendfile_refused : public file_region, public testing::WithParamInterface<int> {};

TEST_P(sendfile_refused, regions_and_bodies_are_copied) {
  const auto body = [&] {
    if (!refuse_system_call(SYS_sendfile, GetParam())) return no_filter_here;
    static std::atomic<int> told{0};
    set_log_sink([](log_level level, std::string_view line) {
      if (level >= log_level::warning && line.find("sendfile is refused: E") == 0) ++told;
    });
    const page_body pages = page_body::copy_of(as_bytes(pattern(0, body_bytes)));
    engine_options o;
    o.page_reference_bytes_min = 1;
    int asked = 0;
    engine_host host(
        answering([&] { return asked++ % 2 == 0 ? region(1000, body_bytes - 1000) : pages.view(1000); }), o);
    host.start();
    client c(host.at());
    for (int i = 0; i != 4; ++i) {
      EXPECT_TRUE(c.send("?"));
      EXPECT_EQ(off_pattern(1000, c.receive(body_bytes - 996).substr(4)), std::string::npos) << i;
    }
    EXPECT_EQ(told, 1) << "the log says so, once";
    c.close();
    EXPECT_TRUE(eventually([&] { return host.rented() == 0; }));
    host.stop();
    EXPECT_EQ(by(host, tier::page_reference), 0u);
    return HasFailure() ? 1 : 0;
  };
  const int status = in_child(body);
  if (status == no_filter_here) GTEST_SKIP() << "this sandbox allows no seccomp filter";
  EXPECT_EQ(status, 0);
}
INSTANTIATE_TEST_SUITE_P(errors, sendfile_refused, testing::Values(EPERM, ENOSYS, EINVAL));

// Pages of a file that are in memory, by mincore(2).
std::size_t resident_pages(int fd, std::size_t bytes) {
  void* map = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  std::vector<unsigned char> pages((bytes + 4095) / 4096);
  EXPECT_EQ(mincore(map, bytes, pages.data()), 0);
  munmap(map, bytes);
  return static_cast<std::size_t>(
      std::count_if(pages.begin(), pages.end(), [](auto p) { return (p & 1) != 0; }));
}

// A file on a disk, under the directory that the tests run in; nothing of it is in memory.
class cold_file : public file_region {
 protected:
  static constexpr std::size_t bytes = 24_MiB;
  void SetUp() override {
    name_ = std::filesystem::current_path() / ("cold-file-" + std::to_string(getpid()));
    fd_ = open(name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const std::string all = pattern(0, bytes);
    ASSERT_EQ(write(fd_, all.data(), all.size()), static_cast<ssize_t>(all.size()));
    ASSERT_EQ(fsync(fd_), 0);
    const auto dropped = [&] {
      EXPECT_EQ(posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED), 0);
      return resident_pages(fd_, bytes) == 0;
    };
    if (!eventually(dropped))
      GTEST_SKIP() << "the file system of " << name_ << " keeps what it was told to drop";
    ASSERT_FALSE(in_page_cache(fd_, 0, 1));
    ASSERT_FALSE(in_page_cache(fd_, bytes / 2, bytes / 2));
  }
  void TearDown() override {
    file_region::TearDown();
    unlink(name_.c_str());
  }
};

struct waits {
  long slept = 0;  // times that the thread gave up the processor because it had to wait
  std::uint64_t enters = 0;
};
waits waits_of_the_loop(engine_host& host) {
  return host.on_core([&] {
    rusage used{};
    getrusage(RUSAGE_THREAD, &used);
    return waits{used.ru_nvcsw, host.statistics().enters};
  });
}

// The loop may sleep in its own system call, once in each, and nowhere else: not in a sendfile that meets a
// page which is still on the disk.
TEST_F(cold_file, is_read_ahead_and_the_loop_does_not_stall) {
  ASSERT_EQ(posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM), 0);  // the kernel reads nothing ahead by itself
  const auto backwards = [&] {
    chain all;
    for (std::uint64_t at = bytes; at != 0; at -= 1_MiB) all.append(region(at - 1_MiB, 1_MiB));
    return all;
  };
  engine_host host(answering(backwards));
  host.start();
  client c(host.at());
  const waits before = waits_of_the_loop(host);
  ASSERT_TRUE(c.send("?"));
  const std::string got = c.receive(bytes + 4);
  const waits after = waits_of_the_loop(host);
  ASSERT_EQ(got.size(), bytes + 4);
  for (std::uint64_t at = bytes, from = 4; at != 0; at -= 1_MiB, from += 1_MiB)
    ASSERT_EQ(off_pattern(at - 1_MiB, std::string_view(got).substr(from, 1_MiB)), std::string::npos) << at;
  host.stop();
  EXPECT_GE(host.statistics().cold_reads, bytes / 1_MiB);
  EXPECT_LE(after.slept - before.slept, static_cast<long>(after.enters - before.enters) + 2);
}

TEST_F(file_region, waits_for_a_peer_that_has_said_fin) {
  constexpr int times = 10;  // more than sockets hold
  engine_host host({.received =
                        [&](stream& s, chain&&) {
                          for (int i = 0; i != times; ++i) s.send(region(0, body_bytes));
                        },
                    .ended = [](stream& s) { s.close(); }});
  host.start();
  client c(host.at(), 65536);
  ASSERT_TRUE(c.send("x"));
  sleep_ms(20);
  c.finish();
  sleep_ms(100);
  host.expect_quiet();
  EXPECT_EQ(c.receive_all().size(), times * body_bytes);
  host.stop();
}

TEST_F(file_region, a_file_that_shrinks_ends_the_connection) {
  engine_host host(answering([&] { return region(0, body_bytes); }));
  host.start();
  client c(host.at(), 16384);
  ASSERT_EQ(ftruncate(fd_, 1_MiB), 0);
  ASSERT_TRUE(c.send("?"));
  const std::string got = c.receive_all();
  EXPECT_LE(got.size(), 1_MiB + 4);
  EXPECT_NE(c.error(), 0) << "the end looked like a proper one";
  EXPECT_EQ(off_pattern(0, std::string_view(got).substr(std::min<std::size_t>(4, got.size()))),
            std::string::npos);
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 0; }));
  host.stop();
}

// What the socket had taken before is still right, and then comes a reset: never a hang, an end that looks
// proper, or bytes from elsewhere.
TEST_F(file_region, truncated_while_it_is_sent) {
  constexpr std::size_t long_bytes = 64_MiB;  // more than sockets hold
  ASSERT_EQ(ftruncate(fd_, long_bytes), 0);
  engine_host host(answering([&] { return region(0, long_bytes); }));
  host.start();
  client c(host.at(), 16384);
  ASSERT_TRUE(c.send("?"));
  ASSERT_EQ(c.receive(4), "head");
  ASSERT_EQ(ftruncate(fd_, 100), 0);
  const std::string got = c.receive_all();
  EXPECT_LT(got.size(), long_bytes);
  EXPECT_EQ(c.error(), ECONNRESET);
  const std::size_t known = std::min(got.size(), body_bytes);
  // A page that was sent by reference is the file's own: cutting the file blanks what is left of its last
  // one.
  const std::string expected = pattern(0, known);
  for (std::size_t i = 0; i != known; ++i)
    if (got[i] != expected[i]) {
      ASSERT_EQ(got[i], '\0') << i;
    }
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 0; }));
  host.stop();
}

}  // namespace
