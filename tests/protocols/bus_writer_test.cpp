// Writers and flushers against a plain model: each writer's messages come out whole, once, in the order of
// its commits, whatever was cancelled, shortened or left open; and every block is home at the end.
#include <catenet/bus/flusher.hpp>
#include <catenet/bus/framer.hpp>
#include <catenet/bus/writer.hpp>
#include <catenet/engine/task.hpp>

#include "bus_slab.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <thread>
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

// "writer/number/" and filler up to the length wanted.
std::string message(unsigned who, std::uint64_t number, std::size_t length) {
  std::string text = std::to_string(who) + "/" + std::to_string(number) + "/";
  const std::size_t head = text.size();
  text.resize(std::max(length, head));
  for (std::size_t i = head; i != text.size(); ++i) text[i] = static_cast<char>('a' + (i + number) % 26);
  return text;
}

// Cuts what a flusher gave into messages and checks each writer's order.
class reader {
 public:
  explicit reader(const frame::format& how = frame::length_u32) : framer_(how) {}
  void feed(chain&& bytes) {
    framer_.feed(std::move(bytes));
    packet got;
    frame::status said;
    while ((said = framer_.next(got)) == frame::status::frame) {
      const std::string text = got.to_string();
      const auto slash = text.find('/');
      ASSERT_NE(slash, std::string::npos);
      const auto who = static_cast<unsigned>(std::stoul(text));
      const std::uint64_t number = std::stoull(text.substr(slash + 1));
      ASSERT_EQ(number, expected_[who]++) << "writer " << who;
      ASSERT_EQ(text, message(who, number, text.size()));
      ++messages_;
    }
    ASSERT_EQ(said, frame::status::more);
    ASSERT_EQ(framer_.buffered(), 0u) << "a message was cut in two";
  }
  [[nodiscard]] std::uint64_t messages() const { return messages_; }

 private:
  bus::framer framer_;
  std::array<std::uint64_t, 64> expected_{};
  std::uint64_t messages_ = 0;
};

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

// N threads write, one flushes whenever; half of the writers share blocks.
void write_on_many_threads(flush_policy policy, unsigned threads, bool share, std::uint64_t each) {
  bus_slab memory;
  bus::station here;
  reader in;
  std::atomic<unsigned> working{threads};
  flusher out{here, policy, [&](chain&& c) { in.feed(std::move(c)); }};
  shared_blocks blocks;
  const auto work = [&](unsigned self) {
    {
      pool mine{memory.blocks};
      std::optional<bus::station> station;
      if (policy.end_of_turn) station.emplace();
      std::mt19937 random(self);
      {
        std::optional<writer> w;
        const writer_options options{.format = &frame::length_u32, .block_bytes = 4096};
        if (share)
          w.emplace(out, blocks, options);
        else
          w.emplace(out, options);
        std::deque<packet> kept;
        for (std::uint64_t n = 0; n != each;) {
          const std::string text = message(self, n, 16 + random() % 200);
          slot abandoned;
          if (random() % 16 == 0) abandoned = w->try_reserve(random() % 300);
          slot s = w->try_reserve(text.size());
          if (!s) {
            mine.turn();
            std::this_thread::yield();
            continue;
          }
          s.write(text);
          if (n % 3 == 0) {
            kept.push_back(*s.commit_as_packet());
            ASSERT_EQ(kept.back().to_string(), text);
          } else {
            s.commit();
          }
          if (kept.size() > 8) kept.pop_front();
          if (++n % 64 == 0) {
            if (station)
              station->turn();
            else
              mine.turn();
          }
        }
      }
      if (station) station->turn();
    }
    --working;
  };
  std::vector<std::thread> running;
  for (unsigned i = 0; i != threads; ++i) running.emplace_back(work, i);
  EXPECT_TRUE(here.wait_until(
      [&] {
        if (in.messages() % 7 == 0) out.request();
        return working == 0 && in.messages() == threads * each;
      },
      100s))
      << in.messages();
  for (auto& t : running) t.join();
}

TEST(bus_writer_threads, each_writers_order_is_kept_under_load) {
  write_on_many_threads({.count = 20, .end_of_turn = false}, 3, false, 20'000);
}
TEST(bus_writer_threads, each_writers_order_is_kept_in_shared_blocks) {
  write_on_many_threads({.count = 20, .end_of_turn = false}, 3, true, 20'000);
}
TEST(bus_writer_threads, flush_by_time_alone_misses_nothing) {
  write_on_many_threads({.bytes = 0, .count = 0, .after = 200us, .end_of_turn = false}, 2, true, 10'000);
}
TEST(bus_writer_threads, flush_at_the_end_of_each_turn) {
  write_on_many_threads({.bytes = 0, .count = 0, .end_of_turn = true}, 2, true, 10'000);
}

TEST(bus_writer_threads, any_thread_may_ask_for_a_flush_of_what_all_committed) {
  bus_slab memory;
  flusher out{{.bytes = 0, .count = 0, .end_of_turn = false}};
  std::atomic<int> stage{0};
  std::thread other([&] {
    pool mine{memory.blocks};
    writer w{out};
    ASSERT_TRUE(w.write("idle writer"));
    stage = 1;
    while (stage != 2) std::this_thread::yield();
  });
  while (stage != 1) std::this_thread::yield();
  EXPECT_TRUE(out.take().empty()) << "no policy has said so";
  std::thread{[&] { out.request(); }}.join();
  EXPECT_EQ(out.take().to_string(), "idle writer");
  stage = 2;
  other.join();
}

TEST(bus_writer_threads, neighbours_in_a_shared_block_leave_as_one_segment) {
  bus_slab memory;
  flusher out;
  shared_blocks blocks;
  writer a{out, blocks, {.block_bytes = 4096}};
  writer b{out, blocks, {.block_bytes = 4096}};
  for (int i = 0; i != 10; ++i) {
    ASSERT_TRUE(a.write("a"));
    ASSERT_TRUE(b.write("b"));
  }
  a.flush();
  b.flush();
  const chain bytes = out.take();
  EXPECT_EQ(bytes.segment_count(), 1u);
  EXPECT_EQ(bytes.to_string(), "abababababababababab");
}

// ---- waiting

task<> wait_for_room(writer& w, std::size_t bytes, unsigned number, std::vector<unsigned>& served,
                     std::vector<slot>& slots) {
  slot s = co_await w.reserve(bytes);
  EXPECT_TRUE(s);
  served.push_back(number);
  slots.push_back(std::move(s));
}

TEST(bus_writer_waiting, ten_thousand_are_served_in_order_and_any_may_give_up) {
  bus_slab memory{2_MiB};
  bus::station here;
  flusher out;
  std::vector<lease> all;
  const auto take_all = [&] {
    for (lease l = lease::of(64_KiB); l; l = lease::of(64_KiB)) all.push_back(std::move(l));
  };
  take_all();
  writer w{out, {.block_bytes = 64_KiB}};
  std::vector<unsigned> served;
  std::vector<unsigned> expected;
  std::vector<slot> slots;
  std::vector<task<>> tasks;
  constexpr unsigned count = 10'000;
  for (unsigned i = 0; i != count; ++i) tasks.push_back(wait_for_room(w, 1000, i, served, slots));
  EXPECT_EQ(w.waiting(), count);
  std::mt19937 random(1);
  for (unsigned i = 0; i != count; ++i) {
    if (random() % 4 == 0)
      tasks[i].reset();
    else
      expected.push_back(i);
  }
  EXPECT_FALSE(w.try_reserve(1)) << "others were first";
  unsigned cancelled_late = 0;
  while (served.size() != expected.size()) {
    ASSERT_FALSE(all.empty() && slots.empty());
    if (!all.empty()) all.pop_back();
    const std::size_t before = served.size();
    ASSERT_TRUE(here.wait_until([&] { return served.size() != before || w.waiting() == 0; }, 10s));
    ASSERT_TRUE(std::equal(served.begin(), served.end(), expected.begin())) << "out of order";
    slots.clear();
    if (cancelled_late++ % 3 == 0 && expected.size() > served.size() + 70) {
      tasks[expected[served.size()]].reset();  // the very next
      expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(served.size()));
    }
    out.request();
    out.take().clear();
  }
  EXPECT_EQ(w.waiting(), 0u);
}

// All blocks of 64 KiB, less what is kept aside for transmitting.
std::vector<lease> every_block() {
  std::vector<lease> all;
  const auto take = [&] {
    for (lease l = lease::of(64_KiB); l; l = lease::of(64_KiB)) all.push_back(std::move(l));
  };
  take();
  all.resize(all.size() / 2);  // the first that come back are kept aside
  pool::current()->spill_all();
  take();
  return all;
}

// The header counts too: a message as long as the largest block needs another one for it.
TEST(bus_writer_waiting, for_a_message_that_only_its_header_makes_longer_than_a_block) {
  bus_slab memory{2_MiB};
  bus::station here;
  flusher out;
  for (const std::size_t bytes : {4_KiB, 64_KiB}) {
    std::vector<lease> all = every_block();
    writer w{out, {.format = &frame::length_u32, .block_bytes = 4_KiB}};
    std::vector<unsigned> served;
    std::vector<slot> slots;
    const task<> waits = wait_for_room(w, bytes, 0, served, slots);
    for (int i = 0; i != 3; ++i) all.pop_back();
    EXPECT_TRUE(here.wait_until([&] { return waits.done(); }, 20s)) << bytes;
    slots.clear();
  }
}

// Messages that need several of the largest blocks at once, by writers that wait beside one another: nobody
// keeps what is not enough.
TEST(bus_writer_waiting, for_several_blocks_nobody_waits_with_some_in_hand) {
  bus_slab memory{2_MiB};
  bus::station here;
  flusher out;
  for (const std::size_t writers : {1u, 2u, 3u}) {
    std::vector<lease> all = every_block();
    std::list<writer> each;
    std::vector<unsigned> served;
    std::vector<slot> slots;
    std::vector<task<>> tasks;
    for (unsigned i = 0; i != writers; ++i) {
      each.emplace_back(out, writer_options{.block_bytes = 64_KiB});
      tasks.push_back(wait_for_room(each.back(), 150'000, i, served, slots));
    }
    for (int i = 0; i != 3; ++i) {
      EXPECT_TRUE(served.empty()) << "three blocks are needed";
      all.pop_back();
      for (int turns = 0; turns != 5; ++turns) here.wait(1ms);
    }
    for (std::size_t i = 1; i <= writers; ++i) {
      ASSERT_TRUE(here.wait_until([&] { return served.size() == i; }, 20s)) << writers << " writers: " << i;
      slots.clear();
      each.remove_if([&](writer& w) { return w.waiting() == 0; });
      out.take().clear();
    }
    tasks.clear();
  }
}

task<> write_when_there_is_room(writer& w, unsigned who, int count, std::uint64_t bytes_max) {
  std::mt19937_64 random(who);
  for (int n = 0; n != count; ++n) {
    const std::string text = message(who, static_cast<std::uint64_t>(n), 20 + random() % bytes_max);
    slot s = co_await w.reserve(text.size());
    EXPECT_TRUE(s);
    s.write(text);
    s.commit();
  }
}

// Six blocks for three threads that fill them together, with messages of up to three blocks: all of them go
// out, each writer's in order.
TEST(bus_writer_threads, few_blocks_are_enough_for_writers_that_share_them) {
  bus_slab memory{2_MiB};
  bus::station here;
  constexpr unsigned threads = 3;
  constexpr int each = 100;
  std::vector<lease> all = every_block();
  all.resize(all.size() - 6);
  memory.mine.spill_all();
  reader in;
  flusher out{here, {.count = 1}, [&](chain&& c) { in.feed(std::move(c)); }};
  shared_blocks blocks;
  std::vector<std::thread> running;
  std::atomic<unsigned> working{threads};
  for (unsigned who = 0; who != threads; ++who)
    running.emplace_back([&, who] {
      pool mine{memory.blocks};
      bus::station there;
      writer w{out, blocks, {.format = &frame::length_u32, .block_bytes = 64_KiB}};
      const task<> work = write_when_there_is_room(w, who, each, 150'000);
      EXPECT_TRUE(there.wait_until([&] { return work.done(); }, 100s)) << who;
      --working;
    });
  EXPECT_TRUE(here.wait_until([&] { return working == 0; }, 100s));
  for (std::thread& t : running) t.join();
  out.request();
  EXPECT_TRUE(here.wait_until([&] { return in.messages() == threads * each; }, 20s)) << in.messages();
}

}  // namespace
