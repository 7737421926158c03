// Merges streams of frames ([0xAB43C146][size, 4 bytes][payload]) from pipes, FIFOs, UNIX sockets, files or
// "-" (standard input) to standard output:
//
//   pipe_merge [--weights 1,2] a.fifo b.fifo >merged
//
// Ends with its inputs: status 0, 3 if one was evicted, 1 if something failed.
#include <catenet/engine/engine.hpp>
#include <catenet/merge/merger.hpp>

#include "support/io_options.hpp"

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace {

namespace merge = catenet::merge;

catenet::error open_input(const std::string& path, int& fd) {
  if (path == "-") {
    fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
    close(0);
    return fd >= 0 ? catenet::error{} : catenet::error{"open", "standard input", errno, {}};
  }
  struct stat about{};
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

struct arguments {
  std::vector<std::string> inputs;
  std::vector<std::uint32_t> weights;
  merge::options how;
  bool stats = false;
};

// Sets the merger up on its core. False, and told on stderr, when something could not be opened.
bool set_up(merge::merger& m, const arguments& a) {
  const int out = fcntl(1, F_DUPFD_CLOEXEC, 3);
  close(1);
  catenet::error e = m.output(out);
  for (std::size_t i = 0; !e && i != a.inputs.size(); ++i) {
    int fd = -1;
    e = open_input(a.inputs[i], fd);
    if (!e) e = m.input(fd, a.inputs[i], i < a.weights.size() ? a.weights[i] : 1);
  }
  if (e) std::fprintf(stderr, "pipe_merge: %s\n", e.text().c_str());
  return !e;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Merges streams of frames into one"};
  arguments a;
  catenet::engine_options o;
  app.add_option("inputs", a.inputs, "FIFOs, UNIX sockets, files; - is standard input")->required();
  app.add_option("--weights", a.weights, "shares of the inputs, in their order; 1 each")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--deadline-ms", a.how.deadline_ms, "longest a frame may take to come; 0: for ever")
      ->capture_default_str();
  app.add_option("--min-rate", a.how.rate_min, "bytes/s that an unfinished frame has to grow by; 0: none")
      ->capture_default_str();
  app.add_option("--max-frame", a.how.frame_bytes_max, "longest payload in bytes")->capture_default_str();
  app.add_option("--splice-min", a.how.splice_bytes_min, "frames from this size on are spliced")
      ->capture_default_str();
  catenet::examples::add_io_options(app, o);
  app.add_flag("--stats", a.stats, "print what was done to stderr at the end");
  CLI11_PARSE(app, argc, argv);

  o.slab.capacity = 256 << 20;
  catenet::engine net{o};
  std::unique_ptr<merge::merger> m;
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
      const merge::statistics s = m->statistics();
      for (const merge::input_statistics& i : s.inputs)
        if (!i.evicted.empty())
          std::fprintf(stderr, "pipe_merge: %s: %s\n", i.name.c_str(), i.evicted.c_str());
      if (a.stats) print(s);
      net.at(0).post([&] {
        m.reset();
        net.stop();
      });
    });
  });
  if (net.run()) return 1;
  m.reset();
  return status;
}
