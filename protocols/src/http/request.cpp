// What a handler can ask of a request.
#include <catenet/http/request.hpp>

#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/stream.hpp>

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

endpoint request::remote() const { return exchange_.wire == nullptr ? endpoint{} : exchange_.wire->peer(); }
core& request::core() const { return exchange_.home.home(); }
bool request::aborted() const { return exchange_.wire == nullptr || exchange_.wire->closing(); }

}  // namespace catenet::http
