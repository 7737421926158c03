// What a stream tells of its end: why, and how much it had not sent.
#include <catenet/engine/stream.hpp>

#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <functional>
#include <memory>
#include <string>

namespace {

using namespace catenet;
using namespace catenet::test;

constexpr std::uint64_t more_than_sockets_hold = 48_MiB;

// A server that does one thing with whoever says something, and how the first of its streams ended.
class stream_ends : public testing::Test {
 protected:
  void serve(std::function<void(stream&)> f, engine_options o = {}) {
    handlers h = {.received = [f = std::move(f)](stream& s, chain&&) { f(s); },
                  .closed =
                      [this](stream& s) {
                        if (told_) return;
                        seen_ = s.end();
                        told_ = true;
                      }};
    host_ = std::make_unique<engine_host>(std::move(h), o);
    host_->start();
  }
  stream_end seen() {
    EXPECT_TRUE(eventually([&] { return told_.load(); }, 10'000));
    return seen_;
  }
  void TearDown() override {
    EXPECT_TRUE(eventually([&] { return host_->rented() == 0; }));
    host_->stop();
  }

  stream_end seen_;
  std::atomic<bool> told_{false};
  std::unique_ptr<engine_host> host_;
};

TEST_F(stream_ends, in_good_order) {
  serve([](stream& s) {
    s.send(chain::copy_of("bye"));
    s.close();
    EXPECT_EQ(s.end().error, 0) << "not ended yet";
  });
  client c(host_->at());
  c.send("?");
  EXPECT_EQ(c.receive_all(), "bye");
  c.close();
  EXPECT_EQ(seen().error, 0);
  EXPECT_EQ(seen().unsent, 0u);
}

TEST_F(stream_ends, by_abort_with_what_was_queued) {
  serve([](stream& s) {
    s.send(chain::copy_of("never sent"));
    s.abort();
  });
  client c(host_->at());
  c.send("?");
  EXPECT_EQ(seen().error, ECONNABORTED);
  EXPECT_EQ(seen().unsent, 10u);
}

TEST_F(stream_ends, by_the_peers_reset) {
  serve([](stream& s) { s.send(chain::copy_of("hello")); });
  client c(host_->at());
  c.send("?");
  EXPECT_EQ(c.receive(5), "hello");
  c.reset();
  EXPECT_EQ(seen().error, ECONNRESET);
  EXPECT_EQ(seen().unsent, 0u);
}

TEST_F(stream_ends, by_a_peer_that_takes_nothing) {
  engine_options o;
  o.send_stall_ms = 300;
  serve([](stream& s) { s.send(chain::of_size(more_than_sockets_hold)); }, o);
  client c(host_->at(), 16384);
  c.send("?");
  EXPECT_EQ(seen().error, ETIMEDOUT);
  EXPECT_GT(seen().unsent, 0u);
  EXPECT_LE(seen().unsent, more_than_sockets_hold);
}

// What was not sent of a region begins where another connection can go on.
TEST_F(stream_ends, amid_a_file_so_that_it_can_be_resumed) {
  const temp_folder folder;
  const std::string name = folder.path("f");
  const std::string bytes = pattern(0, more_than_sockets_hold);
  std::ofstream(name) << bytes;
  serve([&](stream& s) {
    chain file;
    const std::uint64_t from = told_ ? bytes.size() - seen_.unsent : 0;
    EXPECT_TRUE(file.append_file(open(name.c_str(), O_RDONLY | O_CLOEXEC), from, bytes.size() - from, true));
    s.send(std::move(file));
  });
  client first(host_->at(), 16384);
  first.send("?");
  EXPECT_EQ(first.receive(100'000).size(), 100'000u);
  first.reset();
  const std::uint64_t unsent = seen().unsent;
  EXPECT_EQ(seen().error, ECONNRESET);
  ASSERT_GT(unsent, 0u);
  ASSERT_LE(unsent, bytes.size() - 100'000);
  client second(host_->at());
  second.send("?");
  EXPECT_EQ(second.receive(unsent), bytes.substr(bytes.size() - unsent));
}

TEST_F(stream_ends, with_a_file_that_shrank) {
  const temp_folder folder;
  const std::string name = folder.path("f");
  std::ofstream(name) << pattern(0, 1000);
  serve([&](stream& s) {
    chain file;
    EXPECT_TRUE(file.append_file(open(name.c_str(), O_RDONLY | O_CLOEXEC), 0, 3000, true));
    s.send(std::move(file));
  });
  client c(host_->at());
  c.send("?");
  EXPECT_EQ(seen().error, ENODATA);
  EXPECT_EQ(seen().unsent, 2000u);
}

}  // namespace
