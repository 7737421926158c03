// What a handler can ask of a request.
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/stream.hpp>
#include <catenet/http/cookie.hpp>
#include <catenet/http/form.hpp>
#include <catenet/http/request.hpp>

#include "http/address_set.hpp"
#include "http/chars.hpp"
#include "http/exchange.hpp"
#include "http/sessions.hpp"

namespace catenet::http {

method request::method() const { return exchange_.head.method; }
std::string_view request::method_name() const { return exchange_.head.method_name; }
std::string_view request::target() const { return exchange_.head.target; }
std::string_view request::path() const {
  return exchange_.decoded.empty() ? exchange_.head.path : std::string_view{exchange_.decoded};
}
std::string_view request::query() const { return exchange_.head.query; }
std::string_view request::authority() const { return exchange_.head.authority; }
int request::minor_version() const { return exchange_.head.minor; }
const request_head& request::head() const { return exchange_.head; }
const fields& request::headers() const { return exchange_.head.fields; }

std::string_view request::param(std::string_view name) const {
  const routes::found& where = exchange_.where;
  if (where.hit == nullptr) return {};
  for (std::size_t i = 0; i != where.hit->params.size(); ++i)
    if (where.hit->params[i] == name) return where.values[i];
  return {};
}

std::optional<std::string_view> request::header(std::string_view name) const {
  return exchange_.head.fields.find(name);
}

std::optional<std::string> request::query_value(std::string_view name) const {
  return http::query_value(exchange_.head.query, name);
}

std::optional<std::string_view> request::cookie(std::string_view name) const {
  for (const field one : exchange_.head.fields) {
    if (!equal_ignoring_case(one.name, "Cookie")) continue;
    if (const auto value = cookie_in(one.value, name)) return value;
  }
  return std::nullopt;
}

std::uint64_t request::id() const { return exchange_.id; }

endpoint request::remote() const {
  const stream* s = exchange_.wire;
  if (s == nullptr) return {};
  const auto* c = static_cast<const connection*>(s->session());
  return c != nullptr && c->client ? *c->client : s->peer();
}

// From the last hop to the first: whom a trusted one names is believed, and asked in turn if he is trusted,
// too.
std::string request::client_address() const {
  const endpoint direct = remote();
  std::string known = direct.host();
  const address_set& trusted = exchange_.home.trusted();
  std::optional<ip_address> at = ip_address::of(direct);
  const http::fields& f = exchange_.head.fields;
  for (std::size_t i = f.size(); i-- != 0 && at && trusted.contains(*at);) {
    if (!equal_ignoring_case(f[i].name, "X-Forwarded-For")) continue;
    std::string_view list = f[i].value;
    while (!list.empty() && at && trusted.contains(*at)) {
      const std::size_t comma = list.rfind(',');
      const std::string_view last =
          trimmed(list.data() + (comma == list.npos ? 0 : comma + 1), list.data() + list.size());
      list = list.substr(0, comma == list.npos ? 0 : comma);
      at = ip_address::parse(last);
      if (at) known = at->text();
    }
  }
  return known;
}
core& request::core() const { return exchange_.home.home(); }
bool request::aborted() const { return exchange_.wire == nullptr || exchange_.wire->closing(); }
void request::on_gone(callback<void()> tell) const {
  if (exchange_.wire == nullptr) return tell();
  exchange_.gone = std::move(tell);
}

}  // namespace catenet::http
