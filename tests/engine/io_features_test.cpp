// io_uring's features: their names, the log of those that are left out, and what they do for the loop: one
// enter a turn and no other system call, receive rings that follow the load.
#include <catenet/engine/io_features.hpp>

#include "support/client.hpp"
#include "support/engine_host.hpp"
#include "support/loop_held.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <csignal>
#include <mutex>

namespace catenet::test {
namespace {

TEST(io_features, are_read_by_name) {
  io_features read;
  EXPECT_FALSE(io_features::parse("", read));
  EXPECT_TRUE(read.empty());
  EXPECT_FALSE(io_features::parse("bundle,min_wait", read));
  EXPECT_TRUE(read.has(io_feature::bundle));
  EXPECT_TRUE(read.has(io_feature::min_wait));
  EXPECT_FALSE(read.has(io_feature::defer));
  EXPECT_EQ(read.text(), "bundle, min_wait");
  for (const io_feature_facts& f : io_features_known) {
    EXPECT_FALSE(io_features::parse(f.name, read));
    EXPECT_TRUE(read.has(f.which)) << f.name;
    EXPECT_EQ(&f, &io_features_known[static_cast<std::size_t>(f.which)])
        << "the table is in the order of the enum";
  }
}

TEST(io_features, unknown_names_are_an_error_that_lists_the_known) {
  io_features kept;
  kept.add(io_feature::defer);
  for (const char* names : {"bundel", "bundle,,min_wait", "Bundle", " bundle"}) {
    const error e = io_features::parse(names, kept);
    ASSERT_TRUE(e) << names;
    EXPECT_NE(e.text().find("--io-without"), std::string::npos) << e.text();
    EXPECT_NE(e.text().find("min_wait"), std::string::npos) << e.text();
  }
  EXPECT_EQ(kept.text(), "defer") << "changed by a text that could not be read";
  engine_options o;
  o.handle_signals = false;
  o.io_without = "bundel";
  engine net{o};
  const error e = net.run();
  EXPECT_NE(e.text().find("'bundel'"), std::string::npos) << e.text();
}

std::mutex lines_mutex;
std::vector<std::string> lines;
void keep(log_level, std::string_view line) {
  const std::lock_guard lock(lines_mutex);
  lines.emplace_back(line);
}

bool on_uring() { return environment("CATENET_IO") != "epoll"; }

TEST(io_features, what_is_left_out_is_logged_once_with_its_reason) {
  if (!on_uring()) GTEST_SKIP() << "about io_uring";
  lines.clear();
  set_log_sink(keep);
  engine_options o;
  o.io = io_choice::uring;
  o.io_without = "bundle,message";
  o.cores = 2;
  {
    engine_host host(echo(), o);
    host.start();
    client c(host.at());
    ASSERT_TRUE(c.send("hello"));
    EXPECT_EQ(c.receive(5), "hello");
    host.stop();
  }
  set_log_sink(nullptr);
  const auto names = [](const std::string& line) { return line.find("goes without") != std::string::npos; };
  ASSERT_EQ(std::count_if(lines.begin(), lines.end(), names), 1) << "one line, however many cores";
  const std::string& line = *std::find_if(lines.begin(), lines.end(), names);
  EXPECT_NE(line.find("bundle (left out by --io-without)"), std::string::npos) << line;
  EXPECT_NE(line.find("message (left out by --io-without)"), std::string::npos) << line;
}

// ---- receive rings

std::uint64_t lent(engine_host& host, std::size_t block_bytes) {
  for (const class_statistics& c : host.net().slab().statistics().classes)
    if (c.size == block_bytes) return c.lent;
  return 0;
}

TEST(trim, receive_rings_grow_with_the_load_and_shrink_after_it) {
  if (!on_uring()) GTEST_SKIP() << "epoll keeps no receive ring";
  std::atomic<std::uint64_t> got{0};
  engine_host host({.received = [&](stream&, chain&& c) { got += c.bytes(); }});
  host.start();
  const std::uint64_t at_rest = lent(host, 4_KiB);
  constexpr std::size_t each = 512_KiB;
  std::vector<client> all;
  for (int i = 0; i != 16; ++i) all.emplace_back(host.at());
  // All at once, out of one turn: the core is kept from reading until everything waits in its sockets.
  std::uint64_t sent = 0;
  std::uint64_t most = 0;
  for (int round = 0; round != 50 && most < 2 * at_rest; ++round) {
    {
      const loop_held waits(host);
      for (client& c : all) {
        ASSERT_TRUE(c.send(pattern(0, 60'000)));
        sent += 60'000;
      }
    }
    ASSERT_TRUE(eventually([&] { return got == sent; }));
    most = std::max(most, lent(host, 4_KiB));
  }
  EXPECT_GE(most, 2 * at_rest) << "it did not grow";
  EXPECT_TRUE(eventually([&] { return lent(host, 4_KiB) <= at_rest; }, 20'000))
      << lent(host, 4_KiB) << " blocks are lent, " << at_rest << " were at the start";
  // And what waited for bytes all the while still does.
  for (client& c : all) ASSERT_TRUE(c.send(pattern(0, each)));
  EXPECT_TRUE(eventually([&] { return got == sent + all.size() * each; }, 20'000));
  host.stop();
}

TEST(trim, large_blocks_go_back_once_nobody_receives_into_them) {
  if (!on_uring() || environment("CATENET_IO_WITHOUT").find("large") != std::string_view::npos)
    GTEST_SKIP() << "no large receives here";
  std::atomic<std::uint64_t> got{0};
  engine_host host({.opened = [](stream& s) { s.expect(2_MiB); },
                    .received = [&](stream&, chain&& c) { got += c.bytes(); }});
  host.start();
  client c(host.at());
  ASSERT_TRUE(c.send(pattern(0, 2_MiB)));
  ASSERT_TRUE(eventually([&] { return got == 2_MiB; }));
  EXPECT_GT(lent(host, 256_KiB), 0u);
  EXPECT_TRUE(eventually([&] { return lent(host, 256_KiB) == 0; }, 20'000)) << lent(host, 256_KiB);
  ASSERT_TRUE(c.send(pattern(0, 100)));
  EXPECT_TRUE(eventually([&] { return got == 2_MiB + 100; }));
  host.stop();
}

// ---- system calls

// By number: those that a core made beyond its one enter a turn. Filled by the handler of SIGSYS.
std::array<std::atomic<int>, 512> beyond{};
void on_system_call(int, siginfo_t* info, void*) {
  ++beyond[static_cast<std::size_t>(info->si_syscall) % beyond.size()];
}

// From here on, this thread may enter io_uring, read a clock, and return from a signal handler; any other
// call is not made, and counted.
bool count_system_calls() {
  struct sigaction action {};
  action.sa_sigaction = on_system_call;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSYS, &action, nullptr);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// In a process of its own, as the filter cannot be taken away, nor the engine down with it: 0, or what went
// wrong.
int busy_loop() {
  constexpr int connections = 16;
  engine_options o;
  o.io = io_choice::uring;
  engine_host& host = *new engine_host(echo(), o);
  host.start();
  std::vector<client> all;
  for (int i = 0; i != connections; ++i) all.emplace_back(host.at());
  const auto exchange = [&](int rounds) {
    for (int r = 0; r != rounds; ++r) {
      for (client& c : all)
        if (!c.send("ping")) return false;
      for (client& c : all)
        if (c.receive(4) != "ping") return false;
    }
    return true;
  };
  if (!exchange(200)) return 1;  // until it has what memory it needs
  // A promise would not do: to wake who waits for it takes a system call.
  std::atomic<int> filtered{-1};
  host.net().at(0).post([&] { filtered = count_system_calls() ? 1 : 0; });
  if (!eventually([&] { return filtered >= 0; }) || filtered == 0) return 77;
  const core_statistics before = host.statistics();
  if (!exchange(1000)) return 2;
  const core_statistics after = host.statistics();
  int status = 0;
  for (std::size_t number = 0; number != beyond.size(); ++number) {
    if (beyond[number] == 0) continue;
    std::fprintf(stderr, "system call %zu was made %d times\n", number, beyond[number].load());
    status = 3;
  }
  // A snapshot may fall between an enter and the end of its turn.
  if (after.enters - before.enters > after.turns - before.turns + 1) status = 4;
  return status;
}

TEST(system_calls, a_busy_loop_makes_one_enter_a_turn_and_no_other) {
  if (!on_uring()) GTEST_SKIP() << "about io_uring";
  if (sanitized) GTEST_SKIP() << "sanitizers make calls of their own";
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(busy_loop());
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this sandbox allows no seccomp filter";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace catenet::test
