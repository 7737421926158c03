// Server-sent events (HTML Standard §9.2): text that a page gets as it happens.
//
//   web.get("/events", [](http::request& rq, http::response& rs) -> task<> {
//     http::event_stream events{rs};
//     while (co_await events.send("tick")) co_await catenet::sleep(1000);
//   });
#pragma once

#include <catenet/http/response.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace catenet::http {

/// One answer as a stream of events; used by its handler only.
class event_stream {
 public:
  /// Sets type and caching of the answer; the head goes out with the first event.
  explicit event_stream(response& rs);

  /// Sends an event; lines of `data` may end with LF, CR LF or CR. `name` is its type, `id` what a browser
  /// that comes back names in Last-Event-ID; neither may have a line end (it would be left out). co_await it:
  /// false once nobody is there any more.
  response::write_awaiter send(std::string_view data, std::string_view name = {}, std::string_view id = {});
  /// How long a browser waits before it comes back.
  response::write_awaiter retry_after(std::uint32_t ms);
  /// A line that browsers pass over: keeps proxies from ending a quiet connection.
  response::write_awaiter keep_alive();

  /// The text of one event: what send() sends.
  static std::string text_of(std::string_view data, std::string_view name, std::string_view id);

 private:
  response& rs_;
};

}  // namespace catenet::http
