// An HTTP client on an engine of its own thread, for tests: calls are made from the test's thread, one after
// the other or several at a time.
#pragma once

#include <catenet/http/client.hpp>

#include "support/chosen_io.hpp"
#include "support/engine_host.hpp"

#include <chrono>
#include <functional>
#include <future>
#include <list>
#include <memory>
#include <string>
#include <utility>

namespace catenet::test {

/// What became of a call.
struct http_result {
  int status = 0;
  std::string body;
  std::string server_field;
  std::string trailer;  ///< of the name Digest
  http::client_error why;
  bool complete = false;
  bool kept = false;  ///< on a kept connection
};

class http_client_host {
 public:
  using request_maker = std::function<http::client_request()>;

  explicit http_client_host(http::client_options o = {}, engine_options e = {})
      : host_(handlers{}, with_io(e), "") {
    web_ = std::make_unique<http::client>(host_.net(), o);
    host_.start();
  }
  ~http_client_host() {
    host_.on_core_or_after([&] { running_.clear(); });
    host_.stop();
  }

  /// Starts a coroutine on the core; it lives until this host ends, and so does what a lambda has captured.
  void run(std::function<task<>()> f) {
    host_.on_core([&] {
      running_.emplace_back(std::move(f), task<>{});
      running_.back().second = running_.back().first();
    });
  }

  std::future<http_result> begin(const endpoint& to, request_maker make) {
    auto told = std::make_shared<std::promise<http_result>>();
    run([&] { return ask(*web_, origin_of(to), make(), told); });
    return told->get_future();
  }
  http_result ask(const endpoint& to, request_maker make) { return wait(begin(to, std::move(make))); }
  http_result get(const endpoint& to, std::string_view target = "/") {
    return ask(to, [&] { return http::client_request{http::method::get, target}; });
  }

  static http_result wait(std::future<http_result> f) {
    if (f.wait_for(std::chrono::seconds(20)) == std::future_status::ready) return f.get();
    ADD_FAILURE() << "the call came to no end";
    return {};
  }

  static http::origin origin_of(const endpoint& to) {
    http::origin made;
    EXPECT_FALSE(http::origin::parse(to.text(), made));
    return made;
  }

  [[nodiscard]] http::client& web() { return *web_; }
  [[nodiscard]] engine_host& host() { return host_; }
  [[nodiscard]] http::client_statistics statistics() { return web_->statistics(); }

 private:
  static engine_options with_io(engine_options o) {
    choose_io(o);
    return o;
  }

  static task<> ask(http::client& web, http::origin to, http::client_request rq,
                    std::shared_ptr<std::promise<http_result>> told) {
    http_result r;
    {
      http::call c = web.start(to, std::move(rq));
      if (const http::reply_head* head = co_await c.reply()) {
        r.status = head->status;
        r.server_field = head->fields.find("server").value_or("");
        while (std::optional<chain> part = co_await c.next()) r.body += part->to_string();
      }
      r.complete = c.complete();
      r.why = c.why();
      r.kept = c.on_kept_connection();
      if (r.complete) r.trailer = c.trailer("digest").value_or("");
    }
    told->set_value(std::move(r));
  }

  engine_host host_;
  std::unique_ptr<http::client> web_;
  std::list<std::pair<std::function<task<>()>, task<>>> running_;
};

}  // namespace catenet::test
