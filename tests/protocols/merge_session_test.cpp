// A merger inside a program: what its inputs may do to it when memory is short, and how a stop ends it.
#include <catenet/merge/merger.hpp>

#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <mutex>
#include <thread>

namespace {

using namespace catenet;
using namespace catenet::test;

std::string frame_start(std::size_t payload) {
  std::array<std::byte, frame::header_bytes_limit> head;
  const std::size_t length = frame::magic_u32.write(payload, head.data());
  return std::string(reinterpret_cast<const char*>(head.data()), length);
}

struct pipe_ends {
  pipe_ends() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    read = ends[0];
    write = ends[1];
  }
  int read, write;
};

// A merger of pipes on an engine of its own; `inputs` and `out` are our ends.
class merging {
 public:
  merging(std::size_t inputs_wanted, engine_options eo, merge::options how = {}) {
    std::signal(SIGPIPE, SIG_IGN);
    std::vector<int> theirs;
    for (std::size_t i = 0; i != inputs_wanted; ++i) {
      const pipe_ends p;
      theirs.push_back(p.read);
      inputs.push_back(p.write);
    }
    const pipe_ends p;
    out = p.read;
    host_ = std::make_unique<engine_host>(handlers{}, eo, "");
    host_->check_descriptors = false;
    host_->net().on_start([this, theirs, how, to = p.write] {
      m_ = std::make_unique<merge::merger>(host_->net().at(0), how);
      error e = m_->output(to);
      for (const int fd : theirs)
        if (!e) e = m_->input(fd, "input");
      EXPECT_FALSE(e) << e.text();
      m_->on_evicted([this](std::string_view, std::string_view why) {
        const std::lock_guard lock(mutex_);
        evicted_.emplace_back(why);
      });
      m_->start([this](const error& how_it_ended) {
        const std::lock_guard lock(mutex_);
        ended_ = how_it_ended.text();
        is_over_ = true;
        host_->net().at(0).post([this] { m_.reset(); });
      });
    });
    host_->start();
  }
  ~merging() {
    for (const int fd : inputs) close(fd);
    EXPECT_TRUE(eventually([&] { return is_over(); }));
    host_->stop();
    m_.reset();
    close(out);
  }
  merging(const merging&) = delete;
  merging& operator=(const merging&) = delete;

  void stop() { host_->net().stop(); }
  [[nodiscard]] std::vector<std::string> evicted() const {
    const std::lock_guard lock(mutex_);
    return evicted_;
  }
  [[nodiscard]] std::string ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  [[nodiscard]] bool is_over() const {
    const std::lock_guard lock(mutex_);
    return is_over_;
  }

  std::vector<int> inputs;
  int out = -1;

 private:
  std::unique_ptr<engine_host> host_;
  std::unique_ptr<merge::merger> m_;
  mutable std::mutex mutex_;
  std::vector<std::string> evicted_;
  std::string ended_;
  bool is_over_ = false;
};

// False once its reader has gone.
bool write_some(int fd, std::string_view& bytes) {
  const ssize_t n = write(fd, bytes.data(), bytes.size());
  if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
  return n > 0;
}

std::string read_exactly(int fd, std::size_t bytes) {
  std::string all(bytes, '\0');
  std::size_t got = 0;
  while (got != bytes) {
    const ssize_t n = read(fd, all.data() + got, bytes - got);
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
  }
  all.resize(got);
  return all;
}

// Eight inputs want more together than there is: one after the other goes, until the rest has enough.
TEST(merge_session, what_holds_most_goes_when_memory_is_short) {
  engine_options eo;
  eo.slab.capacity = 32_MiB;
  merging m(9, eo);
  const std::string unfinished = frame_start(8_MiB) + std::string(7_MiB, 'b');
  std::vector<std::thread> writers;
  for (std::size_t i = 0; i != 8; ++i)
    writers.emplace_back([&, fd = m.inputs[i]] {
      std::string_view left = unfinished;
      while (!left.empty() && write_some(fd, left)) {
      }
    });
  EXPECT_TRUE(eventually([&] { return m.evicted().size() >= 3; }, 30'000)) << m.evicted().size();
  for (const std::string& why : m.evicted()) EXPECT_NE(why.find("no memory"), std::string::npos) << why;
  const std::string healthy = frame_start(5) + "hello";
  ASSERT_EQ(write(m.inputs[8], healthy.data(), healthy.size()), static_cast<ssize_t>(healthy.size()));
  EXPECT_EQ(read_exactly(m.out, healthy.size()), healthy);
  m.stop();  // whoever still writes gets EPIPE
  for (std::thread& t : writers) t.join();
}

// A frame under way is let out at the engine's stop, and nothing after it.
TEST(merge_session, a_stop_leaves_the_output_whole) {
  merging m(1, {});
  fcntl(m.out, F_SETPIPE_SZ, 4096);
  const std::string one = frame_start(1_MiB) + pattern(0, 1_MiB);
  std::thread writer([&] {
    for (int i = 0; i != 3; ++i) {
      std::string_view left = one;
      while (!left.empty() && write_some(m.inputs[0], left)) {
      }
    }
  });
  std::string got = read_exactly(m.out, 10'000);
  m.stop();
  for (std::string part = read_exactly(m.out, 100'000); !part.empty(); part = read_exactly(m.out, 100'000))
    got += part;
  writer.join();
  EXPECT_EQ(got.size() % one.size(), 0u);
  EXPECT_EQ(off_pattern(0, std::string_view(got).substr(8, 1_MiB)), std::string::npos);
  EXPECT_NE(m.ended().find("ECANCELED"), std::string::npos) << m.ended();
}

// Nobody reads: after the drain time it ends all the same, and says what is missing.
TEST(merge_session, a_stop_does_not_wait_for_a_reader_for_ever) {
  engine_options eo;
  eo.drain_ms = 200;
  merging m(1, eo);
  const std::string one = frame_start(1_MiB) + pattern(0, 1_MiB);
  std::thread writer([&] {
    std::string_view left = one;
    while (!left.empty() && write_some(m.inputs[0], left)) {
    }
  });
  writer.join();
  sleep_ms(50);
  m.stop();
  EXPECT_TRUE(eventually([&] { return m.is_over(); }));
  EXPECT_NE(m.ended().find("bytes are missing"), std::string::npos) << m.ended();
}

}  // namespace
