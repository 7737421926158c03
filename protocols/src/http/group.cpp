// Groups of routes.
#include <catenet/http/group.hpp>
#include <catenet/http/server.hpp>

namespace catenet::http {

group& group::get(std::string_view pattern, handler h, route_options options) {
  return on(method::get, pattern, std::move(h), options);
}
group& group::post(std::string_view pattern, handler h, route_options options) {
  return on(method::post, pattern, std::move(h), options);
}
group& group::put(std::string_view pattern, handler h, route_options options) {
  return on(method::put, pattern, std::move(h), options);
}
group& group::patch(std::string_view pattern, handler h, route_options options) {
  return on(method::patch, pattern, std::move(h), options);
}
group& group::del(std::string_view pattern, handler h, route_options options) {
  return on(method::delete_, pattern, std::move(h), options);
}
group& group::on(http::method method, std::string_view pattern, handler h, route_options options) {
  of_->add(method, prefix_ + std::string{pattern}, std::move(h), options, filters_);
  return *this;
}

group group::sub(std::string_view prefix) const { return {*of_, prefix_ + std::string{prefix}, filters_}; }

}  // namespace catenet::http
