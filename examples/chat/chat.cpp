// A chat, and the engine that carries it at work: one page, one WebSocket, and the figures that the page
// draws. `chat --join URL` is the other end, in a terminal.
//
// What anybody says is relayed as it is to everybody in the room, the speaker too: one body, shared. Nothing
// is looked at, so the page checks what it gets. /chat is the room that the page shows, /chat/NAME is
// another, and at /listen/+ one hears them all and says nothing. /figures tells once a second what /stats
// answers. What is uploaded at /upload/NAME is passed on at /download/NAME while it comes.
#include <catenet/engine/core.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/http/request_head.hpp>
#include <catenet/http/server.hpp>
#include <catenet/ws/server.hpp>

#include "chat/figures.hpp"
#include "chat/terminal.hpp"
#include "chat/uploads.hpp"
#include "embedded/chat_page.hpp"
#include "support/server_program.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>

using namespace catenet;

namespace {

// The page says what it needs itself; this is for the browser before it has read that.
void page(http::request&, http::response& rs) {
  rs.header("X-Content-Type-Options", "nosniff").header("Referrer-Policy", "no-referrer");
  rs.type("text/html; charset=utf-8").constant(embedded::chat_page());
}

// Another site's page must not speak here in the name of who looks at it (RFC 6455 §10.2). What is no browser
// sends no Origin.
bool is_from_elsewhere(http::request& rq) {
  const std::size_t origins = rq.head().fields.count("Origin");
  if (origins != 1) return origins != 0;
  const std::string_view origin = *rq.header("Origin");
  const std::string here{rq.authority()};
  return origin != "http://" + here && origin != "https://" + here;
}

// Once a second on each core, however many are slow: the log is not to be flooded by them.
void tell_missed(ws::connection& c, std::uint64_t dropped) {
  constexpr std::uint32_t every_ms = 1000;
  thread_local std::uint64_t untold = 0;
  thread_local std::optional<std::uint32_t> told_ms;
  untold += dropped;
  const std::uint32_t now_ms = core::current()->now_ms();
  if (told_ms && now_ms - *told_ms < every_ms) return;
  told_ms = now_ms;
  log(log_level::warning, "chat: " + c.socket().peer().text() + " is slow; with others like it, it missed " +
                              std::to_string(std::exchange(untold, 0)) +
                              " messages since the last such line");
}

ws::options base() {
  ws::options o;
  o.max_message = 16_KiB;
  o.max_messages_per_second = 500;
  o.max_queued = 256_KiB;  // who falls so far behind misses the oldest; nobody else is slowed
  o.when_slow = ws::slow_policy::drop_oldest;
  o.ping_every_ms = 30'000;
  o.idle_timeout_ms = 90'000;
  o.deflate.enabled = true;
  o.missed = [](ws::connection& c, std::uint64_t dropped) { tell_missed(c, dropped); };
  return o;
}

// The client gives the name, and a topic comes of it: '/' would be another level, '+' and '#' would stand for
// other names.
bool may_be_named(std::string_view name, ws::upgrade& u) {
  if (name.find_first_of("/+#") == std::string_view::npos) return true;
  u.refuse(400, "a name has neither '/' nor '+' nor '#'\n");
  return false;
}

ws::options talking() {
  ws::options o = base();
  o.upgrade = [](http::request& rq, ws::upgrade& u) {
    if (is_from_elsewhere(rq)) return u.refuse(403, "another site's page\n");
    const std::string_view named = rq.param("room");
    if (!may_be_named(named, u)) return;
    u.opened = [room = std::string{named.empty() ? "lobby" : named}](ws::connection& c) {
      c.user = new std::string{"room/" + room};
    };
  };
  o.open = [](ws::connection& c) { c.subscribe(*static_cast<std::string*>(c.user)); };
  o.message = [](ws::connection& c, ws::message m) {
    c.publish_to_all(*static_cast<std::string*>(c.user), std::move(m));
  };
  o.close = [](ws::connection& c, ws::close_code, std::string_view) {
    delete static_cast<std::string*>(std::exchange(c.user, nullptr));
  };
  return o;
}

// For who only listens.
ws::options silent() {
  ws::options o = base();
  o.message = [](ws::connection& c, ws::message) {
    c.close(ws::close_code::policy_violation, "only listening");
  };
  return o;
}

ws::options listening() {
  ws::options o = silent();
  o.upgrade = [](http::request& rq, ws::upgrade& u) {
    if (is_from_elsewhere(rq)) return u.refuse(403, "another site's page\n");
    u.opened = [rooms = "room/" + std::string{rq.param("rooms")}](ws::connection& c) {
      if (!c.subscribe(rooms)) c.close(ws::close_code::policy_violation, "no such rooms");
    };
  };
  return o;
}

ws::options named(ws::options o, void (*begin)(ws::connection&, std::string_view)) {
  o.upgrade = [begin](http::request& rq, ws::upgrade& u) {
    if (is_from_elsewhere(rq)) return u.refuse(403, "another site's page\n");
    if (!may_be_named(rq.param("name"), u)) return;
    u.opened = [begin, name = std::string{rq.param("name")}](ws::connection& c) { begin(c, name); };
  };
  return o;
}

ws::options watching(http::server& web) {
  ws::options o = silent();
  o.upgrade = [](http::request& rq, ws::upgrade& u) {
    if (is_from_elsewhere(rq)) u.refuse(403, "another site's page\n");
  };
  return std::make_shared<examples::figures>(web)->route(std::move(o));
}

void add_routes(http::server& web) {
  web.get("/", page);
  web.websocket("/chat", talking());
  web.websocket("/chat/{room}", talking());
  web.websocket("/listen/{rooms...}", listening());
  web.websocket("/upload/{name}", named(examples::uploading(base()), examples::begin_upload));
  web.websocket("/download/{name}", named(examples::downloading(silent()), examples::begin_download));
  web.websocket("/figures", watching(web));
  web.get("/stats", [&web](http::request&, http::response& rs) {
    rs.header("Cache-Control", "no-store").json(examples::statistics_json(web));
  });
}

}  // namespace

int main(int argc, char** argv) {
  examples::server_program program{
      "A chat to open in a browser, with a panel that shows the engine at work."};
  examples::terminal_options join;
  const CLI::Option* joins = program.app.add_option(
      "--join", join.url, "joins the chat at this ws:// URL instead: lines typed are said");
  program.app.add_option("--name", join.name, "who says it; without, each line is sent as it is");
  program.app.add_option("--subprotocol", join.subprotocol, "to offer");
  program.app.add_flag("--deflate", join.deflate, "offers permessage-deflate");
  program.app.add_flag("--reconnect", join.reconnect, "comes again when the connection ends");
  CLI11_PARSE(program.app, argc, argv);
  return joins->count() == 0 ? program.serve(add_routes) : examples::run_terminal(join);
}
