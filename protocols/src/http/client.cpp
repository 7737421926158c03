// The client: its cores, and starting calls on them.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/http/client.hpp>

#include "http/calls.hpp"

#include <algorithm>
#include <vector>

namespace catenet::http {

struct client::state {
  explicit state(client_options o) : options(o) {}
  client_options options;
  struct of_core {
    call_counters counters;
    std::unique_ptr<http::calls> calls;  // made and used by its core
  };
  std::vector<std::unique_ptr<of_core>> cores;
};

client::client(engine& net, client_options options) : state_(std::make_unique<state>(options)) {
  client_options& o = state_->options;
  o.limits = o.limits.checked();
  o.connections_max = std::max(o.connections_max, 1u);
  for (unsigned i = 0; i != net.cores(); ++i) {
    state_->cores.push_back(std::make_unique<state::of_core>());
    state_->cores.back()->calls = std::make_unique<http::calls>(net.at(i), o, state_->cores.back()->counters);
  }
}

client::~client() = default;

const client_options& client::options() const { return state_->options; }

client_statistics client::statistics() const {
  client_statistics sum;
  for (const auto& one : state_->cores) {
    const call_counters& c = one->counters;
    sum.calls += c.calls.get();
    sum.opened += c.opened.get();
    sum.reused += c.reused.get();
    sum.retries += c.retries.get();
    sum.redirects += c.redirects.get();
    sum.failures += c.failures.get();
    sum.unasked += c.unasked.get();
    sum.connections += c.connections.get();
    sum.idle += c.idle.get();
  }
  return sum;
}

call client::start(const origin& to, client_request rq) {
  calls& home = *state_->cores[core::current()->index()]->calls;
  const std::shared_ptr<call_state> c = home.make(to);
  home.ask(*c, to, std::move(rq));
  return call{c};
}

}  // namespace catenet::http
