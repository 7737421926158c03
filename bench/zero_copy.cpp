// Which way bytes leave best: sizes by ways by where they lie, in turns, beside nginx and haproxy.
//
//   zero_copy                 everything, 1 KiB to 1 GiB
//   zero_copy --quick         a few sizes, one round: to see that it runs
//   zero_copy --calibrate [FILE]   only the thresholds of this host
//   zero_copy --svg FILE --markdown FILE --json FILE
//
//   file    read+write (pread into a block, send) · sendfile (a file region) · nginx (sendfile)
//   memory  copy (send) · page reference (a page body) · zero-copy (SENDMSG_ZC, forced) · auto (as the engine
//   chooses) relay   copy · splice · auto · haproxy (splice), each in front of the sendfile server
//
// A server runs on core 0, the load is one thread on core 1: a few connections that each have one answer
// under way. CPU is that of the server's (or relay's) threads by the scheduler, of which the ratios within
// one run count.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/engine/page_body.hpp>
#include <catenet/engine/relay.hpp>
#include <catenet/engine/stream.hpp>

#include "support/child.hpp"
#include "support/cpu_time.hpp"
#include "support/loopback.hpp"
#include "support/program.hpp"
#include "support/svg_plot.hpp"
#include "support/ways_report.hpp"

#include <CLI/CLI.hpp>
#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <sstream>

namespace catenet::bench {
namespace {

using clock = std::chrono::steady_clock;

struct settings {
  std::vector<std::uint64_t> sizes{1_KiB, 4_KiB, 16_KiB, 64_KiB, 256_KiB, 1_MiB, 16_MiB, 256_MiB, 1024_MiB};
  int rounds = 3;
  int connections = 4;
  std::uint64_t moved_max = 192_MiB;  // by one measurement, unless one answer is longer
  std::uint64_t answers_max = 3000;
  bool paced = false;
  bool calibrates = false;
  std::string svg, json, markdown, thresholds;
};

// ---- servers: whoever sends 8 bytes, a size, is answered with a head and so many

constexpr std::size_t head_bytes = 128;  // about what nginx sends before a body

enum class way : std::uint8_t { read_write, sendfile, copy, page_reference, zero_copy, automatic };

class answering final : public protocol {
 public:
  answering(way how, int file, const page_body& body) : how_(how), file_(file), body_(body) {}

  void received(stream& s, chain&& bytes) override {
    chain& asked = asked_[&s];
    asked.append(std::move(bytes));
    while (asked.bytes() >= sizeof(std::uint64_t)) {
      std::array<std::byte, sizeof(std::uint64_t)> raw;
      asked.copy_to(raw);
      asked.consume(raw.size());
      std::uint64_t size = 0;
      std::memcpy(&size, raw.data(), sizeof size);
      answer(s, size);
    }
  }
  void writable(stream& s) override {
    if (how_ == way::read_write) read_on(s);
  }
  void closed(stream& s) override {
    asked_.erase(&s);
    left_.erase(&s);
  }

 private:
  struct part {
    std::uint64_t at = 0, left = 0;
  };

  void answer(stream& s, std::uint64_t size) {
    chain all = chain::copy_of(head_);
    switch (how_) {
      case way::read_write:
        left_[&s] = {0, size};
        s.send(std::move(all));
        return read_on(s);
      case way::sendfile:
        if (!all.append_file(file_, 0, size, false)) return s.abort();
        break;
      case way::copy:
      case way::zero_copy:
        if (!append_memory(all, size)) return s.abort();
        break;
      case way::page_reference:
      case way::automatic:
        all.append(body_.view(0, size));
        break;
    }
    s.send(std::move(all));
  }

  // Memory that happens to be mapped pages, but is not told to be.
  bool append_memory(chain& all, std::uint64_t size) {
    constexpr std::uint64_t part_max = 256_MiB;
    for (std::uint64_t at = 0; at < size; at += part_max) {
      auto* data = const_cast<std::byte*>(body_.memory().data() + at);
      if (!all.append_foreign(
              data, std::min(part_max, size - at), [](void*, void*, std::size_t) {}, nullptr))
        return false;
    }
    return true;
  }

  void read_on(stream& s) {
    part& p = left_[&s];
    while (p.left != 0) {
      chain next;
      reservation room = next.reserve(std::min<std::uint64_t>(p.left, 256_KiB));
      if (!room) return s.abort();
      const std::size_t most = std::min<std::uint64_t>(room.bytes().size(), p.left);
      const ssize_t got = pread(file_, room.bytes().data(), most, static_cast<off_t>(p.at));
      if (got <= 0) return s.abort();
      room.commit(static_cast<std::size_t>(got));
      p.at += static_cast<std::uint64_t>(got);
      p.left -= static_cast<std::uint64_t>(got);
      if (s.send(std::move(next)) != send_result::sent) return;
    }
  }

  const std::string head_ = std::string(head_bytes, 'h');
  way how_;
  int file_;
  const page_body& body_;
  std::map<stream*, chain> asked_;
  std::map<stream*, part> left_;
};

/// What the load talks to.
struct target {
  std::string source;  // file, memory, relay
  std::string name;
  int port = 0;
  pid_t pid = 0;  // whose processor time counts
  bool speaks_http = false;
  std::vector<child> processes = {};
};

// Forks a process that calls `serve` with a function to tell its port by, and waits for that.
child start_told(const std::function<void(const std::function<void(int)>&)>& serve, int& port) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("making a pipe (pipe2)");
  child made = fork_on(0, [&] {
    serve([&](int mine) {
      if (write(ends[1], &mine, sizeof mine) != sizeof mine) fail("telling the port (write)");
    });
  });
  close(ends[1]);
  if (read(ends[0], &port, sizeof port) != sizeof port)
    throw std::runtime_error("a server did not say where it listens");
  close(ends[0]);
  return made;
}

target start_answering(const std::string& source, const std::string& name, way w, bool paced,
                       const std::string& path, const page_body& body) {
  target made{source, name};
  made.processes.push_back(start_told(
      [&](const std::function<void(int)>& tell) {
        const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        engine_options o;
        o.pace_within_host = paced;
        if (w == way::copy || w == way::read_write) o.zero_copy = zero_copy_use::never;
        if (w == way::zero_copy) o.zero_copy = zero_copy_use::always;
        if (w == way::zero_copy) o.zero_copy_bytes_min = 1;
        if (w == way::zero_copy) o.zero_copy_pinned_max = ~std::uint64_t{0};
        if (w == way::page_reference) o.page_reference_bytes_min = 1;
        engine net{o};
        endpoint at;
        const auto make = [&](core&) { return std::make_unique<answering>(w, file, body); };
        if (const error e = net.listen("127.0.0.1:0", make, &at)) throw std::runtime_error(e.text());
        net.on_start([&] { tell(at.port()); });
        net.run();
      },
      made.port));
  made.pid = made.processes.back().pid();
  return made;
}

target start_relay(const std::string& name, relay_mode mode, bool paced, int to) {
  target made{"relay", name};
  made.processes.push_back(start_told(
      [&](const std::function<void(int)>& tell) {
        engine_options o;
        o.pace_within_host = paced;
        engine net{o};
        relay joined{net, {.mode = mode}};
        endpoint at;
        const std::string where = "127.0.0.1:" + std::to_string(to);
        if (const error e = joined.listen("127.0.0.1:0", where, &at)) throw std::runtime_error(e.text());
        net.on_start([&] { tell(at.port()); });
        net.run();
      },
      made.port));
  made.pid = made.processes.back().pid();
  return made;
}

int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at = loopback_address(1, 0);
  socklen_t length = sizeof at;
  if (bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&at), &length) != 0)
    fail("finding a free port (bind)");
  close(fd);
  return ntohs(at.sin_port);
}

// Another's server, which is told its port by its configuration. No target when it is not installed.
std::vector<target> start_other(const std::string& source, const std::string& name,
                                const std::string& program, int port,
                                const std::vector<std::string>& arguments) {
  std::vector<target> made;
  if (!std::filesystem::exists(program)) {
    std::fprintf(stderr, "note: %s is left out: there is no %s\n", name.c_str(), program.c_str());
    return made;
  }
  made.push_back({source, name, port});
  made.back().processes.push_back(fork_on(0, [&] {
    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    fail("starting " + program);
  }));
  made.back().pid = made.back().processes.back().pid();
  for (int i = 0; i != 500; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback_address(1, port);
    const bool listens = connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    close(fd);
    if (listens) return made;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  throw std::runtime_error(name + " does not listen");
}

std::vector<target> start_nginx(const std::string& home) {
  const int port = free_port();
  const std::string config = home + "/nginx.conf";
  std::ofstream(config)
      << "daemon off; master_process off; worker_processes 1; pid " << home << "/pid;\nerror_log " << home
      << "/error.log;\nevents { worker_connections 512; }\nhttp { access_log off; sendfile on; "
      << "keepalive_requests 1000000000; server { listen 127.0.0.1:" << port << "; root " << home
      << "/root; } }\n";
  std::vector<target> made = start_other("file", "nginx", "/usr/sbin/nginx", port,
                                         {"-c", config, "-p", home, "-e", home + "/error.log"});
  for (target& t : made) t.speaks_http = true;
  return made;
}

std::vector<target> start_haproxy(const std::string& home, int to) {
  const int port = free_port();
  const std::string config = home + "/haproxy.cfg";
  std::ofstream(config)
      << "global\n  nbthread 1\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 5s\n"
      << "  timeout client 60s\n  timeout server 60s\n  option splice-auto\n  option splice-request\n"
      << "  option splice-response\nlisten relay\n  bind 127.0.0.1:" << port
      << "\n  server source 127.0.0.1:" << to << "\n";
  return start_other("relay", "haproxy", "/usr/sbin/haproxy", port, {"-db", "-f", config});
}

// ---- load

// One connection with one answer under way.
class asker {
 public:
  asker(const target& to, std::uint64_t size)
      : size_(size), http_(to.speaks_http), fd_(connect_loopback(to.port)) {
    if (http_)
      request_ =
          "GET /bytes HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=0-" + std::to_string(size - 1) + "\r\n\r\n";
    else
      request_.assign(reinterpret_cast<const char*>(&size), sizeof size);
  }
  ~asker() { close(fd_); }
  asker(const asker&) = delete;
  asker& operator=(const asker&) = delete;

  void ask() {
    began_ = clock::now();
    left_ = http_ ? size_ : head_bytes + size_;
    head_ = http_ ? std::string{} : std::string{"\r\n\r\n"};
    send_all(fd_, request_);
  }
  [[nodiscard]] int descriptor() const { return fd_; }
  [[nodiscard]] double took_us() const {
    return std::chrono::duration<double, std::micro>(clock::now() - began_).count();
  }
  /// Takes what is there. True once the answer is complete.
  bool take(std::vector<char>& buffer) {
    const ssize_t got = recv(fd_, buffer.data(), buffer.size(), 0);
    if (got <= 0) fail("reading an answer (recv)", "the server closed the connection, or took over 10 s");
    std::size_t body = static_cast<std::size_t>(got);
    if (!head_.ends_with("\r\n\r\n")) {
      const std::size_t before = head_.size();
      head_.append(buffer.data(), body);
      const std::size_t end = head_.find("\r\n\r\n");
      if (end == std::string::npos) return false;
      if (!head_.starts_with("HTTP/1.1 206"))
        throw std::runtime_error("nginx answered: " + head_.substr(0, 100));
      body -= end + 4 - before;
      head_.resize(end + 4);
    }
    left_ -= std::min<std::uint64_t>(left_, body);
    return left_ == 0;
  }

 private:
  std::uint64_t size_;
  bool http_;
  int fd_;
  std::string request_;
  std::string head_;
  std::uint64_t left_ = 0;
  clock::time_point began_;
};

// Each connection asks again as soon as it has its answer, until so many answers are there.
std::vector<double> ask_all(const target& to, std::uint64_t size, std::uint64_t answers, int connections) {
  std::vector<std::unique_ptr<asker>> askers;
  std::vector<pollfd> polled;
  std::uint64_t asked = 0;
  for (int i = 0; i != connections && asked != answers; ++i, ++asked) {
    askers.push_back(std::make_unique<asker>(to, size));
    polled.push_back({askers.back()->descriptor(), POLLIN, 0});
    askers.back()->ask();
  }
  std::vector<double> latencies;
  std::vector<char> buffer(256_KiB);
  while (latencies.size() != answers) {
    if (poll(polled.data(), polled.size(), 30'000) <= 0)
      fail("waiting for an answer (poll)", "none came within 30 s");
    for (std::size_t i = 0; i != polled.size(); ++i) {
      if (polled[i].revents == 0 || !askers[i]->take(buffer)) continue;
      latencies.push_back(askers[i]->took_us());
      if (asked == answers) {
        polled[i].fd = -1;
        polled[i].revents = 0;
        continue;
      }
      askers[i]->ask();
      ++asked;
    }
  }
  return latencies;
}

sample measure(const target& to, std::uint64_t size, const settings& how) {
  const std::uint64_t answers = std::clamp<std::uint64_t>(how.moved_max / size, 1, how.answers_max);
  ask_all(to, std::min<std::uint64_t>(size, 16_MiB), 2, 1);
  const std::uint64_t cpu = cpu_ns(to.pid);
  const clock::time_point began = clock::now();
  std::vector<double> latencies = ask_all(to, size, answers, how.connections);
  const double took_s = std::chrono::duration<double>(clock::now() - began).count();
  const double used_s = static_cast<double>(cpu_ns(to.pid) - cpu) / 1e9;
  const double gb = static_cast<double>(answers * size) / 1e9;
  std::sort(latencies.begin(), latencies.end());
  return {used_s / gb, gb / took_s, latencies[latencies.size() / 2], latencies[latencies.size() * 99 / 100]};
}

// ---- results

sample median(std::vector<sample> all) {
  const auto of = [&](double sample::*field) {
    std::sort(all.begin(), all.end(), [&](const sample& a, const sample& b) { return a.*field < b.*field; });
    return all[all.size() / 2].*field;
  };
  return {of(&sample::cpu_s_per_gb), of(&sample::gb_per_s), of(&sample::p50_us), of(&sample::p99_us)};
}

std::string full_name(const target& t) { return t.source + ": " + t.name; }

results run_all(const std::vector<target>& targets, const settings& how) {
  std::map<std::string, std::map<std::uint64_t, std::vector<sample>>> samples;
  for (int round = 0; round != how.rounds; ++round)
    for (const std::uint64_t size : how.sizes)
      for (std::size_t i = 0; i != targets.size(); ++i) {
        const target& t = targets[round % 2 == 0 ? i : targets.size() - 1 - i];
        samples[full_name(t)][size].push_back(measure(t, size, how));
      }
  results medians;
  for (auto& [name, by_size] : samples)
    for (auto& [size, all] : by_size) medians[name][size] = median(std::move(all));
  return medians;
}

struct temporary_home {
  temporary_home() {
    char name[] = "/tmp/catenet-zero-copy-XXXXXX";
    if (mkdtemp(name) == nullptr) fail("making a folder in /tmp (mkdtemp)");
    path = name;
    std::filesystem::create_directory(path + "/root");
  }
  ~temporary_home() { std::filesystem::remove_all(path); }
  temporary_home(const temporary_home&) = delete;
  temporary_home& operator=(const temporary_home&) = delete;
  std::string path;
};

// A file of bytes in the page cache.
void make_file(const std::string& path, std::uint64_t bytes) {
  std::ofstream out(path, std::ios::binary);
  const std::string part(1_MiB, 'x');
  for (std::uint64_t at = 0; at < bytes; at += part.size())
    out.write(part.data(), static_cast<std::streamsize>(std::min<std::uint64_t>(part.size(), bytes - at)));
  if (!out.flush())
    throw std::runtime_error("writing " + path + " failed; it needs " +
                             size_text(static_cast<double>(bytes)));
}

// What the thresholds are found by.
std::vector<target> start_for_thresholds(const std::string& file, const page_body& body, bool paced) {
  std::vector<target> all;
  all.push_back(start_answering("memory", "copy", way::copy, paced, file, body));
  all.push_back(start_answering("memory", "page reference", way::page_reference, paced, file, body));
  const int behind = all.back().port;
  all.push_back(start_answering("memory", "zero-copy", way::zero_copy, paced, file, body));
  all.push_back(start_relay("copy", relay_mode::copy, paced, behind));
  all.push_back(start_relay("splice", relay_mode::splice, paced, behind));
  return all;
}

std::vector<target> start_all(const std::string& home, const std::string& file, const page_body& body,
                              bool paced) {
  std::vector<target> all;
  all.push_back(start_answering("file", "read+write", way::read_write, paced, file, body));
  all.push_back(start_answering("file", "sendfile", way::sendfile, paced, file, body));
  const int behind = all.back().port;
  all.push_back(start_answering("memory", "copy", way::copy, paced, file, body));
  all.push_back(start_answering("memory", "page reference", way::page_reference, paced, file, body));
  all.push_back(start_answering("memory", "zero-copy", way::zero_copy, paced, file, body));
  all.push_back(start_answering("memory", "auto", way::automatic, paced, file, body));
  all.push_back(start_relay("copy", relay_mode::copy, paced, behind));
  all.push_back(start_relay("splice", relay_mode::splice, paced, behind));
  all.push_back(start_relay("auto", relay_mode::automatic, paced, behind));
  std::vector<target> nginx = start_nginx(home);
  std::vector<target> haproxy = start_haproxy(home, behind);
  for (target& t : nginx) all.push_back(std::move(t));
  for (target& t : haproxy) all.push_back(std::move(t));
  return all;
}

int run(int argc, char** argv) {
  CLI::App app{"Ways that bytes leave, by size"};
  settings how;
  bool quick = false;
  app.add_flag("--quick", quick, "a few sizes, one round: to see that it runs");
  CLI::Option* const sizes =
      app.add_option("--sizes", how.sizes, "bytes, with commas between")->delimiter(',');
  app.add_option("--rounds", how.rounds, "measurements of each; medians count")->capture_default_str();
  app.add_option("--connections", how.connections, "answers under way at a time")->capture_default_str();
  app.add_flag("--paced", how.paced, "leave ours to the system's congestion control, as the others are");
  app.add_option("--svg", how.svg, "write a plot to FILE");
  app.add_option("--markdown", how.markdown, "write a table to FILE");
  app.add_option("--json", how.json, "write the figures to FILE");
  CLI::Option* const calibrate =
      app.add_option("--calibrate", how.thresholds, "only the thresholds of this host; also to FILE")
          ->expected(0, 1);
  CLI11_PARSE(app, argc, argv);
  how.calibrates = calibrate->count() != 0;
  if (how.calibrates && sizes->count() == 0) {
    how.sizes = {4_KiB, 16_KiB, 64_KiB, 256_KiB, 1_MiB};
    how.moved_max = 32_MiB;
  }
  if (quick) {
    how.sizes = {4_KiB, 64_KiB, 1_MiB, 16_MiB};
    how.rounds = 1;
    how.moved_max = 16_MiB;
    how.answers_max = 300;
  }
  std::sort(how.sizes.begin(), how.sizes.end());
  const temporary_home home;
  const std::string file = home.path + "/root/bytes";
  make_file(file, how.sizes.back());
  const page_body body =
      page_body::copy_of(std::as_bytes(std::span<const char>(std::string(how.sizes.back(), 'x'))));
  if (!body)
    fail("making a page body", "it needs " + size_text(static_cast<double>(how.sizes.back())) + " of memory");
  pin_to(1);
  const std::vector<target> targets = how.calibrates ? start_for_thresholds(file, body, how.paced)
                                                     : start_all(home.path, file, body, how.paced);
  double load = 0;
  if (getloadavg(&load, 1) == 1) std::printf("load before: %.1f\n", load);
  const results found = run_all(targets, how);
  print_table(found, how.sizes);
  print_thresholds(found, how.thresholds);
  if (!how.calibrates) judge_auto(found, how.sizes);
  if (!how.json.empty()) write_json(found, how.json);
  if (!how.markdown.empty()) write_markdown(found, how.sizes, how.rounds, how.markdown);
  if (!how.svg.empty()) write_svg(found, how.svg);
  return 0;
}

}  // namespace
}  // namespace catenet::bench

int main(int argc, char** argv) {
  return catenet::bench::run_program("zero_copy", catenet::bench::run, argc, argv);
}
