// An HTTP server in the simulation: virtual time, one seed, and a network that does what networks may do.
#pragma once

#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/simulation.hpp>
#include <catenet/engine/stream.hpp>
#include <catenet/http/server.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace catenet::test {

/// Sends back what comes, after an upgrade.
class upgraded_echo final : public protocol {
 public:
  void received(stream& s, chain&& bytes) override { s.send(std::move(bytes)); }
};

/// Routes of every kind of handler there is. Answers tell what was understood.
inline void add_world_routes(http::server& web, upgraded_echo& echo) {
  using http::request;
  using http::response;
  web.get("/", [](request&, response& rs) { rs.text("Hello, World!"); });
  web.get("/hello/{name}", [](request& rq, response& rs) { rs.text("hello ", rq.param("name")); });
  web.get("/late/{ms}", [](request& rq, response& rs) -> task<> {
    const std::string ms{rq.param("ms")};
    co_await catenet::sleep(static_cast<std::uint32_t>(ms.size() < 3 ? std::atoi(ms.c_str()) : 100));
    rs.text("late ", ms);
  });
  web.get("/bytes/{n}", [](request& rq, response& rs) {
    const std::string n{rq.param("n")};
    rs.text(std::string(n.size() < 7 ? static_cast<std::size_t>(std::abs(std::atoi(n.c_str()))) : 0, 'b'));
  });
  web.get("/pieces/{n}", [](request& rq, response& rs) -> task<> {
    const std::string n{rq.param("n")};
    for (int i = n.size() < 3 ? std::atoi(n.c_str()) : 0; i > 0; --i) {
      if (!co_await rs.write(std::string(static_cast<std::size_t>(i) * 100, 'p'))) co_return;
      if (i % 3 == 0) co_await catenet::sleep(1);
    }
    rs.trailer("X-Pieces", n);
    co_await rs.write("");
  });
  web.post("/echo", [](request& rq, response& rs) -> task<> {
    while (auto part = co_await rq.body().next())
      if (!co_await rs.write(std::move(*part))) co_return;
    if (!rs.answered()) rs.status(200);
  });
  web.post("/count", [](request& rq, response& rs) -> task<> {
    rs.text((co_await rq.body().collect(1 << 20)).bytes());
  });
  web.post("/slow-reader", [](request& rq, response& rs) -> task<> {
    std::uint64_t bytes = 0;
    while (auto part = co_await rq.body().next()) {
      bytes += part->bytes();
      co_await catenet::sleep(1);
    }
    rs.text(bytes);
  });
  web.post("/both-ways", [](request& rq, response& rs) -> task<> {
    std::uint64_t bytes = 0;
    const task<> reader = [](request& of, std::uint64_t& sum) -> task<> {
      try {
        while (auto part = co_await of.body().next()) sum += part->bytes();
      } catch (const http::aborted&) {  // write() is false then, too
      }
    }(rq, bytes);
    bool gone = false;
    rq.on_gone([&gone] { gone = true; });
    for (int i = 0; i != 5 && !gone; ++i)
      if (!co_await rs.write(std::string(static_cast<std::size_t>(i) * 3000, 'w'))) co_return;
  });
  web.post("/ignore", [](request&, response& rs) { rs.text("ignored"); });
  web.get("/throws", [](request&, response&) { throw std::runtime_error("on purpose"); });
  web.get("/silent", [](request&, response&) -> task<> { co_return; });
  web.get("/up", [&echo](request&, response& rs) {
    rs.upgrade("echo", [&echo](stream& s, chain&& left) {
      s.hand_to(echo, nullptr);
      s.send(std::move(left));
    });
  });
}

class http_world {
 public:
  explicit http_world(simulation_options how, http::server_options web = {})
      : world(how), net_(std::make_unique<engine>(world.settings())) {
    web_ = std::make_unique<http::server>(*net_, std::move(web));
    add_world_routes(*web_, echo_);
    if (const error e = web_->listen("127.0.0.1:0", &at)) world.violated(e.text());
    if (const error e = world.start(*net_)) world.violated(e.text());
  }

  /// Runs until `done` says so or nothing is left to do, then stops the server. True when all came to its
  /// end; else violation() may tell more.
  template <class F>
  bool run(F&& done, int steps_max = 200'000) {
    int steps = 0;
    while (!done() && ++steps < steps_max && world.step()) {
    }
    net_->stop();
    while (!world.finished() && ++steps < 2 * steps_max && world.step()) {
    }
    const bool finished = world.finished();
    world.release();
    if (finished) world.audit(true);
    web_.reset();
    return finished;
  }
  [[nodiscard]] const std::string& violation() const { return world.violation(); }

  simulation world;
  endpoint at;

 private:
  upgraded_echo echo_;
  std::unique_ptr<engine> net_;
  std::unique_ptr<http::server> web_;
};

}  // namespace catenet::test
