// A user's test of a user's server in the simulation, with nothing but the installed package: it ends with 0
// when the answer came, whatever kernel and network did.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/simulation.hpp>
#include <catenet/http/server.hpp>

#include <iostream>
#include <string>

using namespace catenet;

namespace {

class visitor final : public simulated_peer {
 public:
  void connected() override { send("GET /hello/you HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); }
  void received(std::span<const std::byte> bytes) override {
    got.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void ended() override { over = true; }
  void reset() override { over = true; }
  std::string got;
  bool over = false;
};

}  // namespace

int main() {
  simulation world{{.seed = 7, .short_send = 200, .split_on_wire = 900}};
  engine net{world.settings()};
  http::server web{net};
  web.get("/hello/{name}",
          [](http::request& rq, http::response& rs) { rs.text("hello ", rq.param("name")); });
  endpoint at;
  visitor one;
  error e = web.listen("127.0.0.1:80", &at);
  if (!e) e = world.start(net);
  if (e) {
    std::cerr << e.text() << '\n';
    return 1;
  }
  world.connect(one, at);
  while (!one.over && world.violation().empty() && world.step()) {
  }
  net.stop();
  while (!world.finished() && world.step()) {
  }
  world.release();
  std::cout << one.got << world.violation() << std::endl;
  return one.got.ends_with("\r\n\r\nhello you") && world.violation().empty() ? 0 : 1;
}
