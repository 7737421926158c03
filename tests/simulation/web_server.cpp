// What the simulated web server answers.
#include "web_server.hpp"

#include <catenet/engine/core.hpp>
#include <catenet/http/request.hpp>
#include <catenet/http/response.hpp>
#include <catenet/ws/server.hpp>

#include "pattern.hpp"

#include <charconv>

namespace catenet::test {

namespace {

constexpr std::uint64_t piece_bytes = 8_KiB;

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

void make(http::request& rq, http::response& rs) {
  std::string bytes;
  pattern::append(bytes, number(rq.param("at")), number(rq.param("n")));
  chain body = chain::copy_of(bytes);
  if (body.empty()) return rs.status(503).text("no memory");
  rs.body(std::move(body));
}

task<> stream_out(http::request& rq, http::response& rs) {
  std::uint64_t at = number(rq.param("at"));
  for (std::uint64_t left = number(rq.param("n")); left != 0;) {
    const std::string_view part = pattern::piece(at, std::min(left, piece_bytes));
    if (!co_await rs.write(part)) co_return;
    at += part.size();
    left -= part.size();
  }
}

task<> echo(http::request& rq, http::response& rs) {
  if (const auto bytes = rq.body().length()) rs.length(*bytes);
  while (auto part = co_await rq.body().next())
    if (!co_await rs.write(std::move(*part))) co_return;
}

task<> sink(http::request& rq, http::response& rs) {
  std::uint64_t bytes = 0;
  while (auto part = co_await rq.body().next()) bytes += part->bytes();
  rs.text(bytes);
}

task<> hold(http::request& rq, http::response& rs) {
  co_await catenet::sleep(static_cast<std::uint32_t>(number(rq.param("ms"))));
  rs.status(204);
}

}  // namespace

void add_routes(http::server& web, ledger& book) {
  constexpr http::route_options any_body{.max_body = ~std::uint64_t{0} >> 1};
  web.get("/make/{at}/{n}", make);
  web.get("/stream/{at}/{n}", stream_out);
  web.get("/file/{at}/{n}", [&book](http::request& rq, http::response& rs) {
    rs.file(book.file, number(rq.param("at")), number(rq.param("n")), false);
  });
  web.get("/hold/{ms}", hold);
  web.post("/echo", echo, any_body);
  web.post("/sink", sink, any_body);
  web.websocket("/ws",
                {.max_message = 64_MiB,
                 .max_queued = 64_MiB,
                 .close_timeout_ms = 60'000,  // what was sent before a Close may have a slow way before it
                 .open = [&book](ws::connection&) { ++book.sessions; },
                 .message =
                     [](ws::connection& c, ws::message m) {
                       // Without memory: the client would wait for ever.
                       if (c.send(std::move(m)) == send_result::over_limit) c.abort();
                     },
                 .close = [&book](ws::connection&, ws::close_code, std::string_view) { --book.sessions; }});
}

}  // namespace catenet::test
