// Routes and listeners.
#include <catenet/engine/core.hpp>
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/http/server.hpp>
#include <catenet/ws/hub.hpp>

#include "http/sessions.hpp"

#include <memory>
#include <stdexcept>

namespace catenet::http {

struct server::state {
  engine& net;
  ws::hub topics;  // before the routes, whose connections it serves
  service what;
  std::vector<std::unique_ptr<listener>> listeners{};
  std::vector<std::unique_ptr<session_counters>> counters;  // one a core
  std::vector<std::shared_ptr<void>> kept;
};

server::server(engine& net, server_options options)
    : state_(new state{net, ws::hub{net}, {std::move(options), {}, {}, {}}, {}, {}, {}}) {
  server_options& o = state_->what.options;
  o.limits = o.limits.checked();
  if (!o.server_name.empty() && !valid_field("Server", o.server_name))
    throw std::invalid_argument("server_name has a character that may not stand in a field");
  for (const std::string& one : o.trusted_proxies)
    if (!state_->what.trusted.add(one))
      throw std::invalid_argument("trusted_proxies: \"" + one + "\" is no address");
  for (unsigned i = 0; i != net.cores(); ++i)
    state_->counters.push_back(std::make_unique<session_counters>());
}

server::~server() = default;

server& server::get(std::string_view pattern, handler h, route_options options) {
  return on(method::get, pattern, std::move(h), options);
}
server& server::post(std::string_view pattern, handler h, route_options options) {
  return on(method::post, pattern, std::move(h), options);
}
server& server::put(std::string_view pattern, handler h, route_options options) {
  return on(method::put, pattern, std::move(h), options);
}
server& server::patch(std::string_view pattern, handler h, route_options options) {
  return on(method::patch, pattern, std::move(h), options);
}
server& server::del(std::string_view pattern, handler h, route_options options) {
  return on(method::delete_, pattern, std::move(h), options);
}
server& server::on(http::method method, std::string_view pattern, handler h, route_options options) {
  add(method, pattern, std::move(h), options, filters_);
  return *this;
}

server& server::on(std::initializer_list<http::method> methods, std::string_view pattern, const handler& h,
                   route_options options) {
  for (const http::method m : methods) on(m, pattern, h, options);
  return *this;
}

void server::add(http::method method, std::string_view pattern, handler h, route_options options,
                 const std::vector<handler>& filters) {
  state_->what.table.add(method, pattern, {std::move(h), filters, options, {}});
}

server& server::on_access(std::function<void(const access&)> told) {
  state_->what.on_access = std::move(told);
  return *this;
}

error server::listen(std::string_view where, endpoint* bound, const listener_options& options) {
  state* s = state_.get();
  s->listeners.push_back(std::make_unique<listener>(std::string{where}, options,
                                                    options.deadlines.value_or(s->what.options.deadlines)));
  const listener* through = s->listeners.back().get();
  return s->net.listen(
      where,
      [s, through](core& at) -> std::unique_ptr<protocol> {
        return std::make_unique<sessions>(at, s->what, *through, *s->counters[at.index()]);
      },
      bound);
}

server& server::listen(std::string_view where, const listener_options& options) {
  if (const error e = listen(where, nullptr, options)) throw std::runtime_error(e.text());
  return *this;
}

void server::change(const deadlines& to, std::string_view where) {
  for (const std::unique_ptr<listener>& one : state_->listeners)
    if (where.empty() || one->where == where) one->set(to);
}

engine& server::net() const { return state_->net; }
ws::hub& server::topics() const { return state_->topics; }

server_statistics server::statistics() const {
  server_statistics sum;
  for (const std::unique_ptr<session_counters>& c : state_->counters) {
    sum.requests += c->requests.get();
    sum.busy += c->busy.get();
    sum.session_bytes += c->bytes.get();
  }
  return sum;
}

void server::keep(std::shared_ptr<void> object) { state_->kept.push_back(std::move(object)); }

}  // namespace catenet::http
