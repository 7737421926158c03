// Relays between a client and an engine that echoes: bytes, half-close, resets, stalls, pipes that run out.
#include <catenet/engine/pipe_pool.hpp>
#include <catenet/engine/relay.hpp>

#include "support/client.hpp"
#include "support/engine_host.hpp"
#include "support/raw_listener.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>

namespace {

using namespace catenet;
using namespace catenet::test;

// A relay in an engine of its own, in front of `to`.
class relaying {
 public:
  explicit relaying(const endpoint& to, relay_options o = {}, unsigned cores = 1,
                    std::string_view where = "127.0.0.1:0")
      : descriptors_(open_descriptors()) {
    engine_options eo;
    eo.cores = cores;
    eo.drain_ms = 300;
    host = std::make_unique<engine_host>(handlers{}, eo, "");
    host->check_descriptors = false;
    through = std::make_unique<relay>(host->net(), o);
    const error e = through->listen(where, to.text(), &at);
    EXPECT_FALSE(e) << e.text();
    host->start();
  }
  ~relaying() {
    host->stop();
    EXPECT_EQ(through->statistics().pairs, 0u);
    through.reset();
    host.reset();
    EXPECT_TRUE(eventually([&] { return open_descriptors() <= descriptors_; })) << "descriptors leaked";
  }
  [[nodiscard]] std::uint64_t bytes(tier t) const {
    return through->statistics().out[static_cast<std::size_t>(t)].bytes;
  }

 private:
  std::size_t descriptors_;

 public:
  std::unique_ptr<engine_host> host;
  std::unique_ptr<relay> through;
  endpoint at;
};

// A UNIX socket that listens, with a queue of its own length.
class unix_listener {
 public:
  unix_listener(const std::string& path, int backlog) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_FALSE(endpoint::parse("unix:" + path, at_));
    EXPECT_EQ(bind(fd_, at_.address(), at_.length()), 0);
    EXPECT_EQ(listen(fd_, backlog), 0);
  }
  ~unix_listener() { ::close(fd_); }
  unix_listener(const unix_listener&) = delete;
  unix_listener& operator=(const unix_listener&) = delete;
  [[nodiscard]] const endpoint& at() const { return at_; }
  /// An empty one when none came in a while.
  client accept() {
    pollfd p{fd_, POLLIN, 0};
    return poll(&p, 1, 10'000) == 1 ? client::of(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)) : client();
  }

 private:
  int fd_;
  endpoint at_;
};

class relay_modes : public testing::TestWithParam<relay_mode> {};

// Sends a pattern, says FIN, and reads the echo of all of it, in a thread of its own.
void echo_through(const endpoint& at, std::size_t bytes, int receive_buffer = 0, int stall_ms = 0) {
  client c(at, receive_buffer);
  ASSERT_TRUE(c);
  std::thread writer([&] {
    for (std::size_t done = 0; done != bytes;) {
      const std::size_t part = std::min<std::size_t>(bytes - done, 300'000);
      ASSERT_TRUE(c.send(pattern(done, part)));
      done += part;
    }
    c.finish();
  });
  if (stall_ms != 0) sleep_ms(stall_ms);
  std::size_t got = 0;
  for (std::string part = c.receive_some(); !part.empty(); part = c.receive_some()) {
    EXPECT_EQ(off_pattern(got, part), std::string::npos) << "from byte " << got;
    got += part.size();
    if (stall_ms != 0 && got % 7 == 0) sleep_ms(1);
  }
  writer.join();
  EXPECT_EQ(got, bytes);
  EXPECT_EQ(c.error(), 0);
}

TEST_P(relay_modes, every_byte_and_both_ends) {
  engine_options eo;
  eo.send_limit = 256_MiB;
  engine_host echoing(echo(), eo);
  echoing.start();
  relaying r(echoing.at(), {.mode = GetParam()});
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{65537}, 8_MiB + 3})
    echo_through(r.at, bytes);
  EXPECT_TRUE(eventually([&] { return r.through->statistics().pairs == 0; }));
  EXPECT_EQ(r.through->statistics().resets, 0u);
  const std::uint64_t all = 2 * (1 + 4096 + 65537 + 8_MiB + 3);
  EXPECT_EQ(r.bytes(tier::copied) + r.bytes(tier::spliced), all);
  EXPECT_EQ(r.host->statistics().bytes_out, all);
  if (GetParam() == relay_mode::copy) {
    EXPECT_EQ(r.bytes(tier::spliced), 0u);
  }
  if (GetParam() == relay_mode::splice) {
    EXPECT_EQ(r.bytes(tier::copied), 0u);
  }
}

TEST_P(relay_modes, a_reader_that_stalls_loses_nothing) {
  engine_options eo;
  eo.send_limit = 256_MiB;
  engine_host echoing(echo(), eo);
  echoing.start();
  relaying r(echoing.at(), {.mode = GetParam()});
  echo_through(r.at, 8_MiB, 16384, 300);
}

TEST_P(relay_modes, many_at_once) {
  engine_host echoing(echo());
  echoing.start();
  relaying r(echoing.at(), {.mode = GetParam()}, 2);
  std::vector<std::thread> all;
  for (int i = 0; i != 20; ++i)
    all.emplace_back([&, i] { echo_through(r.at, 10'000 + 40'000 * static_cast<std::size_t>(i)); });
  for (std::thread& t : all) t.join();
  EXPECT_EQ(r.through->statistics().accepted, 20u);
}

// The server answers and resets: what it said arrives, and then the reset, not an end.
TEST_P(relay_modes, a_reset_is_passed_on) {
  std::atomic<int> seen{0};
  engine_host host({.received = [&](stream& s, chain&& b) {
    seen += static_cast<int>(b.bytes());
    if (seen == 5) s.abort();
  }});
  host.start();
  relaying r(host.at(), {.mode = GetParam()});
  client c(r.at);
  ASSERT_TRUE(c.send("12345"));
  EXPECT_EQ(c.receive_all(), "");
  EXPECT_EQ(c.error(), ECONNRESET);
  EXPECT_TRUE(eventually([&] { return r.through->statistics().resets == 1; }));
}

TEST_P(relay_modes, a_client_that_resets_in_the_middle) {
  std::atomic<int> closed{0};
  engine_host host(
      {.received = [](stream& s, chain&& b) { s.send(std::move(b)); }, .closed = [&](stream&) { ++closed; }});
  host.start();
  relaying r(host.at(), {.mode = GetParam()});
  for (int i = 0; i != 10; ++i) {
    client c(r.at, 16384);
    ASSERT_TRUE(c.send(pattern(0, 400'000)));
    c.receive(1000);
    c.reset();
  }
  EXPECT_TRUE(eventually([&] { return r.through->statistics().pairs == 0 && closed == 10; }));
}

// A splice stops before urgent data as if there were nothing, and at the end as if that were all.
TEST_P(relay_modes, urgent_data_stops_nothing) {
  raw_listener server;
  relaying r(server.at(), {.mode = GetParam()});
  client c(r.at);
  client s = server.accept();
  ASSERT_TRUE(s);
  ASSERT_TRUE(c.send(pattern(0, 200'000)));
  EXPECT_EQ(off_pattern(0, s.receive(200'000)), std::string::npos);
  ASSERT_EQ(send(c.fd(), "U", 1, MSG_OOB), 1);
  ASSERT_TRUE(c.send("after"));
  EXPECT_EQ(s.receive(5), "after");
  ASSERT_EQ(send(c.fd(), "U", 1, MSG_OOB), 1);
  ASSERT_TRUE(c.send(pattern(0, 300'000)));
  c.finish();
  const std::string rest = s.receive_all();
  EXPECT_EQ(rest.size(), 300'000u);
  EXPECT_EQ(off_pattern(0, rest), std::string::npos);
  EXPECT_EQ(s.error(), 0);
}

INSTANTIATE_TEST_SUITE_P(relay, relay_modes,
                         testing::Values(relay_mode::automatic, relay_mode::splice, relay_mode::copy),
                         [](const auto& i) {
                           return std::string(i.param == relay_mode::automatic ? "auto"
                                              : i.param == relay_mode::splice  ? "splice"
                                                                               : "copy");
                         });

// Half-close: the server speaks long after the client's end was passed on.
TEST(relay, an_end_leaves_the_other_direction_open) {
  engine_host host({.ended = [](stream& s) {
    s.send(chain::copy_of(pattern(0, 200'000)));
    s.close();
  }});
  host.start();
  relaying r(host.at());
  client c(r.at);
  c.finish();
  EXPECT_EQ(off_pattern(0, c.receive(200'000)), std::string::npos);
  EXPECT_EQ(c.receive_all(), "");
  EXPECT_EQ(c.error(), 0);
}

TEST(relay, without_pipes_blocks_stand_in) {
  engine_host echoing(echo());
  echoing.start();
  relaying r(echoing.at(), {.mode = relay_mode::splice, .pipes = {.pipes_max = 0}});
  echo_through(r.at, 1_MiB);
  EXPECT_EQ(r.bytes(tier::spliced), 0u);
  EXPECT_EQ(r.bytes(tier::copied), 2_MiB);
  EXPECT_GT(r.through->statistics().pipe_refused, 0u);
}

TEST(relay, a_pair_that_is_idle_is_ended) {
  engine_host host(handlers{});
  host.start();
  relaying r(host.at(), {.idle_ms = 150});
  client c(r.at);
  ASSERT_TRUE(c.send("x"));
  EXPECT_EQ(c.receive_all(), "");
  EXPECT_EQ(c.error(), ECONNRESET);
  EXPECT_EQ(r.through->statistics().idle_ended, 1u);
}

TEST(relay, nobody_there) {
  endpoint nobody;
  {
    engine_host host(handlers{});
    nobody = host.at();
    host.start();
    host.stop();
  }
  relaying r(nobody);
  client c(r.at);
  c.receive_all();
  EXPECT_EQ(c.error(), ECONNRESET);
  EXPECT_TRUE(eventually([&] { return r.through->statistics().connect_failed == 1; }));
}

// connect() to a UNIX socket whose queue is full says EAGAIN: that is no failure yet.
TEST(relay, a_server_whose_queue_is_full_is_tried_again) {
  const temp_folder folder;
  unix_listener server(folder.path("server"), 1);
  relaying r(server.at());
  std::vector<client> clients;
  for (int i = 0; i != 10; ++i) {
    clients.emplace_back(r.at);
    ASSERT_TRUE(clients.back().send("x"));
  }
  EXPECT_TRUE(eventually([&] { return r.through->statistics().accepted == 10; }));
  for (int i = 0; i != 10; ++i) {
    client s = server.accept();
    ASSERT_TRUE(s);
    EXPECT_EQ(s.receive(1), "x");
  }
  EXPECT_EQ(r.through->statistics().connect_failed, 0u);
}

TEST(relay, a_server_whose_queue_stays_full_is_given_up) {
  const temp_folder folder;
  const unix_listener server(folder.path("server"), 0);
  const client only(server.at());
  relaying r(server.at(), {.connect_ms = 100});
  client c(r.at);
  EXPECT_EQ(c.receive_all(), "");
  EXPECT_EQ(c.error(), ECONNRESET);
  EXPECT_EQ(r.through->statistics().connect_failed, 1u);
}

TEST(relay, its_socket_file_goes_with_it) {
  const temp_folder folder;
  const std::string path = folder.path("relay");
  for (const bool replaced : {false, true}) {
    {
      const unix_listener server(folder.path("server"), 10);
      const relaying r(server.at(), {}, 2, "unix:" + path);
      EXPECT_EQ(access(path.c_str(), F_OK), 0);
      if (replaced) {
        // Made before the other is removed, so that it is another one for the file system too.
        const unix_listener another(path + "2", 1);
        EXPECT_EQ(rename((path + "2").c_str(), path.c_str()), 0);
      }
      unlink(folder.path("server").c_str());
    }
    EXPECT_EQ(access(path.c_str(), F_OK) == 0, replaced) << "another's file stays, its own does not";
  }
}

TEST(relay, a_name_that_is_no_socket_is_told) {
  const temp_folder folder;
  engine_host host(handlers{}, {}, "");
  relay r(host.net());
  const error e = r.listen("unix:" + folder.path("."), "127.0.0.1:1");
  EXPECT_EQ(e.code, EADDRINUSE);
  EXPECT_NE(e.advice.find("no socket"), std::string::npos) << e.text();
}

// The relay's core is held until more descriptors are ready than it asks for in a turn.
TEST(relay, more_ends_are_ready_at_once_than_one_turn_takes) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  engine_host echoing(echo());
  echoing.start();
  relaying r(echoing.at());
  std::vector<client> all;
  for (int i = 0; i != 700; ++i) {
    all.emplace_back(r.at);
    ASSERT_TRUE(all.back()) << strerrorname_np(all.back().error());
    ASSERT_TRUE(all.back().send("-"));
    ASSERT_EQ(all.back().receive(1), "-");
  }
  r.host->on_core([&] {
    for (client& c : all) ASSERT_TRUE(c.send("once"));
  });
  for (std::size_t i = 0; i != all.size(); ++i) ASSERT_EQ(all[i].receive(4), "once") << i;
}

// A pair at rest holds neither pipe nor block, and the engine's stop ends it.
TEST(relay, a_pair_at_rest_holds_nothing) {
  engine_host echoing(echo());
  echoing.start();
  relaying r(echoing.at(), {.mode = relay_mode::splice, .pipes = {.idle_max = 0}});
  std::vector<client> all;
  for (int i = 0; i != 20; ++i) {
    all.emplace_back(r.at);
    ASSERT_TRUE(all.back().send(pattern(0, 5000)));
    ASSERT_EQ(off_pattern(0, all.back().receive(5000)), std::string::npos);
  }
  EXPECT_EQ(r.through->statistics().pairs, 20u);
  EXPECT_TRUE(eventually([&] { return r.through->statistics().pipes == 0; }));
  for (const class_statistics& c : r.host->net().slab().statistics().classes)
    EXPECT_EQ(c.rented, 0u) << c.size;
}

TEST(pipe_pool, keeps_empty_pipes_and_closes_others) {
  const std::size_t before = open_descriptors();
  {
    pipe_pool pipes({.pipes_max = 2, .idle_max = 1});
    const pipe_pool::pipe a = pipes.rent();
    const pipe_pool::pipe b = pipes.rent();
    ASSERT_TRUE(a);
    ASSERT_TRUE(b);
    EXPECT_FALSE(pipes.rent());
    EXPECT_EQ(pipes.rented(), 2u);
    ASSERT_EQ(write(a.write, "x", 1), 1);
    pipes.give(a, false);
    pipes.give(b, true);
    EXPECT_EQ(pipes.open(), 1u);
    const pipe_pool::pipe c = pipes.rent();
    char byte = 0;
    EXPECT_EQ(read(c.read, &byte, 1), -1) << "a rented pipe is empty";
    pipes.give(c, true);
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
