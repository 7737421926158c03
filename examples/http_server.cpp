// The plain workhorse for load and tools: a few routes that between them use all of the engine. GET /stats tells what
// it holds.
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/http/server.hpp>
#include <catenet/ws/server.hpp>

#include <CLI/CLI.hpp>

#include <sys/resource.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace catenet;

namespace {

struct options {
  std::string listen = "127.0.0.1:8080";
  unsigned cores = 1;
  std::string io = "auto";
};

std::optional<std::uint64_t> number_in(std::string_view text, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size() || value > most) return std::nullopt;
  return value;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/// Answers of n times 'x', from one block for each core that is filled once; every answer refers to it.
class filler {
 public:
  static constexpr std::uint64_t bytes_max = 1 << 30;

  explicit filler(unsigned cores) : filled_(cores) {}

  void operator()(http::request& rq, http::response& rs) {
    const auto bytes = number_in(rq.param("n"), bytes_max);
    if (!bytes) return rs.status(400).text("a number of bytes, at most 1073741824\n");
    chain& filled = filled_[rq.core().index()];
    if (filled.empty()) filled = fill();
    chain body;
    for (std::uint64_t left = *bytes; left != 0;) {
      auto part = filled.share(0, left);
      if (!part || part->empty()) return rs.status(503).text("no memory\n");
      left -= part->bytes();
      body.append(std::move(*part));
    }
    rs.body(std::move(body));
  }

 private:
  static chain fill() {
    lease block = lease::of(1_MiB);
    if (!block) return {};
    std::memset(block.bytes().data(), 'x', block.bytes().size());
    const std::size_t bytes = block.bytes().size();
    return chain{std::move(block), 0, bytes};
  }

  std::vector<chain> filled_;
};

task<> echo(http::request& rq, http::response& rs) {
  rs.status(200).type("application/octet-stream");
  if (const auto bytes = rq.body().length()) rs.length(*bytes);
  while (auto part = co_await rq.body().next())
    if (!co_await rs.write(std::move(*part))) co_return;
}

task<> sink(http::request& rq, http::response& rs) {
  std::uint64_t bytes = 0;
  while (auto part = co_await rq.body().next()) bytes += part->bytes();
  rs.text(bytes);
}

task<> slow(http::request& rq, http::response& rs) {
  const auto delay_ms = number_in(rq.param("ms"), 3'600'000);
  if (!delay_ms) co_return rs.status(400).text("a number of milliseconds, at most an hour\n");
  co_await catenet::sleep(static_cast<std::uint32_t>(*delay_ms));
  rs.text("slept ", *delay_ms, " ms\n");
}

/// What the program holds, as JSON. User bytes are those of streams, sessions and rented blocks; blocks that the kernel
/// has for receiving belong to nobody yet and are told as "lent".
std::string statistics(engine& net, const http::server& web) {
  const core_statistics all = net.statistics();
  const http::server_statistics sessions = web.statistics();
  const slab_statistics slab = net.slab().statistics();
  std::uint64_t user_bytes = all.connections * sizeof(stream) + sessions.session_bytes;
  std::string classes;
  for (const class_statistics& c : slab.classes) {
    user_bytes += c.rented * c.size;
    char line[200];
    std::snprintf(line, sizeof line, "%s{\"size\":%zu,\"total\":%llu,\"rented\":%llu,\"cached\":%llu,\"lent\":%llu}",
                  classes.empty() ? "" : ",", c.size, static_cast<unsigned long long>(c.total),
                  static_cast<unsigned long long>(c.rented), static_cast<unsigned long long>(c.cached + c.in_depot),
                  static_cast<unsigned long long>(c.lent));
    classes += line;
  }
  char head[300];
  std::snprintf(head, sizeof head,
                "{\"connections\":%llu, \"requests\":%llu, \"bytes_in\":%llu, \"bytes_out\":%llu, "
                "\"user_bytes_per_connection\":%llu, \"classes\":[",
                static_cast<unsigned long long>(all.connections), static_cast<unsigned long long>(sessions.requests),
                static_cast<unsigned long long>(all.bytes_in), static_cast<unsigned long long>(all.bytes_out),
                static_cast<unsigned long long>(all.connections == 0 ? 0 : user_bytes / all.connections));
  return head + classes + "]}\n";
}

/// The same back to the sender; and, at /broadcast, what begins with 'B' to everybody there.
void add_websockets(http::server& web) {
  constexpr std::uint64_t message_max = 16_MiB;
  web.websocket("/echo", {.max_message = message_max,
                          .max_queued = 4 * message_max,
                          .message = [](ws::connection& c, ws::message m) { c.send(std::move(m)); }});
  web.websocket("/broadcast", {.max_message = message_max,
                               .open = [](ws::connection& c) { c.subscribe("broadcast"); },
                               .message = [](ws::connection& c, ws::message m) {
                                 const auto first = m.payload().front();
                                 if (!first.empty() && first[0] == std::byte{'B'})
                                   c.publish_to_all("broadcast", std::move(m));
                               }});
}

void add_routes(http::server& web, engine& net) {
  constexpr http::route_options any_body{.max_body = ~std::uint64_t{0} >> 1};
  web.get("/", [](http::request&, http::response& rs) { rs.type("text/plain").text("Hello, World!"); });
  web.get("/bytes/{n}", filler{net.cores()});
  web.get("/hello/{name}", [](http::request& rq, http::response& rs) { rs.text("hello ", rq.param("name")); });
  web.post("/echo", echo, any_body);
  web.post("/sink", sink, any_body);
  web.get("/slow/{ms}", slow);
  web.get("/stats", [&](http::request&, http::response& rs) { rs.json(statistics(net, web)); });
}

std::string url_of(const options& o, const endpoint& bound) {
  return o.listen.starts_with("unix:") ? o.listen : "http://" + bound.text();
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app{"An HTTP server to measure and to try things on."};
  app.add_option("--listen", o.listen, "HOST:PORT or unix:PATH; port 0 picks a free one")->capture_default_str();
  app.add_option("--cores", o.cores, "threads; 0: one for each processor")->capture_default_str();
  app.add_option("--io", o.io, "uring, epoll or auto")->check(CLI::IsMember({"uring", "epoll", "auto"}));
  CLI11_PARSE(app, argc, argv);
  raise_descriptor_limit();

  engine_options settings;
  settings.cores = o.cores;
  if (o.io != "auto") settings.io = o.io == "uring" ? io_choice::uring : io_choice::epoll;
  engine net{settings};
  http::server web{net};
  add_routes(web, net);
  add_websockets(web);
  endpoint bound;
  if (const error e = web.listen(o.listen, &bound)) {
    std::fprintf(stderr, "http_server: %s\n", e.text().c_str());
    return 1;
  }
  net.on_start([&] {
    std::printf("catenet: listening on %s (%s, %u cores)\n", url_of(o, bound).c_str(),
                std::string{net.io_name()}.c_str(), net.cores());
    std::fflush(stdout);
  });
  if (const error e = net.run()) {
    std::fprintf(stderr, "http_server: %s\n", e.text().c_str());
    return 1;
  }
  return 0;
}
