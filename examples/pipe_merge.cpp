// Merges streams of frames ([0xAB43C146][size, 4 bytes][payload]) from pipes, FIFOs, UNIX sockets, files or
// "-" (standard input) to standard output:
//
//   pipe_merge [--weights 1,2] a.fifo b.fifo >merged
//
// Ends with its inputs: status 0, 3 if one was evicted, 1 if something failed or SIGTERM came before; that
// lets the frame under way out.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/task.hpp>
#include <catenet/merge/merger.hpp>

#include "support/io_options.hpp"

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace merge = catenet::merge;

// Standard input and output, as descriptors that are ours alone. /dev/null stands in their places, so that
// nothing else becomes 0, 1 or 2, and the other ends see when we close.
struct standard_streams {
  int in = -1;  // -1: it was closed when the program began
  int out = -1;
};

standard_streams take_standard_streams() {
  const standard_streams taken{fcntl(0, F_DUPFD_CLOEXEC, 3), fcntl(1, F_DUPFD_CLOEXEC, 3)};
  const bool is_told = fcntl(2, F_GETFD) >= 0;
  const int nothing = open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2})
    if (nothing >= 0 && nothing != fd && (fd != 2 || !is_told)) dup2(nothing, fd);
  if (nothing > 2) close(nothing);
  return taken;
}

catenet::error open_input(const std::string& path, int standard, int& fd) {
  if (path == "-") {
    fd = standard;
    return fd >= 0 ? catenet::error{} : catenet::error{"read", "standard input", EBADF, "it is closed"};
  }
  struct stat about {};
  if (stat(path.c_str(), &about) == 0 && S_ISSOCK(about.st_mode)) {
    catenet::endpoint to;
    if (catenet::error e = catenet::endpoint::parse("unix:" + path, to)) return e;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, to.address(), to.length()) == 0) return {};
    return {"connect", path, errno, "a program has to listen there and send frames"};
  }
  fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // a FIFO's writers may come later
  return fd >= 0 ? catenet::error{} : catenet::error{"open", path, errno, {}};
}

void print(const merge::statistics& s) {
  for (const merge::input_statistics& i : s.inputs)
    std::fprintf(stderr, "%s: %llu frames, %llu bytes%s%s\n", i.name.c_str(),
                 static_cast<unsigned long long>(i.frames), static_cast<unsigned long long>(i.bytes),
                 i.evicted.empty() ? "" : ", evicted: ", i.evicted.c_str());
  std::fprintf(stderr, "out: %llu bytes copied, %llu spliced, output full %llu times\n",
               static_cast<unsigned long long>(s.out[static_cast<std::size_t>(catenet::tier::copied)].bytes),
               static_cast<unsigned long long>(s.out[static_cast<std::size_t>(catenet::tier::spliced)].bytes),
               static_cast<unsigned long long>(s.output_full));
}

// Once a second, as long as frames go out.
catenet::task<> print_progress(const merge::merger& m) {
  for (std::uint64_t told = 0;;) {
    co_await catenet::sleep(1000);
    std::uint64_t frames = 0, bytes = 0, open = 0;
    const merge::statistics s = m.statistics();
    for (const merge::input_statistics& i : s.inputs) {
      frames += i.frames;
      bytes += i.bytes;
      if (!i.ended && i.evicted.empty()) ++open;
    }
    if (std::exchange(told, bytes) == bytes) continue;
    std::fprintf(stderr,
                 "progress: %llu frames, %llu bytes, %llu of %zu inputs open, output full %llu times\n",
                 static_cast<unsigned long long>(frames), static_cast<unsigned long long>(bytes),
                 static_cast<unsigned long long>(open), s.inputs.size(),
                 static_cast<unsigned long long>(s.output_full));
  }
}

struct arguments {
  std::vector<std::string> inputs;
  std::vector<std::uint32_t> weights;
  merge::options how;
  bool stats = false;
  standard_streams standard;
};

// What the parser cannot tell. Empty when all is well.
std::string misuse(const arguments& a) {
  if (std::ranges::count(a.inputs, "-") > 1) return "standard input (-) can be an input only once";
  if (a.weights.size() > a.inputs.size())
    return "--weights has " + std::to_string(a.weights.size()) + " values for " +
           std::to_string(a.inputs.size()) + " inputs";
  if (a.standard.out < 0) return catenet::error{"write", "standard output", EBADF, "it is closed"}.text();
  return {};
}

// Room for a frame of the greatest length of each input, in blocks, and for one on its way out. Memory is
// taken only as it is used.
std::size_t slab_capacity(const arguments& a) {
  constexpr std::size_t blocks_begun = 128 << 10;
  constexpr std::size_t least = 256 << 20;
  const std::size_t frame = static_cast<std::size_t>(a.how.frame_bytes_max) + blocks_begun;
  return std::max(least, (a.inputs.size() + 1) * frame + (32 << 20));
}

// Sets the merger up on its core. False, and told on stderr, when something could not be opened.
bool set_up(merge::merger& m, const arguments& a) {
  m.on_evicted([](std::string_view name, std::string_view why) {
    std::fprintf(stderr, "pipe_merge: %s: evicted: %s\n", std::string(name).c_str(),
                 std::string(why).c_str());
  });
  catenet::error e = m.output(a.standard.out);
  for (std::size_t i = 0; !e && i != a.inputs.size(); ++i) {
    int fd = -1;
    e = open_input(a.inputs[i], a.standard.in, fd);
    if (!e) e = m.input(fd, a.inputs[i], i < a.weights.size() ? a.weights[i] : 1);
  }
  if (e) std::fprintf(stderr, "pipe_merge: %s\n", e.text().c_str());
  return !e;
}

void add_options(CLI::App& app, arguments& a, catenet::engine_options& o) {
  app.add_option("inputs", a.inputs, "FIFOs, UNIX sockets, files; - is standard input")->required();
  app.add_option("--weights", a.weights, "shares of the inputs, in their order, from 1 on; 1 each")
      ->delimiter(',')
      ->check(CLI::Range(1u, UINT32_MAX))
      ->allow_extra_args(false);
  app.add_option("--deadline-ms", a.how.deadline_ms, "longest a frame may take to come; 0: for ever")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--min-rate", a.how.rate_min, "bytes/s that an unfinished frame has to grow by; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-frame", a.how.frame_bytes_max, "longest payload in bytes")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{UINT32_MAX}))
      ->capture_default_str();
  app.add_option("--splice-min", a.how.splice_bytes_min, "frames from this size on are spliced")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  catenet::examples::add_io_options(app, o);
  app.add_flag("--stats", a.stats, "print progress each second, and what was done at the end, to stderr");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Merges streams of frames into one"};
  arguments a;
  catenet::engine_options o;
  add_options(app, a, o);
  CLI11_PARSE(app, argc, argv);
  a.standard = take_standard_streams();
  if (const std::string wrong = misuse(a); !wrong.empty()) {
    std::fprintf(stderr, "pipe_merge: %s\n", wrong.c_str());
    return 1;
  }

  o.slab.capacity = slab_capacity(a);
  catenet::engine net{o};
  std::unique_ptr<merge::merger> m;
  catenet::task<> progress;
  int status = 1;
  net.on_start([&] {
    m = std::make_unique<merge::merger>(net.at(0), a.how);
    if (!set_up(*m, a)) {
      m.reset();
      return net.stop();
    }
    m->start([&](const catenet::error& e) {
      status = e ? 1 : m->evicted() != 0 ? 3 : 0;
      if (e) std::fprintf(stderr, "pipe_merge: %s\n", e.text().c_str());
      if (a.stats) print(m->statistics());
      progress = {};
      net.at(0).post([&] {
        m.reset();
        net.stop();
      });
    });
    if (a.stats) progress = print_progress(*m);
  });
  if (net.run()) return 1;
  m.reset();
  return status;
}
