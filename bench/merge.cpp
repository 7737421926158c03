// Merging frames: what a GB costs by splice and by blocks, for frames of 256 B to 1 MiB, and what one very
// slow input does to the others' latency.
//
//   merge [--quick] [--rounds N]
//   merge --calibrate [FILE]       only the threshold of this host
//
// The merger is a process on core 0; writer and reader are on core 1. CPU is that of the merger's threads by
// the scheduler.
#include <catenet/engine/engine.hpp>
#include <catenet/frame/format.hpp>
#include <catenet/merge/merger.hpp>

#include "support/child.hpp"
#include "support/cpu_time.hpp"
#include "support/program.hpp"
#include "support/svg_plot.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <string_view>

namespace catenet::bench {
namespace {

using clock = std::chrono::steady_clock;

struct settings {
  int rounds = 3;
  std::uint64_t moved = 128_MiB;  // for one figure, or fewer bytes where that would be too many frames
  std::uint64_t frames_max = 60'000;
  int pings = 4000;
  std::string threshold;
};

std::string frame_of(std::size_t payload) {
  std::array<std::byte, frame::header_bytes_limit> head;
  const std::size_t length = frame::magic_u32.write(payload, head.data());
  return std::string(reinterpret_cast<const char*>(head.data()), length) + std::string(payload, 'p');
}

struct pipe_ends {
  pipe_ends() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("making a pipe (pipe2)");
    read = ends[0];
    write = ends[1];
  }
  int read, write;
};

/// A merger in a process of its own, and our ends of its pipes.
class merging {
 public:
  merging(std::size_t inputs, std::uint64_t splice_bytes_min) {
    std::vector<pipe_ends> in(inputs);
    const pipe_ends out;
    const pipe_ends ready;
    process_ = fork_on(0, [&] {
      for (const pipe_ends& p : in) close(p.write);
      engine net;
      std::unique_ptr<merge::merger> m;
      net.on_start([&] {
        m = std::make_unique<merge::merger>(net.at(0), merge::options{.splice_bytes_min = splice_bytes_min});
        error e = m->output(out.write);
        for (const pipe_ends& p : in)
          if (!e) e = m->input(p.read, "input");
        if (e) throw std::runtime_error(e.text());
        m->start([&](const error&) {
          net.at(0).post([&] {
            m.reset();
            net.stop();
          });
        });
        if (write(ready.write, "r", 1) != 1) fail("saying that the merger runs (write)");
      });
      net.run();
      m.reset();
    });
    close(out.write);
    close(ready.write);
    for (const pipe_ends& p : in) {
      close(p.read);
      inputs_.push_back(p.write);
    }
    output_ = out.read;
    char byte = 0;
    if (read(ready.read, &byte, 1) != 1) throw std::runtime_error("the merger did not start");
    close(ready.read);
  }
  ~merging() {
    for (const int fd : inputs_) close(fd);
    close(output_);
  }
  merging(const merging&) = delete;
  merging& operator=(const merging&) = delete;

  [[nodiscard]] std::uint64_t used_ns() const { return cpu_ns(process_.pid()); }
  void put(std::size_t input, std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = write(inputs_[input], bytes.data(), bytes.size());
      if (n <= 0) fail("writing to the merger (write)");
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void take(std::uint64_t bytes) {
    while (bytes != 0) {
      const ssize_t n = read(output_, buffer_.data(), std::min<std::uint64_t>(buffer_.size(), bytes));
      if (n <= 0) fail("reading from the merger (read)");
      bytes -= static_cast<std::uint64_t>(n);
    }
  }

 private:
  child process_;
  std::vector<int> inputs_;
  int output_ = -1;
  std::vector<char> buffer_ = std::vector<char>(256_KiB);
};

double cpu_s_per_gb(std::size_t payload, std::uint64_t splice_bytes_min, const settings& how) {
  const std::string one = frame_of(payload);
  const std::uint64_t count = std::clamp<std::uint64_t>(how.moved / one.size(), 1, how.frames_max);
  std::string run;
  std::uint64_t in_run = 0;
  for (; run.size() < 256_KiB && in_run != count; ++in_run) run += one;
  merging m(1, splice_bytes_min);
  const std::uint64_t before = m.used_ns();
  const std::uint64_t bytes = count / in_run * run.size();
  std::thread writer([&] {
    for (std::uint64_t i = 0; i != count / in_run; ++i) m.put(0, run);
  });
  m.take(bytes);
  writer.join();
  return static_cast<double>(m.used_ns() - before) / static_cast<double>(bytes);
}

double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

// The least frame size from which on splicing costs less, with a margin against noise.
std::uint64_t crossover(const settings& how) {
  constexpr double margin = 0.97;
  constexpr std::uint64_t never = ~std::uint64_t{0};
  std::uint64_t from = never;
  std::printf("%-10s %16s %16s %8s\n", "frames of", "splice, s/GB", "blocks, s/GB", "ratio");
  for (std::size_t size = 256; size <= 1_MiB; size *= 4) {
    std::vector<double> spliced, copied;
    for (int i = 0; i != how.rounds; ++i) {
      spliced.push_back(cpu_s_per_gb(size, 1, how));
      copied.push_back(cpu_s_per_gb(size, never, how));
    }
    const double ratio = median(spliced) / median(copied);
    if (ratio > margin)
      from = never;
    else
      from = std::min<std::uint64_t>(from, size);
    std::printf("%-10s %16.3f %16.3f %8.2f\n", size_text(static_cast<double>(size)).c_str(), median(spliced),
                median(copied), ratio);
  }
  return from;
}

struct latencies {
  double p50_us, p99_us;
};

// Frames through one input, one at a time, while another says nothing, or a byte now and then.
latencies ping(bool beside_a_slow_one, const settings& how) {
  merging m(2, 32_KiB);
  const std::string one = frame_of(4000);
  const std::string slow = frame_of(1_MiB);
  std::atomic<bool> over{false};
  std::thread trickle([&] {
    for (std::size_t i = 0; beside_a_slow_one && !over; ++i) {
      m.put(1, std::string_view(slow).substr(i % slow.size(), 1));
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  std::vector<double> took;
  for (int i = 0; i != how.pings; ++i) {
    const clock::time_point began = clock::now();
    m.put(0, one);
    m.take(one.size());
    took.push_back(std::chrono::duration<double, std::micro>(clock::now() - began).count());
  }
  over = true;
  trickle.join();
  std::sort(took.begin(), took.end());
  return {took[took.size() / 2], took[took.size() * 99 / 100]};
}

void judge_slow_input(const settings& how) {
  std::vector<double> alone, beside, ratios;
  for (int i = 0; i != how.rounds; ++i) {
    alone.push_back(ping(false, how).p99_us);
    beside.push_back(ping(true, how).p99_us);
    ratios.push_back(beside.back() / alone.back());
  }
  std::printf("\np99 of 4 KB frames: %.1f us; beside an input of a byte each 10 ms: %.1f us; ratio %.2f\n",
              median(alone), median(beside), median(ratios));
}

int run(int argc, char** argv) {
  CLI::App app{"Merging frames by splice and by blocks"};
  settings how;
  bool quick = false;
  app.add_flag("--quick", quick, "little of everything: to see that it runs");
  app.add_option("--rounds", how.rounds, "measurements of each; medians count")->capture_default_str();
  const CLI::Option* const calibrate =
      app.add_option("--calibrate", how.threshold, "only the threshold of this host; also to FILE")
          ->expected(0, 1);
  CLI11_PARSE(app, argc, argv);
  if (quick) how = {1, 8_MiB, 4000, 300, how.threshold};
  std::signal(SIGPIPE, SIG_IGN);
  pin_to(1);
  const std::uint64_t from = crossover(how);
  std::printf("merge.splice_bytes_min=%llu\n", static_cast<unsigned long long>(from));
  if (!how.threshold.empty() && !(std::ofstream(how.threshold) << "merge.splice_bytes_min=" << from << '\n'))
    throw std::runtime_error("writing the threshold to " + how.threshold + " failed");
  if (calibrate->count() == 0) judge_slow_input(how);
  return 0;
}

}  // namespace
}  // namespace catenet::bench

int main(int argc, char** argv) {
  return catenet::bench::run_program("merge", catenet::bench::run, argc, argv);
}
