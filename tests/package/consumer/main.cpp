// A program outside the tree that links an installed catenet, all of its floors and what they link in turn.
#include <catenet/engine/engine.hpp>
#include <catenet/http/server.hpp>
#include <catenet/slab/version.hpp>
#include <catenet/ws/server.hpp>

#include <iostream>

int main() {
  catenet::engine net{};
  catenet::http::server web{net, {.compression = {.on = true}}};
  web.get("/", [](catenet::http::request&, catenet::http::response& rs) { rs.text("hello"); });
  web.websocket("/chat", {});
  std::cout << "catenet " << catenet::version() << '\n';
}
