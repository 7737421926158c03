// Starting and stopping: draining, its deadline, signals, and what is left behind.
#include "support/client.hpp"
#include "support/engine_host.hpp"
#include "support/in_child.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace {

using namespace catenet;
using namespace catenet::test;

int elapsed_ms(std::chrono::steady_clock::time_point since) {
  return static_cast<int>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - since)
          .count());
}

class stopping : public testing::TestWithParam<unsigned> {
 protected:
  static engine_options options() {
    engine_options o;
    o.cores = GetParam();
    return o;
  }
};

TEST_P(stopping, idle_streams_close_at_once) {
  engine_options o = options();
  o.park_after_ms = 50;
  engine_host host(echo(), o);
  host.start();
  std::vector<client> all;
  for (int i = 0; i != 20; ++i) all.emplace_back(host.at());
  ASSERT_TRUE(eventually([&] { return host.statistics().connections == 20; }));
  std::thread readers([&] {
    for (client& c : all) {
      EXPECT_EQ(c.receive_all(), "");
      c.close();
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  host.stop();
  EXPECT_LT(elapsed_ms(begin), 1500);
  readers.join();
}

TEST_P(stopping, busy_streams_finish_first) {
  constexpr std::size_t bytes = 4_MiB;
  engine_host host({.received = [](stream& s, chain&&) { s.send(chain::copy_of(pattern(0, bytes))); }},
                   options());
  host.start();
  client c(host.at(), 16384);
  c.send("x");
  sleep_ms(50);
  host.net().stop();
  EXPECT_TRUE(eventually([&] { return !client(host.at()); })) << "nobody is accepted any more";
  EXPECT_FALSE(host.done());
  const std::string got = c.receive_all();
  EXPECT_EQ(got.size(), bytes);
  EXPECT_EQ(off_pattern(0, got), std::string::npos);
  c.close();
  host.wait();
}

TEST_P(stopping, the_drains_deadline_resets_what_is_left) {
  engine_options o = options();
  o.drain_ms = 300;
  engine_host host({.drain = [](stream&) {}}, o);
  host.start();
  client c(host.at());
  ASSERT_TRUE(eventually([&] { return host.statistics().connections == 1; }));
  const auto begin = std::chrono::steady_clock::now();
  host.stop();
  EXPECT_GE(elapsed_ms(begin), 290);
  EXPECT_LT(elapsed_ms(begin), 2000);
  EXPECT_EQ(c.receive_all(), "");
  EXPECT_EQ(c.error(), ECONNRESET);
}

TEST_P(stopping, a_second_stop_does_not_wait) {
  engine_options o = options();
  o.drain_ms = 60'000;
  engine_host host(
      {.received = [](stream& s, chain&&) { s.send(chain::of_size(16_MiB)); }, .drain = [](stream&) {}}, o);
  host.start();
  client c(host.at(), 16384), d(host.at());
  c.send("x");
  ASSERT_TRUE(eventually([&] { return host.statistics().connections == 2; }));
  sleep_ms(50);
  const auto begin = std::chrono::steady_clock::now();
  host.net().stop();
  sleep_ms(100);
  EXPECT_FALSE(host.done());
  host.stop();
  EXPECT_LT(elapsed_ms(begin), 2000);
}

TEST_P(stopping, before_run_ends_run_at_once) {
  engine net(quick(options()));
  static const handlers none;
  ASSERT_FALSE(net.listen("127.0.0.1:0", [](core&) { return std::make_unique<scripted>(none); }));
  net.stop();
  const error e = net.run();
  EXPECT_FALSE(e) << e.text();
}

TEST_P(stopping, from_a_handler_and_from_on_start) {
  engine_host host({.received = [](stream& s, chain&&) { s.home().owner().stop(); }}, options());
  host.start();
  client c(host.at());
  c.send("x");
  EXPECT_EQ(c.receive_all(), "");
  c.close();
  host.wait();

  engine net(quick(options()));
  net.on_start([&] { net.stop(); });
  EXPECT_FALSE(net.run());
}

TEST_P(stopping, under_load_at_a_random_moment_and_the_port_is_free_at_once) {
  endpoint at;
  std::string where = "127.0.0.1:0";
  for (int round = 0; round != 8; ++round) {
    engine_options o = options();
    o.drain_ms = 300;
    engine_host host(echo(), o, where);
    host.check_descriptors = false;  // the clients' come and go
    at = host.at();
    where = at.text();
    host.start();
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (int t = 0; t != 3; ++t)
      threads.emplace_back([&] {
        while (!over) {
          client c(at);
          if (!c) continue;
          for (int i = 0; i != 5 && c.send("ping"); ++i) c.receive_some();
        }
      });
    sleep_ms(20 + 7 * round);
    host.stop();
    over = true;
    for (std::thread& t : threads) t.join();
  }
}

TEST_P(stopping, what_is_posted_is_refused_once_a_core_has_ended) {
  engine_host host({}, options());
  host.start();
  host.stop();
  for (unsigned i = 0; i != GetParam(); ++i) EXPECT_FALSE(host.net().at(i).post([] { FAIL(); }));
  host.net().stop();  // harmless
}

// The last thing that a core's last turn does is to post to a core that sleeps.
TEST_P(stopping, a_letter_of_the_last_turn_arrives) {
  if (GetParam() < 2) GTEST_SKIP();
  for (int round = 0; round != 20; ++round) {
    engine_options o = options();
    o.drain_ms = 3000;
    engine* net = nullptr;
    std::mutex mutex;
    std::vector<handle> all;
    engine_host host({.opened =
                          [&](stream& s) {
                            const std::lock_guard lock(mutex);
                            all.push_back(s.id());
                          },
                      .drain =
                          [](stream& s) {
                            if (s.id().core == 0) s.close();  // core 1 waits to be told by core 0
                          },
                      .closed =
                          [&](stream& s) {
                            if (s.id().core != 0 || s.home().statistics().connections != 1) return;
                            const std::lock_guard lock(mutex);
                            for (const handle h : all)
                              if (h.core == 1)
                                net->at(1).post([net, h] {
                                  if (stream* other = net->at(1).find(h)) other->close();
                                });
                          }},
                     o);
    net = &host.net();
    host.check_descriptors = false;
    host.start();
    std::vector<client> clients;
    while (host.net().at(0).statistics().connections == 0 || host.net().at(1).statistics().connections == 0) {
      clients.emplace_back(host.at());
      sleep_ms(1);
    }
    ASSERT_TRUE(eventually([&] { return host.statistics().connections == clients.size(); }));
    std::thread readers([&] {
      for (client& c : clients) c.finish();
      clients.clear();
    });
    const auto begin = std::chrono::steady_clock::now();
    host.stop();
    readers.join();
    EXPECT_LT(elapsed_ms(begin), 2000);
  }
}

INSTANTIATE_TEST_SUITE_P(engine, stopping, testing::Values(1u, 2u));

TEST(engines, one_after_the_other_in_one_process) {
  for (int i = 0; i != 5; ++i) {
    engine_host host(echo());
    host.start();
    client c(host.at());
    c.send("x");
    EXPECT_EQ(c.receive(1), "x");
    c.close();
    host.stop();
  }
}

TEST(engines, two_at_the_same_time) {
  engine_host one(echo()), two(echo());
  one.check_descriptors = two.check_descriptors = false;
  one.start();
  two.start();
  for (engine_host* host : {&one, &two}) {
    client c(host->at());
    c.send("x");
    EXPECT_EQ(c.receive(1), "x");
  }
  // Letters from the core of one engine to a core of the other.
  for (int i = 0; i != 500; ++i) {
    std::promise<void> told;
    auto future = told.get_future();
    one.net().at(0).post([&] { two.net().at(0).post([&] { told.set_value(); }); });
    ASSERT_EQ(future.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  }
  one.stop();
  two.stop();
}

// ---- in a process of its own

TEST(signals, stop_the_engine_and_are_given_back) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const auto body = [signal] {
      struct sigaction own {
      }, after{};
      own.sa_handler = [](int) {};
      sigaction(SIGPIPE, &own, nullptr);
      sigaction(SIGINT, &own, nullptr);
      engine_options o = quick();
      o.handle_signals = true;
      engine net(o);
      static const handlers h = {.opened = [](stream& s) { s.close(); }};
      EXPECT_FALSE(net.listen("127.0.0.1:0", [](core&) { return std::make_unique<scripted>(h); }));
      net.on_start([&] {
        struct sigaction now {};
        sigaction(SIGPIPE, nullptr, &now);
        EXPECT_EQ(now.sa_handler, SIG_IGN);
        kill(getpid(), signal);
      });
      EXPECT_FALSE(net.run());
      sigaction(SIGPIPE, nullptr, &after);
      EXPECT_EQ(after.sa_handler, own.sa_handler) << "what the program had set";
      sigaction(SIGINT, nullptr, &after);
      EXPECT_EQ(after.sa_handler, own.sa_handler);
      sigaction(SIGTERM, nullptr, &after);
      EXPECT_EQ(after.sa_handler, SIG_DFL);
    };
    const int status = in_child(body);
    EXPECT_EQ(status, 0) << "signal " << signal;
  }
}

// Takes every descriptor that is left. The limit must have been low when the engine began to accept: io_uring
// keeps the limit of the moment in which an accept was asked for.
class all_descriptors {
 public:
  all_descriptors() {
    for (int fd = dup(0); fd >= 0; fd = dup(0)) taken_.push_back(fd);
  }
  ~all_descriptors() { give_back(); }
  void give_back() {
    for (const int fd : taken_) close(fd);
    taken_.clear();
  }

 private:
  std::vector<int> taken_;
};

void few_descriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = 100;
  setrlimit(RLIMIT_NOFILE, &limit);
}

TEST(limits, without_descriptors_accepting_pauses_and_resumes) {
  // UBSan's check of an object's type asks a pipe whether memory can be read: without descriptors it reports
  // nonsense.
  if (sanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  const auto body = [] {
    static std::atomic<int> warnings{0};
    set_log_sink([](log_level l, std::string_view line) {
      if (l == log_level::warning && line.find("EMFILE") != std::string_view::npos) ++warnings;
    });
    few_descriptors();
    engine_host host(echo());
    host.start();
    std::vector<client> all;
    for (int i = 0; i != 10; ++i) all.emplace_back(host.at());
    EXPECT_TRUE(eventually([&] { return host.statistics().connections == 10; }));
    std::vector<int> sockets;
    for (int i = 0; i != 4; ++i) sockets.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    all_descriptors taken;
    for (const int fd : sockets) EXPECT_EQ(connect(fd, host.at().address(), host.at().length()), 0);
    sleep_ms(150);
    EXPECT_EQ(warnings, 1);
    const std::uint64_t before = host.statistics().turns;
    sleep_ms(500);
    EXPECT_GE(host.statistics().turns - before, 2u) << "it tries again";
    EXPECT_LE(host.statistics().turns - before, 30u) << "it must not spin";
    EXPECT_EQ(host.statistics().connections, 10u);
    EXPECT_EQ(warnings, 1) << "one line, not one a try";
    all[0].send("x");
    EXPECT_EQ(all[0].receive(1), "x") << "who is in is served";
    all.erase(all.begin() + 4, all.end());  // some leave: there is room for the others
    EXPECT_TRUE(eventually([&] { return host.statistics().accepted == 14; }));
    for (const int fd : sockets) {
      char byte = 0;
      EXPECT_EQ(write(fd, "y", 1), 1);
      EXPECT_EQ(read(fd, &byte, 1), 1);
      close(fd);
    }
    all.clear();
    taken.give_back();
    host.stop();
  };
  const int status = in_child(body);
  EXPECT_EQ(status, 0);
}

TEST(limits, without_descriptors_it_can_still_be_stopped) {
  // UBSan's check of an object's type asks a pipe whether memory can be read: without descriptors it reports
  // nonsense.
  if (sanitized) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  const auto body = [] {
    set_log_sink(nullptr);
    few_descriptors();
    engine_host host(echo());
    host.start();
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    all_descriptors taken;
    EXPECT_EQ(connect(fd, host.at().address(), host.at().length()), 0);
    sleep_ms(150);
    const auto begin = std::chrono::steady_clock::now();
    host.net().stop();
    EXPECT_TRUE(eventually([&] { return host.done(); }, 3000));
    EXPECT_LT(elapsed_ms(begin), 1000);
    taken.give_back();
    close(fd);
    host.wait();
  };
  const int status = in_child(body);
  EXPECT_EQ(status, 0);
}

constexpr uid_t nobody = 65534;

TEST(limits, a_tiny_memlock_limit_is_enough_or_said) {
  const auto body = [] {
    unsetenv("CATENET_IO");  // the engine chooses: epoll, where the limit allows no ring
    const rlimit tiny{4096, 4096};
    setrlimit(RLIMIT_MEMLOCK, &tiny);
    // Who may lock what it likes (CAP_IPC_LOCK) has no limit; a user has.
    if (getuid() == 0) {
      ASSERT_EQ(setresuid(nobody, nobody, nobody), 0);
    }
    engine_host host(echo());
    host.start();
    client c(host.at());
    c.send("x");
    EXPECT_EQ(c.receive(1), "x");
    c.close();
    host.stop();
  };
  const int status = in_child(body);
  EXPECT_EQ(status, 0);
}

TEST(limits, a_depot_too_small_for_its_receive_ring_still_serves) {
  engine_options o;
  o.slab.capacity = 2_MiB;
  engine_host host(echo(), o);
  host.start();
  client c(host.at());
  std::thread writer([&] { EXPECT_TRUE(c.send(pattern(0, 1_MiB))); });
  EXPECT_EQ(off_pattern(0, c.receive(1_MiB)), std::string::npos);
  writer.join();
  host.stop();
}

}  // namespace
