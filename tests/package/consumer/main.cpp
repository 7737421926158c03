// A program outside the tree that embeds an installed catenet: it tells its version and where it listens,
// then serves.
#include <catenet/engine/engine.hpp>
#include <catenet/http/server.hpp>
#include <catenet/slab/version.hpp>
#include <catenet/ws/server.hpp>

#include <iostream>

using namespace catenet;

int main() {
  engine net{{.cores = 1}};
  http::server web{net, {.compression = {.on = true}}};
  web.get("/hello/{name}",
          [](http::request& rq, http::response& rs) { rs.text("hello ", rq.param("name")); });
  web.websocket("/chat", {.message = [](ws::connection& c, ws::message m) { c.send(std::move(m)); }});

  endpoint bound;
  if (error e = web.listen("127.0.0.1:0", &bound)) {
    std::cerr << e.text() << '\n';
    return 1;
  }
  std::cout << "catenet " << version() << " at " << bound.text() << std::endl;
  return net.run() ? 1 : 0;  // until SIGTERM
}
