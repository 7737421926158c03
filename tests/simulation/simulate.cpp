// The program of the simulation: runs seeds, and says of one that fails how to run it again.
//
//   simulate --seeds 1-500                 a fixed set
//   simulate --seconds 60 [--seed S]       seeds from S on (by default from the clock), for so long
//   simulate --seed S                      one
//   simulate --faults --seeds 1-100        each fault that can be put into the engine must be found within
//                                          these
//   simulate --seed S --fault NAME         one, with that fault; --verbose tells what was drawn
#include <catenet/engine/log.hpp>
#include <catenet/slab/sanitizer.hpp>

#include "fault.hpp"
#include "world.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

using namespace catenet;
using namespace catenet::test;
using steady = std::chrono::steady_clock;

struct arguments {
  std::uint64_t first = 0, last = 0;
  double seconds = 0;
  std::uint32_t connections = 1000;
  bool faults = false;
  bool verbose = false;
  fault commit = fault::none;
};

struct known_fault {
  fault which;
  const char* name;
  unsigned every;  // so rare that the engine works for a while before
};
constexpr known_fault known_faults[] = {
    {fault::early_return, "early_return", 100},
    {fault::lost_rearm, "lost_rearm", 5},
    {fault::double_completion, "double_completion", 100},
    {fault::forgotten_cancel, "forgotten_cancel", 1},
    {fault::unrepeated_cancel, "unrepeated_cancel", 1},
    {fault::stale_handle, "stale_handle", 1},
    {fault::lost_wakeup, "lost_wakeup", 10},
    {fault::lost_tail, "lost_tail", 1},
    {fault::early_release, "early_release", 1},
};

[[noreturn]] void usage(std::FILE* to = stderr) {
  std::fputs(
      "usage: simulate [--seeds A-B | --seed S] [--seconds N] [--connections C] [--faults | --fault NAME] "
      "[--verbose]\n",
      to);
  std::exit(to == stdout ? 0 : 2);
}

arguments parse(int argc, char** argv) {
  arguments a;
  for (int i = 1; i != argc; ++i) {
    const std::string name = argv[i];
    if (name == "--help") usage(stdout);
    if (name == "--faults" || name == "--verbose") {
      (name == "--faults" ? a.faults : a.verbose) = true;
      continue;
    }
    if (i + 1 == argc) usage();
    const char* value = argv[++i];
    char* end = nullptr;
    if (name == "--seeds") {
      a.first = std::strtoull(value, &end, 10);
      if (*end != '-') usage();
      a.last = std::strtoull(end + 1, &end, 10);
    } else if (name == "--seed") {
      a.first = a.last = std::strtoull(value, &end, 10);
    } else if (name == "--seconds") {
      a.seconds = std::strtod(value, &end);
    } else if (name == "--connections") {
      a.connections = static_cast<std::uint32_t>(std::strtoul(value, &end, 10));
    } else if (name == "--fault") {
      for (const known_fault& f : known_faults)
        if (std::strcmp(value, f.name) == 0) a.commit = f.which;
      if (a.commit == fault::none) usage();
      continue;
    } else {
      usage();
    }
    if (*end != '\0') usage();
  }
  if (a.first == 0)
    a.first = a.last =
        static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) >> 10;
  return a;
}

run_result run_seed(const arguments& a, std::uint64_t seed, fault commit) {
  unsigned every = 1;
  for (const known_fault& f : known_faults)
    if (f.which == commit) every = f.every;
  commit_fault(commit, every);
  return run({seed, a.connections, commit, a.verbose});
}

// What one seed says of a fault, in a process of its own, as a faulty engine may well crash: empty if
// nothing.
std::string found_by(const arguments& a, std::uint64_t seed, fault commit) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    const std::string said = run_seed(a, seed, commit).violation;
    _exit(write(ends[1], said.data(), said.size()) == static_cast<ssize_t>(said.size()) ? 0 : 1);
  }
  close(ends[1]);
  char text[512];
  const ssize_t length = read(ends[0], text, sizeof text);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return "it crashed, by signal " + std::to_string(WTERMSIG(status));
  return {text, static_cast<std::size_t>(length > 0 ? length : 0)};
}

// Each fault in turn, until a seed finds it.
int find_faults(const arguments& a) {
  int missed = 0;
  for (const known_fault& f : known_faults) {
    if (a.commit != fault::none && a.commit != f.which) continue;
    std::string said;
    std::uint64_t seed = a.first;
    for (; seed <= a.last; ++seed)
      if (said = found_by(a, seed, f.which); !said.empty()) break;
    if (said.empty()) ++missed;
    std::printf("%-18s %s%s\n", f.name,
                said.empty() ? "NOT FOUND" : ("found by seed " + std::to_string(seed) + ": ").c_str(),
                said.c_str());
    std::fflush(stdout);
  }
  return missed == 0 ? 0 : 1;
}

// How to run it again.
std::string again(const arguments& a, std::uint64_t seed) {
  std::string command = "again: ./dev simulate --seed " + std::to_string(seed);
  if (a.connections != 1000) command += " --connections " + std::to_string(a.connections);
  for (const known_fault& f : known_faults)
    if (f.which == a.commit) command += std::string(" --fault ") + f.name;
  return command + "\n";
}

// A crash of the engine names the seed as well. Made before, as a signal handler can make nothing.
std::string running_again;
void on_crash(int number) {
  char text[64];
  const int length = std::snprintf(text, sizeof text, "it crashed, by signal %d\n", number);
  [[maybe_unused]] ssize_t written = write(STDOUT_FILENO, text, static_cast<std::size_t>(length));
  written = write(STDOUT_FILENO, running_again.data(), running_again.size());
  std::signal(number, SIG_DFL);
  std::raise(number);
}

int run_all(const arguments& a) {
  const auto begin = steady::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(steady::now() - begin).count(); };
  std::uint64_t runs = 0, turns = 0, events = 0, connections = 0, bytes = 0, virtual_ms = 0;
  for (std::uint64_t seed = a.first; a.seconds != 0 ? elapsed() < a.seconds : seed <= a.last; ++seed) {
    running_again = again(a, seed);
    const run_result r = run_seed(a, seed, a.commit);
    if (!r.violation.empty()) {
      std::printf("seed %llu, after %llu events and %.3f s of virtual time: %s\n%s",
                  static_cast<unsigned long long>(seed), static_cast<unsigned long long>(r.events),
                  static_cast<double>(r.virtual_ms) / 1000, r.violation.c_str(), running_again.c_str());
      return 1;
    }
    ++runs;
    turns += r.turns;
    events += r.events;
    connections += r.connections;
    bytes += r.bytes;
    virtual_ms += r.virtual_ms;
  }
  std::printf(
      "%llu seeds from %llu on, clean: %llu connections, %llu turns, %llu events, %.1f GB sent, %.1f h of "
      "virtual time "
      "in %.1f s\n",
      static_cast<unsigned long long>(runs), static_cast<unsigned long long>(a.first),
      static_cast<unsigned long long>(connections), static_cast<unsigned long long>(turns),
      static_cast<unsigned long long>(events), static_cast<double>(bytes) / 1e9,
      static_cast<double>(virtual_ms) / 3.6e6, elapsed());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const arguments a = parse(argc, argv);
  catenet::set_log_sink(nullptr);
  if (a.faults) return find_faults(a);
#ifndef CATENET_ASAN  // it tells more by itself
  std::signal(SIGSEGV, on_crash);
#endif
  std::signal(SIGABRT, on_crash);
  return run_all(a);
}
