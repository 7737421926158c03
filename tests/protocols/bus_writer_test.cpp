// Writers and flushers against a plain model: each writer's messages come out whole, once, in the order of
// its commits, whatever was cancelled, shortened or left open; and every block is home at the end.
#include <catenet/bus/flusher.hpp>
#include <catenet/bus/framer.hpp>
#include <catenet/bus/writer.hpp>

#include "bus_slab.hpp"
#include "bus_writers.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace catenet;
using namespace std::chrono_literals;
using bus::flush_policy;
using bus::flusher;
using bus::packet;
using bus::shared_blocks;
using bus::slot;
using bus::writer;
using bus::writer_options;
using bus::testing::message;
using bus::testing::reader;

struct writer_case {
  const frame::format* format;
  std::size_t block_bytes;
  bool shared;
};
void PrintTo(const writer_case& c, std::ostream* out) {
  *out << c.format->name << " in " << c.block_bytes << (c.shared ? ", shared" : "");
}

class bus_writers : public testing::TestWithParam<writer_case> {};

// One thread, several writers, slots held open in any number and ended in any order.
TEST_P(bus_writers, commits_in_any_order_come_out_in_the_order_of_the_commits) {
  bus_slab memory;
  const writer_case& how = GetParam();
  for (unsigned seed = 0; seed != 40; ++seed) {
    std::mt19937 random(seed);
    shared_blocks blocks;
    flusher out{{.count = 50, .end_of_turn = false}};
    std::vector<std::unique_ptr<writer>> writers;
    const writer_options options{.format = how.format, .block_bytes = how.block_bytes};
    for (int i = 0; i != 3; ++i)
      writers.push_back(how.shared ? std::make_unique<writer>(out, blocks, options)
                                   : std::make_unique<writer>(out, options));
    struct open_slot {
      unsigned who;
      slot room;
    };
    std::vector<open_slot> open;
    std::array<std::uint64_t, 3> committed{};
    reader in{*how.format};
    std::vector<std::pair<packet, std::string>> kept;
    for (int step = 0; step != 600; ++step) {
      const auto who = static_cast<unsigned>(random() % 3);
      const auto action = random() % 10;
      if (action < 5) {
        slot s = writers[who]->try_reserve(std::array{24u, 70u, 400u, 3000u}[random() % 4]);
        ASSERT_TRUE(s);
        open.push_back({who, std::move(s)});
      } else if (action < 9 && !open.empty()) {
        const auto at = static_cast<std::ptrdiff_t>(random() % open.size());
        auto& [owner, room] = open[static_cast<std::size_t>(at)];
        if (random() % 5 != 0) {
          const std::size_t length = random() % 3 == 0 ? 20 + random() % (room.size() - 19) : room.size();
          const std::string text = message(owner, committed[owner]++, length);
          room.put(0, as_bytes(text));
          if (random() % 2 == 0) {
            room.commit(text.size());
          } else {
            auto made = room.commit_as_packet(text.size());
            ASSERT_TRUE(made);
            kept.emplace_back(std::move(*made), text);
          }
          ASSERT_FALSE(room);
        }
        open.erase(open.begin() + at);
      } else {
        if (random() % 3 == 0) out.request();
        if (random() % 3 == 0) writers[who]->flush();
        chain bytes = out.take();
        ASSERT_EQ(bytes.validate(), nullptr);
        ASSERT_NO_FATAL_FAILURE(in.feed(std::move(bytes))) << "seed " << seed;
      }
      if (kept.size() > 20) {
        for (auto& [p, text] : kept) ASSERT_EQ(p.to_string(), text);
        kept.clear();
      }
    }
    open.clear();
    out.request();
    ASSERT_NO_FATAL_FAILURE(in.feed(out.take()));
    EXPECT_EQ(in.messages(), committed[0] + committed[1] + committed[2]);
    if (seed % 2 == 0) writers.clear();
  }
}

INSTANTIATE_TEST_SUITE_P(all, bus_writers,
                         testing::Values(writer_case{&frame::length_u32, 512, false},
                                         writer_case{&frame::length_u32, 16384, false},
                                         writer_case{&frame::varint, 4096, false},
                                         writer_case{&frame::length_u32, 512, true},
                                         writer_case{&frame::magic_u32, 4096, true},
                                         writer_case{&frame::varint, 65536, true}),
                         [](const auto& of) {
                           return std::string{of.param.format->name} + "_" +
                                  std::to_string(of.param.block_bytes) + (of.param.shared ? "_shared" : "");
                         });

TEST(bus_writer, an_exact_fit_wastes_nothing) {
  bus_slab memory;
  flusher out;
  writer w{out, {.block_bytes = 512}};
  const std::string text(64, 'x');
  for (int i = 0; i != 16; ++i) ASSERT_TRUE(w.write(text));
  w.flush();
  const chain bytes = out.take();
  EXPECT_EQ(bytes.bytes(), 1024u);
  EXPECT_EQ(bytes.segment_count(), 2u);
  EXPECT_EQ(memory.rented(), 2u);
}

TEST(bus_writer, a_message_lies_across_blocks_and_uses_the_last_byte_of_each) {
  bus_slab memory;
  flusher out;
  writer w{out, {.block_bytes = 512}};
  ASSERT_TRUE(w.write(std::string(500, 'a')));
  slot s = w.try_reserve(1000);
  ASSERT_TRUE(s);
  EXPECT_FALSE(s.contiguous());
  EXPECT_EQ(s.bytes().size(), 12u);
  s.write(std::string(400, 'b'));
  s.write(std::string(600, 'c'));
  const auto made = s.commit_as_packet();
  ASSERT_TRUE(made);
  EXPECT_EQ(made->to_string(), std::string(400, 'b') + std::string(600, 'c'));
  ASSERT_TRUE(w.write("d"));
  w.flush();
  EXPECT_EQ(out.take().to_string(),
            std::string(500, 'a') + std::string(400, 'b') + std::string(600, 'c') + "d");
}

TEST(bus_writer, a_message_may_be_longer_than_several_of_the_largest_blocks) {
  bus_slab memory;
  flusher out;
  writer w{out, {.block_bytes = 4_KiB}};
  const std::string text = message(0, 0, 300'000);
  ASSERT_TRUE(w.write("begins in a block that others have used"));
  ASSERT_TRUE(w.write(text));
  w.flush();
  chain all = out.take();
  all.consume(39);
  EXPECT_TRUE(all.to_string() == text);
  EXPECT_GE(all.segment_count(), 5u);
}

TEST(bus_writer, a_forgotten_slot_holds_nobody_up) {
  bus_slab memory;
  flusher out;
  writer w{out, {.block_bytes = 512}};
  slot forgotten = w.try_reserve(100);
  std::string sent;
  for (int i = 0; i != 50; ++i) {
    const std::string text = message(0, static_cast<unsigned>(i), 90);
    ASSERT_TRUE(w.write(text));
    sent += text;
  }
  w.flush();
  EXPECT_EQ(out.take().to_string(), sent);
  EXPECT_LE(memory.rented(), 2u) << "only the block with the slot and the one under way are pinned";
  forgotten.write("late");
  forgotten.commit(4);
  w.flush();
  EXPECT_EQ(out.take().to_string(), "late");
}

TEST(bus_writer, says_no_when_it_cannot_and_takes_nothing) {
  bus_slab memory{2_MiB};
  flusher out;
  writer w{out, {.block_bytes = 64_KiB, .message_bytes_max = 1_MiB}};
  EXPECT_FALSE(w.try_reserve(1_MiB + 1));
  std::vector<lease> all;
  for (;;) {
    lease l = lease::of(64_KiB);
    if (!l) break;
    all.push_back(std::move(l));
  }
  EXPECT_FALSE(w.try_reserve(10));
  all.pop_back();
  slot one = w.try_reserve(40'000);
  EXPECT_TRUE(one);
  EXPECT_FALSE(w.try_reserve(40'000)) << "half of it would fit";
  EXPECT_TRUE(w.try_reserve(25'536)) << "the refusal took nothing";
}

TEST(bus_writer, ends_before_or_after_its_flusher) {
  bus_slab memory;
  {
    auto out = std::make_unique<flusher>();
    writer w{*out};
    ASSERT_TRUE(w.write("lost"));
    w.flush();
    out.reset();
    EXPECT_FALSE(w.try_reserve(5)) << "nobody would ever take it";
  }
  flusher out;
  {
    writer w{out};
    ASSERT_TRUE(w.write("last words"));
  }
  EXPECT_EQ(out.take().to_string(), "last words");
}

// Two ends of something that a chain can be written to: [0] writes.
struct two_ends {
  std::array<int, 2> fd{-1, -1};
  ~two_ends() {
    for (const int end : fd) close(end);
  }
};

std::unique_ptr<two_ends> make_pipe() {
  auto made = std::make_unique<two_ends>();
  EXPECT_EQ(pipe2(made->fd.data(), O_CLOEXEC), 0);
  std::swap(made->fd[0], made->fd[1]);
  return made;
}

std::unique_ptr<two_ends> make_unix_pair() {
  auto made = std::make_unique<two_ends>();
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made->fd.data()), 0);
  return made;
}

std::unique_ptr<two_ends> make_tcp_pair() {
  auto made = std::make_unique<two_ends>();
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  auto* address = reinterpret_cast<sockaddr*>(&at);
  EXPECT_EQ(bind(listener, address, length), 0);
  EXPECT_EQ(getsockname(listener, address, &length), 0);
  EXPECT_EQ(listen(listener, 1), 0);
  made->fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(made->fd[0], address, length), 0);
  made->fd[1] = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  close(listener);
  return made;
}

// What several writers committed leaves with one writev, whatever it is written to.
TEST(bus_writer, what_was_taken_goes_out_with_one_vectored_send) {
  bus_slab memory;
  for (const auto make : {make_pipe, make_unix_pair, make_tcp_pair}) {
    const auto ends = make();
    flusher out;
    writer first{out, {.block_bytes = 512}};
    writer second{out, {.block_bytes = 4_KiB}};
    for (unsigned i = 0; i != 200; ++i)
      ASSERT_TRUE((i % 2 == 0 ? first : second).write(message(i % 2, i, 60)));
    first.flush();
    second.flush();
    const chain bytes = out.take();
    std::array<iovec, 256> parts;
    const chain::exported sum = bytes.to_iovecs(parts);
    ASSERT_EQ(sum.bytes, bytes.bytes());
    ASSERT_EQ(writev(ends->fd[0], parts.data(), static_cast<int>(sum.count)),
              static_cast<ssize_t>(sum.bytes));
    std::string got(sum.bytes, '\0');
    for (std::size_t have = 0; have != got.size();) {
      const ssize_t n = read(ends->fd[1], got.data() + have, got.size() - have);
      ASSERT_GT(n, 0);
      have += static_cast<std::size_t>(n);
    }
    EXPECT_EQ(got, bytes.to_string());
  }
}

TEST(bus_writer, policy_decides_when_the_flusher_is_told) {
  bus_slab memory;
  bus::station here;
  std::vector<std::string> flushed;
  flusher by_count{here, {.bytes = 0, .count = 3, .end_of_turn = false}, [&](chain&& c) {
                     flushed.push_back(c.to_string());
                   }};
  writer counted{by_count};
  ASSERT_TRUE(counted.write("a"));
  ASSERT_TRUE(counted.write("b"));
  here.turn();
  EXPECT_TRUE(flushed.empty());
  ASSERT_TRUE(counted.write("c"));
  here.turn();
  EXPECT_EQ(flushed, std::vector<std::string>{"abc"});

  flushed.clear();
  flusher by_bytes{here, {.bytes = 10, .count = 0, .end_of_turn = false}, [&](chain&& c) {
                     flushed.push_back(c.to_string());
                   }};
  writer sized{by_bytes};
  ASSERT_TRUE(sized.write("012345678"));
  here.turn();
  EXPECT_TRUE(flushed.empty());
  ASSERT_TRUE(sized.write("9"));
  here.turn();
  EXPECT_EQ(flushed, std::vector<std::string>{"0123456789"});

  flushed.clear();
  flusher by_turn{here, {.bytes = 0, .count = 0, .end_of_turn = true}, [&](chain&& c) {
                    flushed.push_back(c.to_string());
                  }};
  writer turned{by_turn};
  ASSERT_TRUE(turned.write("x"));
  here.turn();
  here.turn();
  EXPECT_EQ(flushed, std::vector<std::string>{"x"});

  flushed.clear();
  flusher by_time{here, {.bytes = 0, .count = 0, .after = 2000us, .end_of_turn = false}, [&](chain&& c) {
                    flushed.push_back(c.to_string());
                  }};
  writer timed{by_time};
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_TRUE(timed.write("t"));
  EXPECT_TRUE(here.wait_until([&] { return !flushed.empty(); }, 2s));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 2ms);
}

TEST(bus_writer, the_time_of_a_flush_runs_from_the_commit) {
  bus_slab memory;
  bus::station here;
  std::uint64_t got = 0;
  flusher out{here, {.bytes = 0, .count = 0, .after = 1ms, .end_of_turn = false}, [&](chain&& all) {
                got += all.bytes();
              }};
  writer w{out};
  for (std::uint64_t i = 1; i != 4; ++i) {
    ASSERT_TRUE(w.write("tick"));
    std::this_thread::sleep_for(2ms);
    here.turn();
    EXPECT_EQ(got, 4 * i) << "the time is over when the flusher's thread looks";
  }
}

}  // namespace
