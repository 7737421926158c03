// A chat, and the engine that carries it at work: one page, one WebSocket, and the figures that the page
// draws.
//
// What anybody says is relayed as it is to everybody, the speaker too: one body, shared. Nothing is looked
// at, so the page checks what it gets.
#include <catenet/http/server.hpp>
#include <catenet/ws/server.hpp>

#include "embedded/chat_page.hpp"
#include "support/server_program.hpp"

using namespace catenet;

namespace {

// The page says what it needs itself; this is for the browser before it has read that.
void page(http::request&, http::response& rs) {
  rs.header("X-Content-Type-Options", "nosniff").header("Referrer-Policy", "no-referrer");
  rs.type("text/html; charset=utf-8").constant(embedded::chat_page());
}

ws::options room() {
  ws::options o;
  o.max_message = 16_KiB;
  o.max_queued = 256_KiB;  // who falls so far behind misses messages; nobody else is slowed
  o.ping_every_ms = 30'000;
  o.idle_timeout_ms = 90'000;
  o.deflate.enabled = true;
  o.open = [](ws::connection& c) { c.subscribe("room"); };
  o.message = [](ws::connection& c, ws::message m) { c.publish_to_all("room", std::move(m)); };
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  examples::server_program program{
      "A chat to open in a browser, with a panel that shows the engine at work."};
  return program.run(argc, argv, [](http::server& web) {
    web.get("/", page);
    web.websocket("/chat", room());
    web.get("/stats", [&web](http::request&, http::response& rs) {
      rs.header("Cache-Control", "no-store").json(examples::statistics_json(web));
    });
  });
}
