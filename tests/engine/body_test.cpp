// Large bodies in, files out, and what happens when blocks run out.
#include "support/client.hpp"
#include "support/engine_host.hpp"
#include "support/loop_held.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <fstream>
#include <random>

namespace {

using namespace catenet;
using namespace catenet::test;

// ---- expect()

TEST(expect, reads_a_large_body_with_few_completions) {
  constexpr std::uint64_t bytes = 32_MiB;
  std::atomic<std::uint64_t> got{0}, calls{0};
  std::atomic<bool> bad{false};
  engine_host host({.opened = [](stream& s) { s.expect(bytes); },
                    .received =
                        [&](stream&, chain&& c) {
                          if (off_pattern(got, c.to_string()) != std::string::npos) bad = true;
                          got += c.bytes();
                          ++calls;
                        }});
  host.start();
  client c(host.at());
  const std::string all = pattern(0, bytes);
  const std::uint64_t before = host.statistics().completions;
  ASSERT_TRUE(c.send(all));
  ASSERT_TRUE(eventually([&] { return got == bytes; }));
  EXPECT_FALSE(bad);
  if (!sanitized && environment("CATENET_IO_WITHOUT").find("large") == std::string_view::npos) {
    EXPECT_LT(host.statistics().completions - before, 4 * bytes / 256_KiB)
        << "a completion a large block, more or less";
  }
  host.stop();
}

TEST(expect, ends_where_the_body_ends_and_small_reading_goes_on) {
  std::atomic<std::uint64_t> got{0};
  std::atomic<bool> bad{false};
  engine_host host({.received = [&](stream& s, chain&& c) {
    if (off_pattern(got, c.to_string()) != std::string::npos) bad = true;
    if (got == 0) s.expect(1_MiB);  // while a small receive is under way
    got += c.bytes();
  }});
  host.start();
  for (int round = 0; round != 5; ++round) {
    got = 0;
    client c(host.at());
    std::mt19937 random(static_cast<unsigned>(round));
    const std::size_t bytes = 1_MiB + 100'000;
    for (std::size_t at = 0; at != bytes;) {
      const std::size_t part = std::min<std::size_t>(bytes - at, random() % 70'000 + 1);
      ASSERT_TRUE(c.send(pattern(at, part)));
      at += part;
    }
    ASSERT_TRUE(eventually([&] { return got == bytes; })) << got;
  }
  EXPECT_FALSE(bad);
  host.stop();
}

// Else a receive that goes on would have filled many small blocks before the hint could end it.
TEST(expect, the_block_that_announces_a_body_is_the_only_small_one) {
  if (environment("CATENET_IO_WITHOUT").find("large") != std::string_view::npos)
    GTEST_SKIP() << "no large receives here";
  constexpr std::uint64_t bytes = 4_KiB + 256_KiB;
  std::vector<std::uint64_t> parts;
  std::atomic<std::uint64_t> got{0};
  engine_host host({.received = [&](stream& s, chain&& c) {
    if (got % bytes == 0) s.expect(bytes - c.bytes());
    parts.push_back(c.bytes());
    got += c.bytes();
  }});
  host.start();
  client c(host.at());
  for (std::uint64_t round = 0; round != 2; ++round) {
    // The core is kept from reading until much waits in the socket, more than small blocks.
    {
      const loop_held waits(host);
      ASSERT_TRUE(c.send(pattern(0, 60'000)));
    }
    ASSERT_TRUE(c.send(pattern(0, bytes - 60'000)));
    ASSERT_TRUE(eventually([&] { return got == (round + 1) * bytes; }));
    const std::vector<std::uint64_t> told = host.on_core([&] { return std::exchange(parts, {}); });
    ASSERT_GE(told.size(), 2u);
    EXPECT_LE(told[0], 4_KiB);
    EXPECT_GT(told[1], 4_KiB) << "in round " << round;
    if (told.back() <= 4_KiB) break;  // the machine stood still, and the rest came in small blocks
  }
  host.stop();
}

TEST(expect, a_hint_that_lies_pins_nothing) {
  engine_options o;
  o.slab.capacity = 64_MiB;
  std::atomic<int> got{0};
  engine_host host({.opened = [](stream& s) { s.expect(std::uint64_t{1} << 40); },
                    .received = [&](stream&, chain&& c) { got += static_cast<int>(c.bytes()); }},
                   o);
  host.start();
  std::vector<client> all;
  for (int i = 0; i != 300; ++i) {  // 300 blocks of 256 KiB would be more than there is
    all.emplace_back(host.at());
    all.back().send("x");
  }
  EXPECT_TRUE(eventually([&] { return got == 300; })) << got;
  EXPECT_TRUE(eventually([&] { return host.rented() == 0; }));
  host.stop();
}

TEST(expect, many_bodies_at_once_take_turns_and_lose_nothing) {
  constexpr std::uint64_t bytes = 2_MiB;
  constexpr int count = 24;
  struct body {
    std::uint64_t got = 0;
  };
  std::array<body, count> bodies;
  std::atomic<int> opened{0}, whole{0}, left{0};
  std::atomic<bool> bad{false};
  engine_host host({.opened =
                        [&](stream& s) {
                          s.set_session(&bodies[static_cast<std::size_t>(opened++)]);
                          s.expect(bytes);
                        },
                    .received =
                        [&](stream& s, chain&& c) {
                          body& mine = *static_cast<body*>(s.session());
                          if (off_pattern(mine.got, c.to_string()) != std::string::npos) bad = true;
                          mine.got += c.bytes();
                          if (mine.got == bytes) ++whole;
                        },
                    .closed = [&](stream&) { ++left; }});
  host.start();
  const std::string all = pattern(0, bytes);
  std::vector<std::thread> writers;
  for (int i = 0; i != count; ++i)
    writers.emplace_back([&, i] {
      client c(host.at());
      // Every fourth goes in the midst of it, with its turn still to come or a block half full.
      if (i % 4 == 0) {
        c.send(all.substr(0, bytes / 2));
        return c.reset();
      }
      EXPECT_TRUE(c.send(all));
      eventually([&] { return whole == count * 3 / 4; });
    });
  for (std::thread& w : writers) w.join();
  EXPECT_EQ(whole, count * 3 / 4);
  EXPECT_TRUE(eventually([&] { return left == count; }));
  EXPECT_FALSE(bad);
  host.stop();
}

TEST(expect, pauses_and_second_thoughts_lose_nothing) {
  std::atomic<std::uint64_t> got{0};
  std::atomic<bool> bad{false};
  std::mt19937 random(5);
  stream* mine = nullptr;
  engine_host host({.opened = [&](stream& s) { mine = &s; },
                    .received =
                        [&](stream& s, chain&& c) {
                          if (off_pattern(got, c.to_string()) != std::string::npos) bad = true;
                          got += c.bytes();
                          switch (random() % 4) {
                            case 0:
                              s.expect(random() % 3 * 300'000);
                              break;
                            case 1:
                              s.pause();
                              break;
                            default:
                              break;
                          }
                        },
                    .closed = [&](stream&) { mine = nullptr; }});
  host.start();
  client c(host.at());
  constexpr std::size_t bytes = 24_MiB;
  std::thread writer([&] {
    std::mt19937 local(6);
    for (std::size_t at = 0; at != bytes;) {
      const std::size_t part = std::min<std::size_t>(bytes - at, local() % 400'000 + 1);
      ASSERT_TRUE(c.send(pattern(at, part)));
      at += part;
    }
    c.finish();
  });
  while (got != bytes) {
    const std::uint64_t before = got;
    host.on_core([&] {
      if (mine == nullptr) return;
      if (random() % 2 == 0) mine->pause();
      mine->resume();
      if (random() % 3 == 0) mine->expect(random() % 2 * 1'000'000);
    });
    if (!eventually([&] { return got != before; }, 2)) continue;
  }
  writer.join();
  EXPECT_FALSE(bad);
  EXPECT_EQ(c.receive_all(), "");
  host.stop();
}

// ---- files

struct file_with {
  explicit file_with(const std::string& at, std::size_t bytes) : path(at) {
    std::ofstream(path, std::ios::binary) << pattern(0, bytes);
  }
  [[nodiscard]] int open() const { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }
  std::string path;
};

TEST(file, goes_out_between_memory_as_one_message) {
  const temp_folder folder;
  const file_with file(folder.path("f"), 5'000'000);
  engine_host host({.received = [&](stream& s, chain&&) {
    chain c = chain::copy_of("head");
    ASSERT_TRUE(c.append_file(file.open(), 0, 5'000'000, true));
    ASSERT_TRUE(c.append_copy("tail"));
    ASSERT_TRUE(c.append_file(file.open(), 1'000'000, 10, true));
    s.send(std::move(c));
  }});
  host.start();
  const std::size_t descriptors = open_descriptors();
  client c(host.at(), 65536);
  for (int round = 0; round != 2; ++round) {
    c.send("x");
    EXPECT_EQ(c.receive(4), "head");
    const std::string body = c.receive(5'000'000);
    EXPECT_EQ(body.size(), 5'000'000u);
    EXPECT_EQ(off_pattern(0, body), std::string::npos);
    EXPECT_EQ(c.receive(4), "tail");
    EXPECT_EQ(off_pattern(1'000'000, c.receive(10)), std::string::npos);
  }
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= descriptors + 2; }))
      << "files are closed once sent";
  host.stop();
}

TEST(file, one_that_shrank_ends_in_a_reset) {
  const temp_folder folder;
  const file_with file(folder.path("f"), 1000);
  engine_host host({.received = [&](stream& s, chain&&) {
    chain c = chain::copy_of("head");
    ASSERT_TRUE(c.append_file(file.open(), 0, 2000, true));
    s.send(std::move(c));
    s.close();
  }});
  host.start();
  set_log_sink(nullptr);
  client c(host.at());
  c.send("x");
  EXPECT_LE(c.receive_all().size(), 1004u);
  EXPECT_EQ(c.error(), ECONNRESET) << "a clean end would say that this was all";
  host.stop();
}

TEST(file, one_that_cannot_be_read_ends_in_a_reset) {
  const temp_folder folder;
  engine_host host({.received = [&](stream& s, chain&&) {
    chain c;
    ASSERT_TRUE(
        c.append_file(::open(folder.path("").c_str(), O_RDONLY | O_CLOEXEC), 0, 2000, true));  // a folder
    s.send(std::move(c));
    s.close();
  }});
  host.start();
  client c(host.at());
  c.send("x");
  EXPECT_EQ(c.receive_all(), "");
  EXPECT_EQ(c.error(), ECONNRESET);
  host.stop();
}

TEST(file, to_a_parked_stream_whose_peer_takes_nothing_is_ended) {
  const temp_folder folder;
  const file_with file(folder.path("f"), 32 << 20);
  engine_options o;
  o.send_stall_ms = 300;
  o.park_after_ms = 20;
  stream* mine = nullptr;
  std::atomic<int> closed{0};
  engine_host host({.opened = [&](stream& s) { mine = &s; }, .closed = [&](stream&) { ++closed; }}, o);
  host.start();
  client c(host.at(), 16384);
  ASSERT_TRUE(eventually([&] { return host.statistics().parked == 1; }));
  host.on_core([&] {
    chain f;
    ASSERT_TRUE(f.append_file(file.open(), 0, 32 << 20, true));
    mine->send(std::move(f));
  });
  EXPECT_TRUE(eventually([&] { return closed == 1; }, 3000));
  host.stop();
}

TEST(file, many_at_once_do_not_block_the_core) {
  const temp_folder folder;
  const file_with file(folder.path("f"), 8 << 20);
  engine_host host({.received = [&](stream& s, chain&&) {
    chain f;
    ASSERT_TRUE(f.append_file(file.open(), 0, 8 << 20, true));
    s.send(std::move(f));
  }});
  host.start();
  std::vector<client> stuck;
  for (int i = 0; i != 5; ++i) {
    stuck.emplace_back(host.at(), 16384);
    stuck.back().send("x");
  }
  client c(host.at());
  c.send("x");
  const std::string got = c.receive(8 << 20);
  EXPECT_EQ(off_pattern(0, got), std::string::npos);
  stuck.clear();
  host.stop();
}

// ---- no blocks left

TEST(starved, streams_go_on_when_blocks_come_back_and_nothing_spins) {
  engine_options o;
  o.slab.capacity = 4_MiB;
  o.park_after_ms = 600'000;
  std::vector<chain> hoard;
  std::atomic<std::uint64_t> got{0};
  engine_host host({.received =
                        [&](stream&, chain&& c) {
                          got += c.bytes();
                          hoard.push_back(std::move(c));
                        }},
                   o);
  host.start();
  constexpr int clients = 8;
  constexpr std::size_t each = 2_MiB;
  std::vector<client> all;
  std::vector<std::thread> writers;
  for (int i = 0; i != clients; ++i) all.emplace_back(host.at());
  for (client& c : all) writers.emplace_back([&c] { EXPECT_TRUE(c.send(pattern(0, each))); });
  ASSERT_TRUE(eventually([&] { return host.statistics().out_of_blocks != 0; }));
  sleep_ms(200);
  const std::uint64_t held = got;
  EXPECT_LT(held, clients * each);
  const core_statistics before = host.statistics();
  sleep_ms(500);
  const std::uint64_t turns = host.statistics().turns - before.turns;
  EXPECT_LE(turns, 10u) << "out of blocks the loop sleeps until one comes back";
  EXPECT_LE(host.statistics().submissions - before.submissions, 100u);
  while (got != clients * each) {
    const std::uint64_t was = got;
    host.on_core([&] { hoard.clear(); });
    ASSERT_TRUE(eventually([&] { return got != was || got == clients * each; }))
        << "nobody was fed at " << was;
  }
  for (std::thread& t : writers) t.join();
  host.on_core([&] { hoard.clear(); });
  host.stop();
}

// Nothing is left on the core but what `hoard` holds, and the back end has no block to receive into.
struct famine {
  engine_options options = [] {
    engine_options o;
    o.slab.capacity = 4_MiB;
    o.park_after_ms = 600'000;
    return o;
  }();
  std::deque<chain> hoard;
  std::vector<std::uint64_t> told;  // whose bytes came, by what the client said
  std::atomic<std::size_t> count{0};
  handlers keep_all{.received = [this](stream& s, chain&& c) {
    told.push_back(reinterpret_cast<std::uintptr_t>(s.session()));
    if (hungry) hoard.push_back(std::move(c));
    ++count;
  }};
  bool hungry = true;
  void take_every_block(engine_host& host) {
    host.on_core([this] {
      for (lease l = lease::of(4_KiB); l; l = lease::of(4_KiB)) hoard.push_back(chain{std::move(l), 0, 1});
    });
  }
  void end(engine_host& host) {
    host.on_core([this] {
      hungry = false;
      hoard.clear();
    });
    host.stop();
  }
  static std::uint64_t waiting(engine_host& host) {
    std::uint64_t sum = 0;
    for (const class_statistics& c : host.net().slab().statistics().classes) sum += c.waiters;
    return sum;
  }
  // Starts the server, with no block left and one client whose stream waits for one.
  std::deque<client> begin(engine_host& host) {
    std::deque<client> all;
    host.start();
    take_every_block(host);
    add_starved(host, all);
    return all;
  }
  // One more client, whose stream waits for a block then.
  static void add_starved(engine_host& host, std::deque<client>& all) {
    const std::uint64_t before = waiting(host);
    all.emplace_back(host.at());
    ASSERT_TRUE(eventually([&] {
      ::send(all.back().fd(), pattern(0, 20'000).data(), 20'000, MSG_DONTWAIT | MSG_NOSIGNAL);
      return waiting(host) > before;
    }));
  }
};

TEST(starved, streams_are_fed_in_their_order_a_known_body_first) {
  famine f;
  std::uint64_t opened = 0;
  f.keep_all.opened = [&](stream& s) {
    s.set_session(reinterpret_cast<void*>(++opened));
    if (opened == 4) s.expect(1_MiB);
  };
  engine_host host(f.keep_all, f.options);
  std::deque<client> all = f.begin(host);
  for (int i = 0; i != 2; ++i) f.add_starved(host, all);
  // The fourth has 100 bytes to say: it is fed with one block, and does not come back for more.
  all.emplace_back(host.at());
  ASSERT_TRUE(all.back().send(pattern(0, 100)));
  ASSERT_TRUE(eventually([&] { return f.waiting(host) == 4; }));
  host.on_core([&] { f.told.clear(); });
  f.count = 0;
  for (std::size_t i = 1; i != 5; ++i) {
    host.on_core([&] { f.hoard.pop_front(); });
    ASSERT_TRUE(eventually([&] { return f.count == i; })) << "nobody was fed with block " << i;
  }
  EXPECT_EQ(host.on_core([&] { return f.told; }), (std::vector<std::uint64_t>{4, 1, 2, 3}));
  all.clear();
  f.end(host);
}

// The kernel asks for a block before it looks for bytes, so that who has nothing to say is told of a lack
// too.
TEST(starved, a_quiet_stream_does_not_queue_for_a_block) {
  famine f;
  engine_host host(f.keep_all, f.options);
  std::deque<client> all = f.begin(host);
  std::deque<client> quiet;
  for (int i = 0; i != 3; ++i) quiet.emplace_back(host.at());
  ASSERT_TRUE(eventually([&] { return host.statistics().accepted == 4; }));
  f.add_starved(host, all);  // accepted after them: they have found no block by now
  EXPECT_EQ(f.waiting(host), 2u);
  ASSERT_TRUE(quiet[1].send("now"));
  ASSERT_TRUE(eventually([&] { return f.waiting(host) == 3; })) << "bytes came, so it queues";
  all.clear();
  quiet.clear();
  f.end(host);
}

// The core sleeps without a timer; blocks of its own that are dropped on a thread without a pool must wake
// it.
TEST(starved, a_sleeping_core_is_fed_by_what_others_drop) {
  famine f;
  engine_host host(f.keep_all, f.options);
  std::deque<client> all = f.begin(host);
  std::deque<chain> mine;
  host.on_core([&] { mine.swap(f.hoard); });
  const std::size_t before = f.count;
  mine.clear();
  EXPECT_TRUE(eventually([&] { return f.count > before; }));
  all.clear();
  f.end(host);
}

// Who ends or pauses gives up its place in the queue, and the next in line is fed.
TEST(starved, a_stream_that_ends_or_pauses_leaves_the_queue) {
  famine f;
  std::vector<stream*> streams;
  f.keep_all.opened = [&](stream& s) {
    streams.push_back(&s);
    s.set_session(reinterpret_cast<void*>(streams.size()));
  };
  engine_host host(f.keep_all, f.options);
  std::deque<client> all = f.begin(host);
  for (int i = 0; i != 2; ++i) f.add_starved(host, all);
  host.on_core([&] {
    f.told.clear();
    streams[0]->abort();
    streams[1]->pause();
  });
  EXPECT_EQ(f.waiting(host), 1u);
  f.count = 0;
  host.on_core([&] { f.hoard.pop_front(); });
  ASSERT_TRUE(eventually([&] { return f.count == 1; }));
  EXPECT_EQ(host.on_core([&] { return f.told; }), (std::vector<std::uint64_t>{3}));
  host.on_core([&] {
    streams[1]->resume();
    f.hoard.clear();
  });
  ASSERT_TRUE(eventually([&] { return host.on_core([&] { return std::ranges::count(f.told, 2u) != 0; }); }));
  all.clear();
  f.end(host);
}

TEST(starved, of_large_blocks_reads_on_with_small_ones) {
  engine_options o;
  o.slab.capacity = 8_MiB;
  std::vector<chain> hoard;
  std::atomic<std::uint64_t> got{0};
  engine_host host({.opened = [](stream& s) { s.expect(4_MiB); },
                    .received = [&](stream&, chain&& c) { got += c.bytes(); }},
                   o);
  host.start();
  host.on_core([&] {
    const lease small = lease::of(4_KiB);            // with it, a batch of small ones comes into being
    for (const std::size_t size : {256_KiB, 1_MiB})  // all large blocks, and what could become one
      for (lease l = lease::of(size); l; l = lease::of(size)) hoard.push_back(chain{std::move(l), 0, 1});
  });
  client c(host.at());
  EXPECT_TRUE(c.send(pattern(0, 4_MiB)));
  EXPECT_TRUE(eventually([&] { return got == 4_MiB; })) << got << " of " << 4_MiB;
  const std::uint64_t turns = host.statistics().turns;
  sleep_ms(200);
  EXPECT_LE(host.statistics().turns - turns, 30u);
  host.on_core([&] { hoard.clear(); });
  host.stop();
}

TEST(starved, streams_may_end_meanwhile) {
  engine_options o;
  o.slab.capacity = 4_MiB;
  std::vector<chain> hoard;
  std::atomic<int> closed{0};
  bool hoarding = true;
  engine_host host({.received =
                        [&](stream&, chain&& c) {
                          if (hoarding) hoard.push_back(std::move(c));
                        },
                    .closed = [&](stream&) { ++closed; }},
                   o);
  host.start();
  host.on_core([&] {
    for (lease l = lease::of(4096); l; l = lease::of(4096)) hoard.push_back(chain{std::move(l), 0, 1});
  });
  for (int round = 0; round != 10; ++round) {
    std::vector<client> all;
    for (int i = 0; i != 100; ++i) {
      all.emplace_back(host.at());
      ::send(all.back().fd(), pattern(0, 20000).data(), 20000, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    sleep_ms(10);
    if (round % 3 == 2) host.on_core([&] { hoard.clear(); });
    for (client& c : all) c.reset();
  }
  EXPECT_TRUE(eventually([&] { return host.statistics().accepted == 1000; })) << host.statistics().accepted;
  host.on_core([&] {
    hoarding = false;
    hoard.clear();
  });
  EXPECT_TRUE(eventually([&] { return closed == 1000; })) << closed;
  host.stop();
}

}  // namespace
