// What a quiet connection costs a server: memory of its own process (resident set) and memory of the kernel
// (slab caches).
//
// N real connections are opened over loopback and brought into a state; then both are read again and the
// difference is divided by N. Two things make that difference honest:
//  - Some hundred connections are opened first and stay open, so the server's fixed reserve, and whatever the
//  kernel allocates
//    at first use, is in "before", and none of their memory is recycled for the measured ones.
//  - Both ends of a loopback connection are in the kernel's figures. The same N connections are therefore
//  also held against a
//    listener that does nothing but accept and answer with blocking calls. What is left after subtracting
//    that is what the server's event mechanism (io_uring requests, polls, epoll items) costs beyond the
//    sockets themselves.
// Use a server that was just started: io_uring keeps its requests for reuse until the ring goes, so a second
// measurement of the same process would find them paid already.

#include "support/child.hpp"
#include "support/loopback.hpp"
#include "support/measured_memory.hpp"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace catenet::bench;

constexpr int server_core = 0;
constexpr int client_core = 1;
constexpr int stalled_receive_buffer_bytes = 4096;
constexpr int stalled_body_bytes = 1 << 20;

enum class state { idle, upgraded, partial_head, stalled_reader };

struct options {
  state wanted = state::idle;
  std::string state_name;
  int connections = 14000;
  int warm_up = 500;
  int settle_ms = 3000;
  std::string path;  // "": the usual one of the state
  int target_port = 0;
  std::vector<int> pids;
  std::string io = "auto";  // of the http_server that is started
  std::string program;
  bool json = false;
};

// ---- one connection, brought into its state ----

std::string request_for(const options& how) {
  const std::string host = " HTTP/1.1\r\nHost: 127.0.0.1\r\n";
  switch (how.wanted) {
    case state::idle:
      return "GET " + how.path + host + "\r\n";
    case state::upgraded:
      return "GET " + how.path + host +
             "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";  // the sample key of RFC 6455,
                                                                     // section 1.3
    case state::partial_head:
      return "GET " + how.path + host + "User-Agent: half a he";
    case state::stalled_reader:
      return "GET " + how.path + host + "\r\n";
  }
  return {};
}

void read_what_the_state_needs(int fd, state wanted) {
  if (wanted == state::idle) expect_status(fd, "200");
  if (wanted == state::upgraded) expect_status(fd, "101");
}

/// Opens `count` connections, a small batch at a time so that a listener's queue never overflows.
void open_all(int port, int source, int count, const options& how) {
  constexpr int batch_max = 100;
  const std::string request = request_for(how);
  const connect_options socket_options{
      .source = source,
      .receive_buffer_bytes = how.wanted == state::stalled_reader ? stalled_receive_buffer_bytes : 0};
  for (int opened = 0; opened < count;) {
    std::vector<int> batch;
    while (opened < count && static_cast<int>(batch.size()) < batch_max) {
      batch.push_back(connect_loopback(port, socket_options));
      ++opened;
    }
    for (int fd : batch) send_all(fd, request);
    for (int fd : batch) read_what_the_state_needs(fd, how.wanted);
  }
}

/// Connections held open by processes of their own, so that their descriptors count against no one else's
/// limit; closed (reset) when this object goes.
class held_connections {
 public:
  held_connections(int port, int count, const options& how) {
    constexpr int per_process_max =
        15000;  // below the usual hard limit of 20,000 descriptors, and of 28,000 ports an address
    for (int source = 1; count > 0; ++source, count -= per_process_max)
      hold(port, source, std::min(count, per_process_max), how);
  }

 private:
  void hold(int port, int source, int count, const options& how) {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) fail("making a pipe to a client process (pipe2)");
    holders_.push_back(fork_on(client_core, [&] {
      open_all(port, source, count, how);
      if (::write(ready[1], "+", 1) != 1) fail("telling that the connections are open (write)");
      for (;;) ::pause();  // until SIGTERM
    }));
    ::close(ready[1]);
    char answer = 0;
    const bool opened = ::read(ready[0], &answer, 1) == 1;
    ::close(ready[0]);
    if (!opened)
      throw std::runtime_error("opening " + std::to_string(count) +
                               " connections failed, for the reason above");
  }

  std::vector<child> holders_;
};

// ---- the listener that does nothing ----

/// Accepts, answers as the state needs, and keeps the socket: what N connections cost the kernel with no
/// event mechanism at all.
[[noreturn]] void accept_and_do_nothing(int listener, state wanted) {
  const std::string answer = wanted == state::upgraded
                                 ? "HTTP/1.1 101 Switching Protocols\r\n\r\n"
                                 : "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!";
  const std::string body(stalled_body_bytes, 'x');
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) fail("accepting in the do-nothing listener (accept4)");
    char request[4096];
    if (::recv(fd, request, sizeof request, 0) < 0) fail("reading in the do-nothing listener (recv)");
    if (wanted == state::idle || wanted == state::upgraded) send_all(fd, answer);
    if (wanted == state::stalled_reader)
      for (std::size_t at = 0; at < body.size();) {
        const ssize_t sent = ::send(fd, body.data() + at, body.size() - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0) break;
        at += static_cast<std::size_t>(sent);
      }
  }
}

server start_do_nothing_listener(state wanted) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback_address(1, 0);
  socklen_t size = sizeof address;
  if (listener < 0 || ::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener, 4096) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    fail("listening on 127.0.0.1 for the do-nothing listener");
  auto process = fork_on(server_core, [&] { accept_and_do_nothing(listener, wanted); });
  ::close(listener);
  return {std::move(process), ntohs(address.sin_port)};
}

// ---- measuring ----

struct snapshot {
  std::int64_t resident = 0;
  slab_sample slabs;
  std::int64_t queued = 0;  // bytes in TCP sockets' queues
  std::string stats;        // body of GET /stats, "" where there is none
};

struct measurement {
  std::int64_t at_start = 0;  // resident bytes before any connection
  snapshot earlier;           // with the warm-up connections; the same again is `before`, and shows the noise
  snapshot before;
  snapshot settled;                // with the measured connections as well
  std::int64_t after_closing = 0;  // resident bytes
};

void settle(const options& how) { std::this_thread::sleep_for(std::chrono::milliseconds(how.settle_ms)); }

std::int64_t resident_bytes_of(const std::vector<int>& pids) {
  std::int64_t bytes = 0;
  for (int pid : pids) bytes += resident_bytes(pid);
  return bytes;
}

snapshot take(const slab_caches& caches, const std::vector<int>& pids, int stats_port) {
  snapshot now;
  now.resident = resident_bytes_of(pids);  // first: asking for /stats is itself a connection
  now.slabs = caches.sample();
  now.queued = tcp_queue_bytes();
  if (stats_port != 0) now.stats = get_body(stats_port, "/stats");
  if (!now.stats.starts_with('{')) now.stats.clear();
  return now;
}

measurement measure(int port, const std::vector<int>& pids, const options& how, bool ask_stats) {
  const slab_caches caches;
  const int stats_port = ask_stats ? port : 0;
  measurement result;
  result.at_start = resident_bytes_of(pids);
  {
    const held_connections warm_up(port, how.warm_up, how);
    settle(how);
    result.earlier = take(caches, pids, stats_port);
    settle(how);
    result.before = take(caches, pids, stats_port);
    const held_connections measured(port, how.connections, how);
    settle(how);
    result.settled = take(caches, pids, stats_port);
  }
  settle(how);
  result.after_closing = resident_bytes_of(pids);
  return result;
}

// ---- what the figures say ----

std::int64_t objects(const slab_sample& sample, const std::string& name) {
  const auto found = sample.find(name);
  return found == sample.end() ? 0 : found->second.objects;
}

struct cache_cost {
  std::string name;
  std::int64_t object_bytes;
  double server;   // bytes a connection, both ends
  double nothing;  // the same held against the do-nothing listener
  double noise;    // what this cache changed by while nothing happened
  /// Directory entries belong to the sockets alone, and other programs use many; packets (skbuff) are the
  /// bytes that are queued, as many as the sockets' buffers happen to take. Both are shown, and left out of
  /// the difference.
  bool counts() const { return !name.starts_with("dentry") && name.find("skbuff") == std::string::npos; }
  double beyond() const { return server - nothing; }
};

/// Bytes by which one cache has grown.
std::int64_t grown(const std::string& name, const slab_cache& cache, const snapshot& from,
                   const snapshot& to) {
  return (objects(to.slabs, name) - objects(from.slabs, name)) * cache.object_bytes;
}

struct report {
  double user = 0;     // bytes a connection
  double slab = 0;     // both ends
  double nothing = 0;  // both ends
  double beyond = 0;
  double noise = 0;
  double queued = 0;
  double queued_nothing = 0;
  std::vector<cache_cost> caches;
};

report conclude(const measurement& server, const measurement& nothing, int connections) {
  const auto each = [&](std::int64_t bytes) { return static_cast<double>(bytes) / connections; };
  report result;
  result.user = each(server.settled.resident - server.before.resident);
  result.queued = each(server.settled.queued - server.before.queued);
  result.queued_nothing = each(nothing.settled.queued - nothing.before.queued);
  for (const auto& [name, cache] : server.settled.slabs) {
    cache_cost cost{name, cache.object_bytes, each(grown(name, cache, server.before, server.settled)),
                    each(grown(name, cache, nothing.before, nothing.settled)),
                    each(grown(name, cache, server.earlier, server.before))};
    result.slab += cost.server;
    result.nothing += cost.nothing;
    if (cost.counts()) result.beyond += cost.beyond();
    if (cost.counts()) result.noise += cost.noise;
    result.caches.push_back(std::move(cost));
  }
  return result;
}

/// The size classes in the body of GET /stats:
/// {"classes":[{"size":..,"total":..,"rented":..,"cached":..,"lent":..},..]}.
struct block_class {
  std::map<std::string, std::int64_t> fields;
  std::int64_t operator[](const std::string& name) const { return fields.count(name) ? fields.at(name) : 0; }
};

std::vector<block_class> block_classes(const std::string& stats) {
  static const std::regex object(R"(\{[^{}]*"size"[^{}]*\})");
  static const std::regex field(R"-("(\w+)"\s*:\s*(-?\d+))-");
  std::vector<block_class> classes;
  for (std::sregex_iterator at(stats.begin(), stats.end(), object), end; at != end; ++at) {
    const std::string text = at->str();
    block_class one;
    for (std::sregex_iterator member(text.begin(), text.end(), field); member != std::sregex_iterator();
         ++member)
      one.fields[(*member)[1]] = std::stoll((*member)[2]);
    classes.push_back(std::move(one));
  }
  return classes;
}

// ---- printing ----

std::string program_of(int pid) {
  std::string name;
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/comm"), name);
  return name;
}

void print_caches(const report& found) {
  constexpr double least_bytes = 0.5;  // smaller differences are other programs' noise
  std::printf("\nkernel, slab caches, bytes a connection (both ends are on this machine)\n");
  std::printf("  %-44s %6s %10s %12s %10s\n", "cache", "object", "server", "do-nothing", "beyond");
  for (const auto& cost : found.caches) {
    if (std::max(std::abs(cost.server), std::abs(cost.nothing)) < least_bytes) continue;
    std::printf("  %-44s %6" PRId64 " %10.1f %12.1f ", cost.name.substr(0, 44).c_str(), cost.object_bytes,
                cost.server, cost.nothing);
    if (cost.counts())
      std::printf("%10.1f\n", cost.beyond());
    else
      std::printf("%10s\n", "-");
  }
  std::printf("  %-44s %6s %10.1f %12.1f %10.1f  beyond the sockets themselves\n", "sum", "", found.slab,
              found.nothing, found.beyond);
  std::printf("  %-44s %6s %10.1f %12.1f\n", "bytes queued in sockets (sockstat, pages)", "", found.queued,
              found.queued_nothing);
  std::printf(
      "  noise: the same caches changed by %.1f bytes a connection in the same time while nothing was done\n",
      found.noise);
}

void print_blocks(const measurement& server) {
  const auto classes = block_classes(server.settled.stats);
  if (classes.empty()) return;
  std::printf("\nblocks of the server with all connections settled (GET /stats)\n");
  std::printf("  %10s %10s %10s %10s %10s\n", "size", "total", "rented", "cached", "lent");
  for (const auto& one : classes)
    std::printf("  %10" PRId64 " %10" PRId64 " %10" PRId64 " %10" PRId64 " %10" PRId64 "\n", one["size"],
                one["total"], one["rented"], one["cached"], one["lent"]);
}

void print_table(const measurement& server, const report& found, const options& how) {
  const auto kib = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1024; };
  std::printf("memory per connection: %s, %d connections, %s, settled for %d ms\n\n", how.state_name.c_str(),
              how.connections, how.program.c_str(), how.settle_ms);
  std::printf("user memory (resident set of the server)\n");
  std::printf("  %-44s %10.0f KiB\n", "reserve at start", kib(server.at_start));
  std::printf("  %-44s %10.0f KiB\n",
              ("with " + std::to_string(how.warm_up) + " warm-up connections").c_str(),
              kib(server.before.resident));
  std::printf("  %-44s %10.0f KiB\n", ("with " + std::to_string(how.connections) + " more").c_str(),
              kib(server.settled.resident));
  std::printf("  %-44s %10.0f KiB\n", "after closing all", kib(server.after_closing));
  std::printf("  %-44s %10.1f bytes\n", "a connection", found.user);
  print_caches(found);
  print_blocks(server);
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (char letter : text) {
    if (letter == '"' || letter == '\\') result += '\\';
    if (static_cast<unsigned char>(letter) >= 0x20) result += letter;
  }
  return result + "\"";
}

void print_json(const measurement& server, const report& found, const options& how) {
  std::printf("{\"state\":%s,\"connections\":%d,\"warm_up\":%d,\"settle_ms\":%d,\"server\":%s,\n",
              quoted(how.state_name).c_str(), how.connections, how.warm_up, how.settle_ms,
              quoted(how.program).c_str());
  std::printf(" \"user_bytes_per_connection\":%.1f,\"resident_bytes\":{\"start\":%" PRId64
              ",\"before\":%" PRId64 ",\"settled\":%" PRId64 ",\"closed\":%" PRId64 "},\n",
              found.user, server.at_start, server.before.resident, server.settled.resident,
              server.after_closing);
  std::printf(
      " \"kernel_bytes_per_connection\":%.1f,\"kernel_bytes_per_connection_do_nothing\":%.1f,"
      "\"kernel_bytes_beyond_sockets\":%.1f,\"noise_bytes_per_connection\":%.1f,\n",
      found.slab, found.nothing, found.beyond, found.noise);
  std::printf(
      " \"queued_bytes_per_connection\":%.1f,\"queued_bytes_per_connection_do_nothing\":%.1f,\n \"caches\":[",
      found.queued, found.queued_nothing);
  const char* separator = "";
  for (const auto& cost : found.caches) {
    std::printf("%s\n  {\"name\":%s,\"object_bytes\":%" PRId64 ",\"server\":%.1f,\"do_nothing\":%.1f}",
                std::exchange(separator, ","), quoted(cost.name).c_str(), cost.object_bytes, cost.server,
                cost.nothing);
  }
  std::printf("],\n \"stats_before\":%s,\n \"stats_settled\":%s}\n",
              server.before.stats.empty() ? "null" : server.before.stats.c_str(),
              server.settled.stats.empty() ? "null" : server.settled.stats.c_str());
}

// ---- the program ----

options parse(int argc, char** argv, CLI::App& app) {
  options how;
  const std::map<std::string, state> states{{"idle", state::idle},
                                            {"upgraded", state::upgraded},
                                            {"partial-head", state::partial_head},
                                            {"stalled-reader", state::stalled_reader}};
  how.state_name = "idle";
  app.add_option("--state", how.state_name,
                 "idle: one GET, answered; upgraded: a WebSocket handshake, answered; partial-head: half a "
                 "request head sent; "
                 "stalled-reader: asked for 1 MiB and reads nothing")
      ->check(CLI::IsMember({"idle", "upgraded", "partial-head", "stalled-reader"}))
      ->capture_default_str();
  auto* count = app.add_option("--connections", how.connections,
                               "how many are measured (14000, or 1000 for stalled-reader)");
  count->check(CLI::Range(1, 100000));
  app.add_option("--warm-up", how.warm_up, "connections opened before, and kept open")
      ->check(CLI::Range(0, 4000))
      ->capture_default_str();
  app.add_option("--settle-ms", how.settle_ms, "time for the server to come to rest")->capture_default_str();
  app.add_option("--path", how.path,
                 "what is asked for (/, /echo for upgraded, /bytes/1048576 for stalled-reader)");
  app.add_option("--io", how.io, "back end of the http_server that is started: auto, uring or epoll")
      ->check(CLI::IsMember({"auto", "uring", "epoll"}))
      ->capture_default_str();
  auto* port = app.add_option(
      "--target", how.target_port,
      "port on 127.0.0.1 of a running server, just started; without it, http_server is started");
  app.add_option("--pid", how.pids, "process of --target, given again for each process of that server")
      ->needs(port);
  app.add_flag("--json", how.json, "print JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  how.wanted = states.at(how.state_name);
  if (how.target_port != 0 && how.pids.empty())
    throw std::runtime_error("--target needs --pid, for the server's resident set");
  if (how.wanted == state::stalled_reader && count->count() == 0) how.connections = 1000;
  if (how.path.empty()) {
    how.path = how.wanted == state::upgraded         ? "/echo"
               : how.wanted == state::stalled_reader ? "/bytes/" + std::to_string(stalled_body_bytes)
                                                     : "/";
  }
  return how;
}

void run(options how) {
  const std::size_t limit = raise_descriptor_limit();
  const auto needed = static_cast<std::size_t>(how.connections + how.warm_up);
  if (needed + 100 > limit)
    std::fprintf(stderr,
                 "note: %zu connections, and a process may open %zu files; a server that uses descriptors "
                 "will run out\n",
                 needed, limit);
  pin_to(client_core);
  std::optional<server> started;
  if (how.target_port == 0) {
    const auto program =
        std::filesystem::canonical("/proc/self/exe").parent_path().parent_path() / "examples" / "http_server";
    started = start_server({program, "--listen", "127.0.0.1:0", "--cores", "1", "--io", how.io}, server_core);
    how.target_port = started->port;
    how.pids = {started->process.pid()};
  }
  how.program = program_of(how.pids.front());
  const measurement of_server = measure(how.target_port, how.pids, how, how.wanted != state::stalled_reader);
  started.reset();
  const server listener = start_do_nothing_listener(how.wanted);
  const measurement of_nothing = measure(listener.port, {}, how, false);
  const report found = conclude(of_server, of_nothing, how.connections);
  if (how.json)
    print_json(of_server, found, how);
  else
    print_table(of_server, found, how);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"What a quiet connection costs a server in user and kernel memory (as root; Linux)"};
  try {
    run(parse(argc, argv, app));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "memory_per_connection: %s\n", error.what());
    return 1;
  }
}
