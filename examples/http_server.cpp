// The plain workhorse for load and tools: a few routes that between them use all of the engine. GET /stats
// tells what it holds.
#include <catenet/engine/page_body.hpp>
#include <catenet/http/server.hpp>
#include <catenet/ws/server.hpp>

#include "support/server_program.hpp"

#include <charconv>
#include <optional>
#include <string>

using namespace catenet;

namespace {

std::optional<std::uint64_t> number_in(std::string_view text, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size() || value > most) return std::nullopt;
  return value;
}

/// Answers of n times 'x', from pages that are filled once; every answer refers to them.
class filler {
 public:
  static constexpr std::uint64_t bytes_max = 1 << 30;

  filler() : filled_(page_body::copy_of(as_bytes(std::string(1_MiB, 'x')))) {}

  void operator()(http::request& rq, http::response& rs) const {
    const auto bytes = number_in(rq.param("n"), bytes_max);
    if (!bytes) return rs.status(400).text("a number of bytes, at most 1073741824\n");
    chain body;
    while (body.bytes() != *bytes) {
      if (!append(body, *bytes - body.bytes())) return rs.status(503).text("no memory\n");
    }
    rs.body(std::move(body));
  }

 private:
  // Where memory for pages is not to be had (memfd_create refused), as plain memory.
  bool append(chain& body, std::uint64_t most) const {
    static const std::string plain(filled_ ? 0 : 1_MiB, 'x');
    if (!filled_) return body.append_constant(std::string_view(plain).substr(0, most));
    chain part = filled_.view(0, most);
    const bool made = !part.empty();
    body.append(std::move(part));
    return made;
  }

  page_body filled_;
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

/// The same back to the sender; and, at /broadcast, what begins with 'B' to everybody there.
void add_websockets(http::server& web, const ws::deflate_options& deflate) {
  constexpr std::uint64_t message_max = 16_MiB;
  web.websocket("/echo", {.max_message = message_max,
                          .max_queued = 4 * message_max,
                          .deflate = deflate,
                          .message = [](ws::connection& c, ws::message m) { c.send(std::move(m)); }});
  web.websocket("/broadcast", {.max_message = message_max,
                               .deflate = deflate,
                               .open = [](ws::connection& c) { c.subscribe("broadcast"); },
                               .message =
                                   [](ws::connection& c, ws::message m) {
                                     const auto first = m.payload().front();
                                     if (!first.empty() && first[0] == std::byte{'B'})
                                       c.publish_to_all("broadcast", std::move(m));
                                   }});
}

void add_routes(http::server& web) {
  constexpr http::route_options any_body{.max_body = ~std::uint64_t{0} >> 1};
  web.get("/", [](http::request&, http::response& rs) { rs.type("text/plain").text("Hello, World!"); });
  web.get("/bytes/{n}", filler{});
  web.get("/hello/{name}",
          [](http::request& rq, http::response& rs) { rs.text("hello ", rq.param("name")); });
  web.post("/echo", echo, any_body);
  web.post("/sink", sink, any_body);
  web.get("/slow/{ms}", slow);
  web.get("/stats", [&](http::request&, http::response& rs) { rs.json(examples::statistics_json(web)); });
}

}  // namespace

int main(int argc, char** argv) {
  examples::server_program program{
      "An HTTP server to measure and to try things on.\n\n"
      "GET / /bytes/N /hello/NAME /slow/MS /stats, POST /echo /sink.\n"
      "WebSockets: /echo sends back what comes; /broadcast sends what begins with 'B' to everybody there."};
  std::string root;
  program.app.add_option("--root", root, "a directory whose files are served at their paths")
      ->check(CLI::ExistingDirectory);
  ws::deflate_options deflate;
  program.app.add_flag("--deflate", deflate.enabled, "WebSockets agree to permessage-deflate");
  program.app.add_flag("--deflate-contexts", deflate.server_context_takeover,
                       "and take contexts over, where the peer does");
  return program.run(argc, argv, [&](http::server& web) {
    add_routes(web);
    deflate.client_context_takeover = deflate.server_context_takeover;
    add_websockets(web, deflate);
    if (!root.empty()) web.files("/", root);
  });
}
