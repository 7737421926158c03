// Routes that have a beginning and filters in common.
//
//   auto api = web.group("/api");
//   api.use([](http::request& rq, http::response& rs) {
//     if (!rq.header("Authorization")) rs.status(401).text("who are you?\n");
//   });
//   api.get("/users/{id}", user).del("/users/{id}", remove_user);
#pragma once

#include <catenet/http/handler.hpp>
#include <catenet/http/method.hpp>
#include <catenet/http/options.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace catenet::http {

class server;

/// A function that is called before the handler of a route, and may look, add fields, or answer. Once one has
/// answered, neither the filters behind it nor the handler are called. It does not wait.
template <class F>
concept filter = std::is_void_v<std::invoke_result_t<F&, request&, response&>>;

/// A handle to set routes with; copies are independent. Used as long as the server's routes may be set.
class group {
 public:
  /// For the routes that are set by this from now on, behind the filters set before.
  template <filter F>
  group& use(F&& f) {
    filters_.emplace_back(std::forward<F>(f));
    return *this;
  }
  /// Patterns as of the server, behind the group's prefix.
  group& get(std::string_view pattern, handler h, route_options options = {});
  group& post(std::string_view pattern, handler h, route_options options = {});
  group& put(std::string_view pattern, handler h, route_options options = {});
  group& patch(std::string_view pattern, handler h, route_options options = {});
  group& del(std::string_view pattern, handler h, route_options options = {});
  group& on(http::method method, std::string_view pattern, handler h, route_options options = {});
  /// A group within this one, which begins with its filters.
  [[nodiscard]] group sub(std::string_view prefix) const;

 private:
  friend class server;
  group(server& of, std::string prefix, std::vector<handler> filters)
      : of_(&of), prefix_(std::move(prefix)), filters_(std::move(filters)) {}

  server* of_;
  std::string prefix_;
  std::vector<handler> filters_;
};

}  // namespace catenet::http
