// An HTTP/1.1 server on an engine: routes and listeners.
//
//   catenet::engine net;
//   catenet::http::server web{net};
//   web.get("/hello/{name}", [](auto& rq, auto& rs) { rs.text("hello ", rq.param("name")); });
//   web.listen("127.0.0.1:8080");
//   net.run();
#pragma once

#include <catenet/engine/error.hpp>
#include <catenet/http/files.hpp>
#include <catenet/http/group.hpp>
#include <catenet/http/handler.hpp>
#include <catenet/http/options.hpp>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace catenet {
class endpoint;
class engine;
namespace ws {
class hub;
struct options;
}  // namespace ws
}  // namespace catenet

namespace catenet::http {

struct access;

/// Since the start, over all cores. What is of the moment may be off by what happens while it is read.
struct server_statistics {
  std::uint64_t requests = 0;       ///< complete heads
  std::uint64_t busy = 0;           ///< connections with a request under way or an incomplete head
  std::uint64_t session_bytes = 0;  ///< memory of those, blocks apart; what is kept for reuse included
};

/// Routes are set before the engine runs and do not change then. Must outlive the engine's run().
class server {
 public:
  explicit server(engine& net, server_options options = {});
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Patterns: "/a/b" as it is; "/a/{name}" one segment, not empty; "/a/{name...}" all that follows, maybe
  /// nothing. What is more exact wins: as it is, then a segment, then all that follows. A GET route answers
  /// HEAD too. A pattern that is malformed or taken throws std::invalid_argument.
  server& get(std::string_view pattern, handler h, route_options options = {});
  server& post(std::string_view pattern, handler h, route_options options = {});
  server& put(std::string_view pattern, handler h, route_options options = {});
  server& patch(std::string_view pattern, handler h, route_options options = {});
  server& del(std::string_view pattern, handler h, route_options options = {});
  server& on(http::method method, std::string_view pattern, handler h, route_options options = {});
  server& on(std::initializer_list<http::method> methods, std::string_view pattern, const handler& h,
             route_options options = {});
  /// A filter for every route that is set from now on (see group).
  template <filter F>
  server& use(F&& f) {
    filters_.emplace_back(std::forward<F>(f));
    return *this;
  }
  /// Routes with a common prefix, and filters of their own behind those of the server.
  [[nodiscard]] http::group group(std::string_view prefix) { return {*this, std::string{prefix}, filters_}; }

  /// The files beneath a directory, at `prefix` and below it: MIME types, validators, conditional and range
  /// requests, precompressed variants, index files. Small files are kept in memory, large ones go out by
  /// reference. Throws std::runtime_error when the directory cannot be opened.
  server& files(std::string_view prefix, const std::string& directory, file_options options = {});
  /// A WebSocket endpoint (catenet/ws/server.hpp).
  server& websocket(std::string_view pattern, ws::options options);
  /// What the WebSocket connections of this server subscribe to, and what they count (catenet/ws/hub.hpp).
  [[nodiscard]] ws::hub& topics() const;

  /// Called for each answer once its last byte was given to the connection, on the core that gave it, maybe
  /// on several at the same time.
  server& on_access(std::function<void(const access&)> told);

  /// Binds and listens now; see endpoint for what may stand here. Throws std::runtime_error with the error's
  /// text.
  server& listen(std::string_view where, const listener_options& options = {});
  /// The same, with the error as a value and the address that port 0 became.
  error listen(std::string_view where, endpoint* bound, const listener_options& options = {});
  /// Other deadlines, of one listener (named as in listen()) or of all. At any time, on any thread; what runs
  /// already keeps the one it began with.
  void change(const deadlines& to, std::string_view where = {});

  [[nodiscard]] engine& net() const;
  [[nodiscard]] server_statistics statistics() const;
  /// Keeps an object as long as the server: what a route's handler shares.
  void keep(std::shared_ptr<void> object);

 private:
  friend class http::group;
  void add(http::method method, std::string_view pattern, handler h, route_options options,
           const std::vector<handler>& filters);

  struct state;
  std::unique_ptr<state> state_;
  std::vector<handler> filters_;
};

}  // namespace catenet::http
