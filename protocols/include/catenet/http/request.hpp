// A request, as a handler sees it.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/http/body.hpp>
#include <catenet/http/fields.hpp>
#include <catenet/http/method.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace catenet {
class core;
class endpoint;
}  // namespace catenet

namespace catenet::http {

struct exchange;
struct request_head;

/// Views are valid until the answer is complete, also across a co_await. Used on the core that called the
/// handler.
class request {
 public:
  request(const request&) = delete;
  request& operator=(const request&) = delete;

  [[nodiscard]] http::method method() const;
  [[nodiscard]] std::string_view method_name() const;
  [[nodiscard]] bool is_head() const { return method() == method::head; }
  /// As it was sent: "/a%20b?c=d"
  [[nodiscard]] std::string_view target() const;
  /// Percent-decoded once: "/a b". An encoded '/' looks like any other here; param() is exact.
  [[nodiscard]] std::string_view path() const;
  /// As it was sent, without the '?'.
  [[nodiscard]] std::string_view query() const;
  /// Host and port that the request is for; empty only in HTTP/1.0.
  [[nodiscard]] std::string_view authority() const;
  /// The minor version: 0 or 1.
  [[nodiscard]] int minor_version() const;

  /// What stands in the path for a {name} of the route, percent-decoded once; empty when the route has none
  /// such.
  [[nodiscard]] std::string_view param(std::string_view name) const;

  /// The first value of that name in the query, decoded.
  [[nodiscard]] std::optional<std::string> query_value(std::string_view name) const;
  [[nodiscard]] std::optional<std::string_view> cookie(std::string_view name) const;

  /// The first field of that name, in any case.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
  [[nodiscard]] const http::fields& headers() const;
  /// All of the parsed head.
  [[nodiscard]] const request_head& head() const;

  [[nodiscard]] http::body& body() { return body_; }

  /// Of the connection; asks the kernel.
  [[nodiscard]] endpoint remote() const;
  /// The address of the client as text: of the connection, or, where that is a trusted proxy
  /// (server_options::trusted_proxies), what the proxies say of it in X-Forwarded-For.
  [[nodiscard]] std::string client_address() const;
  /// Different for every request of this server: which core (16 bits), which request there.
  [[nodiscard]] std::uint64_t id() const;
  [[nodiscard]] catenet::core& core() const;
  /// The connection has ended: nobody waits for the answer any more.
  [[nodiscard]] bool aborted() const;
  /// Calls `tell` once that is so: as soon as the connection was reset, has run into a deadline or was ended
  /// by us, and before the handler is resumed from a wait for body or write. Once at most, on this core,
  /// never after the handler has returned (or its task ended), and at once if it is so already; one more call
  /// takes the place of the one before. `tell` may do anything, also what ends the handler. While reading is
  /// paused, as more came than is taken in, a reset shows at the next write only. See
  /// server_options::answer_after_fin for a peer's FIN.
  void on_gone(callback<void()> tell) const;

 private:
  friend struct exchange;
  explicit request(exchange& of) : exchange_(of), body_(of) {}
  exchange& exchange_;
  http::body body_;
};

}  // namespace catenet::http
