// WebSocket echo and broadcast: CPU of the server by message, its peak memory when some never read, and what
// an idle connection takes.
//
//   ws                                 our http_server, started on core 0
//   ws --rival PORT:PID [--rival ...]  any other server with /echo and /broadcast too, in turns, side by side
//
// "catenet/2" is ours once more with two cores, both on the same processor: what a broadcast costs that
// crosses cores. Idle bytes are the growth of the resident set by connection.
//
// The load is one thread on core 1, closed loop: a connection's next message goes out when the last one is
// back, a broadcast when the one before reached everybody. CPU is that of all threads of the server
// (schedstat), divided by the messages that were told.
#include "support/child.hpp"
#include "support/cpu_time.hpp"
#include "support/loopback.hpp"
#include "support/program.hpp"

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace catenet::bench {
namespace {

using clock = std::chrono::steady_clock;

struct target {
  std::string name;
  int port = 0;
  pid_t pid = 0;
};

/// A value in KiB of /proc/PID/status.
std::uint64_t status_kib(pid_t pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1));
  return 0;
}

/// A masked frame (with the key 0: the server cannot know) or the header of what comes back.
std::string frame(std::size_t payload, bool masked, char fill = 'B') {
  std::string out = "\x82";
  const unsigned bit = masked ? 0x80 : 0;
  int more = 0;
  if (payload < 126) {
    out += static_cast<char>(bit | payload);
  } else {
    more = payload < 65536 ? 2 : 8;
    out += static_cast<char>(bit | (more == 2 ? 126u : 127u));
  }
  for (int i = more; i-- != 0;) out += static_cast<char>(payload >> (8 * i));
  if (masked) out.append(4, '\0');
  return out.append(payload, fill);
}

struct peer {
  int fd = -1;
  std::uint64_t wanted = 0;  // bytes still to come of what is under way
  std::size_t sent = 0;      // of the message that is being sent
};

/// Connections of one test, upgraded, non-blocking, and watched by one epoll.
class crowd {
 public:
  crowd(const target& to, const std::string& path, int count, int deaf = 0, const std::string& fields = "")
      : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    const std::string request =
        "GET " + path +
        " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
        fields + "\r\n";
    for (int i = 0; i != count; ++i) {
      const int fd =
          connect_loopback(to.port, {.source = 1 + i / 20000, .receive_buffer_bytes = i < deaf ? 4096 : 0});
      send_all(fd, request);
      expect_status(fd, "101");
      ::fcntl(fd, F_SETFL, O_NONBLOCK);
      peers.push_back({fd});
      if (i < deaf) continue;  // never read from
      epoll_event e{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.u64 = static_cast<std::uint64_t>(i)}};
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e);
    }
  }
  ~crowd() {
    for (const peer& p : peers) ::close(p.fd);
    ::close(epoll_);
  }
  crowd(const crowd&) = delete;
  crowd& operator=(const crowd&) = delete;

  /// Waits and calls f(index) for those where something happened.
  template <class F>
  void poll(const F& f) {
    epoll_event events[512];
    const int n = ::epoll_wait(epoll_, events, 512, 5000);
    if (n == 0) throw std::runtime_error("nothing came for 5 s");
    for (int i = 0; i < n; ++i) f(events[i].data.u64);
  }

  /// Reads what there is; returns how many bytes.
  std::uint64_t drain(peer& p) {
    std::uint64_t sum = 0;
    while (true) {
      const ssize_t got = ::recv(p.fd, buffer_.data(), buffer_.size(), 0);
      if (got == 0) throw std::runtime_error("the server closed a connection");
      if (got < 0) return sum;
      sum += static_cast<std::uint64_t>(got);
      if (static_cast<std::size_t>(got) < buffer_.size()) return sum;
    }
  }

  /// Sends on what is left of a message; false while some is.
  bool push(peer& p, const std::string& message) {
    while (p.sent != message.size()) {
      const ssize_t n = ::send(p.fd, message.data() + p.sent, message.size() - p.sent, MSG_NOSIGNAL);
      if (n < 0) return false;
      p.sent += static_cast<std::size_t>(n);
    }
    return true;
  }

  std::vector<peer> peers;

 private:
  int epoll_;
  std::vector<char> buffer_ = std::vector<char>(256 * 1024);
};

/// CPU µs by message, over some time behind a warm-up.
struct window {
  const target& of;
  double seconds;
  clock::time_point begin = clock::now();
  bool warm = false;
  std::uint64_t messages = 0, cpu_at_start = 0;

  /// Called now and then with how many more there were. True when it is over.
  bool add(std::uint64_t more) {
    const std::chrono::duration<double> passed = clock::now() - begin;
    if (!warm && passed.count() > seconds / 4) {
      warm = true;
      begin = clock::now();
      messages = 0;
      cpu_at_start = cpu_ns(of.pid);
      return false;
    }
    messages += more;
    return warm && passed.count() > seconds;
  }
  [[nodiscard]] double cpu_us() const {
    return messages == 0
               ? 0
               : static_cast<double>(cpu_ns(of.pid) - cpu_at_start) / 1e3 / static_cast<double>(messages);
  }
};

double echo(const target& to, std::size_t bytes, int connections, double seconds) {
  crowd all(to, "/echo", connections);
  const std::string message = frame(bytes, true);
  const std::uint64_t answer = frame(bytes, false).size();
  for (peer& p : all.peers) {
    p.wanted = answer;
    all.push(p, message);
  }
  window w{to, seconds};
  while (true) {
    std::uint64_t done = 0;
    all.poll([&](std::size_t i) {
      peer& p = all.peers[i];
      all.push(p, message);
      p.wanted -= std::min(p.wanted, all.drain(p));
      if (p.wanted != 0) return;
      ++done;
      p.wanted = answer;
      p.sent = 0;
      all.push(p, message);
    });
    if (w.add(done)) return w.cpu_us();
  }
}

/// One message from the last connection to all; returns once everybody (who reads) has it.
void broadcast_once(crowd& all, const std::string& message, std::uint64_t answer, std::size_t deaf) {
  peer& speaker = all.peers.back();
  speaker.sent = 0;
  std::size_t left = all.peers.size() - deaf;
  for (peer& p : all.peers) p.wanted = answer;
  all.push(speaker, message);
  while (left != 0)
    all.poll([&](std::size_t i) {
      peer& p = all.peers[i];
      if (&p == &speaker) all.push(p, message);
      const std::uint64_t got = all.drain(p);
      if (p.wanted != 0 && (p.wanted -= std::min(p.wanted, got)) == 0) --left;
    });
}

double broadcast(const target& to, std::size_t bytes, int connections, double seconds) {
  crowd all(to, "/broadcast", connections);
  const std::string message = frame(bytes, true);
  const std::uint64_t answer = frame(bytes, false).size();
  window w{to, seconds};
  do broadcast_once(all, message, answer, 0);
  while (!w.add(all.peers.size()));
  return w.cpu_us();
}

/// MiB of memory above idle at the peak while 500 messages of 16 KiB go to 1000 of which 100 never read.
double peak_mib(const target& to, int connections, int deaf, int messages) {
  const std::uint64_t idle = status_kib(to.pid, "VmRSS");
  crowd all(to, "/broadcast", connections, deaf);
  std::ofstream("/proc/" + std::to_string(to.pid) + "/clear_refs") << "5";  // the peak counts from here
  const std::string message = frame(16384, true);
  for (int i = 0; i != messages; ++i)
    broadcast_once(all, message, frame(16384, false).size(), static_cast<std::size_t>(deaf));
  return static_cast<double>(status_kib(to.pid, "VmHWM") - idle) / 1024;
}

/// Bytes of the resident set by idle connection; some are there before, so that no fixed cost is counted.
double idle_bytes(const target& to, int connections, const std::string& fields) {
  const crowd before(to, "/echo", 500, 0, fields);
  const std::uint64_t base = status_kib(to.pid, "VmRSS");
  const crowd all(to, "/echo", connections, 0, fields);
  std::this_thread::sleep_for(std::chrono::seconds(3));  // what is idle is parked
  const std::uint64_t now = status_kib(to.pid, "VmRSS");
  return (static_cast<double>(now) - static_cast<double>(base)) * 1024 / connections;
}

struct measure {
  const char* name;
  const char* unit;
  std::function<double(const target&)> run;
  bool on_two_cores = false;
  bool wants_fresh = false;  // a server that was just started: no memory that others left behind
};

std::vector<measure> measures(double seconds) {
  const auto echoes = [seconds](std::size_t bytes) {
    return [=](const target& to) { return echo(to, bytes, 64, seconds); };
  };
  const auto casts = [seconds](std::size_t bytes, int connections) {
    return [=](const target& to) { return broadcast(to, bytes, connections, seconds); };
  };
  return {
      {"echo-20", "CPU us/message", echoes(20)},
      {"echo-16K", "CPU us/message", echoes(16 << 10)},
      {"echo-256K", "CPU us/message", echoes(256 << 10)},
      {"broadcast-1000x1000", "CPU us/delivery", casts(1000, 1000), true},
      {"broadcast-1000x5000", "CPU us/delivery", casts(1000, 5000), true},
      {"broadcast-64Kx1000", "CPU us/delivery", casts(64 << 10, 1000), true},
      {"slow-readers", "peak MiB above idle", [](const target& to) { return peak_mib(to, 1000, 100, 500); }},
      {"idle", "bytes/connection", [](const target& to) { return idle_bytes(to, 14000, ""); }, false, true},
      {"idle-deflate", "bytes/connection",
       [](const target& to) {
         return idle_bytes(to, 14000,
                           "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
       },
       false, true}};
}

target parse_rival(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos) throw std::runtime_error("--rival takes PORT:PID, not " + text);
  const int pid = std::stoi(text.substr(colon + 1));
  std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
  std::string name = "?";
  std::getline(comm, name);
  return {name, std::stoi(text.substr(0, colon)), pid};
}

double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

int run(int argc, char** argv) {
  double seconds = 3;
  int rounds = 3;
  std::string program = std::filesystem::path(argv[0]).parent_path() / "../examples/http_server";
  std::vector<std::string> rivals, only;
  bool json = false;
  CLI::App app{"WebSocket echo and broadcast: CPU of the server by message."};
  app.add_option("--seconds", seconds, "of each measurement, behind a warm-up of a quarter")
      ->capture_default_str();
  app.add_option("--rounds", rounds, "of which the median counts")->capture_default_str();
  app.add_option("--program", program, "the server to start; empty: rivals only");
  app.add_option("--rival", rivals, "PORT:PID of a running server with /echo and /broadcast");
  app.add_option("--only", only, "names of measurements, or beginnings of them");
  app.add_flag("--json", json);
  CLI11_PARSE(app, argc, argv);
  raise_descriptor_limit();

  const auto with_cores = [&](const char* cores) {
    return start_server({program, "--listen", "127.0.0.1:0", "--deflate", "--cores", cores}, 0);
  };
  server ours, on_two_cores;
  std::vector<target> targets;
  if (!program.empty()) {
    ours = with_cores("1");
    on_two_cores = with_cores("2");
    targets.push_back({"catenet", ours.port, ours.process.pid()});
    targets.push_back({"catenet/2", on_two_cores.port, on_two_cores.process.pid()});
  }
  for (const std::string& one : rivals) {
    target t = parse_rival(one);
    const auto same = [&](const target& other) { return other.name == t.name; };
    if (std::any_of(targets.begin(), targets.end(), same)) t.name += ":" + std::to_string(t.port);
    targets.push_back(t);
  }
  pin_to(1);

  std::ostringstream out;
  for (const measure& m : measures(seconds)) {
    if (!only.empty() && std::none_of(only.begin(), only.end(), [&](const std::string& o) {
          return std::string(m.name).starts_with(o);
        }))
      continue;
    if (m.wants_fresh && !program.empty()) {
      ours = with_cores("1");
      targets[0] = {"catenet", ours.port, ours.process.pid()};
    }
    std::map<std::string, std::vector<double>> got;
    for (int round = 0; round != (m.wants_fresh ? 1 : rounds); ++round)
      for (const target& t : targets)
        if (m.on_two_cores || t.name != "catenet/2") got[t.name].push_back(m.run(t));
    std::printf(json ? "%s{\"name\":\"%s\",\"unit\":\"%s\"" : "%s%-22s %-20s",
                json && out.tellp() != 0 ? ",\n"
                : json                   ? "["
                                         : "",
                m.name, m.unit);
    out << '.';
    for (const target& t : targets)
      if (got.contains(t.name))
        std::printf(json ? ",\"%s\":%.2f" : "  %s %7.2f", t.name.c_str(), median(got[t.name]));
    std::printf(json ? "}" : "\n");
    std::fflush(stdout);
  }
  if (json) std::printf("]\n");
  return 0;
}

}  // namespace
}  // namespace catenet::bench

int main(int argc, char** argv) { return catenet::bench::run_program("ws", catenet::bench::run, argc, argv); }
