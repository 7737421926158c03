// An HTTP/1.1 client on an engine, with connections kept for each origin and core.
//
//   http::client web{net};
//   task<> ask(http::origin to) {
//     http::call c = web.start(to, {http::method::get, "/"});
//     if (const http::reply_head* head = co_await c.reply())
//       while (std::optional<chain> part = co_await c.next()) use(std::move(*part));
//     if (!c.complete()) log(log_level::warning, c.why().text());
//   }
//
// Redirects are followed where that is asked for; cookies are not kept, nothing is decoded.
#pragma once

#include <catenet/http/call.hpp>
#include <catenet/http/client_options.hpp>
#include <catenet/http/client_request.hpp>
#include <catenet/http/origin.hpp>

#include <cstdint>
#include <memory>

namespace catenet {
class engine;
}

namespace catenet::http {

/// Over all cores since the start; what is of the moment may be off by what happens while it is read.
struct client_statistics {
  std::uint64_t calls = 0;
  std::uint64_t opened = 0;       ///< connections asked for
  std::uint64_t reused = 0;       ///< calls that went out on a kept connection
  std::uint64_t retries = 0;      ///< requests sent again on another connection
  std::uint64_t redirects = 0;    ///< followed
  std::uint64_t failures = 0;     ///< calls that came to nothing
  std::uint64_t unasked = 0;      ///< kept connections ended because something came that nobody had asked for
  std::uint64_t connections = 0;  ///< now
  std::uint64_t idle = 0;         ///< of these, kept for later
};

/// Must be made before the engine runs and outlive its run(). Used on the engine's cores; every core has
/// connections of its own.
class client {
 public:
  explicit client(engine& net, client_options options = {});
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// Begins a call on the calling core. It never fails at once: what is wrong is told by the call.
  [[nodiscard]] call start(const origin& to, client_request request);

  [[nodiscard]] const client_options& options() const;
  [[nodiscard]] client_statistics statistics() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace catenet::http
