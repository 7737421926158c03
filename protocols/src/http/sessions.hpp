// The session layer of one listener on one core: from bytes to requests, from answers to bytes.
#pragma once

#include <catenet/engine/core.hpp>
#include <catenet/engine/protocol.hpp>
#include <catenet/http/options.hpp>
#include <catenet/slab/counter.hpp>

#include "http/address_set.hpp"
#include "http/exchange.hpp"
#include "http/gathering.hpp"
#include "http/routes.hpp"

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

namespace catenet::http {

struct access;

/// What a core's sessions count; written by the core, read by any thread.
struct session_counters {
  counter requests;
  counter busy;
  counter bytes;
};

/// What all cores share, unchanged while the engine runs.
struct service {
  server_options options;
  routes table;
  std::function<void(const access&)> on_access;
  address_set trusted;  ///< proxies
};

/// What the cores share of one listener. Deadlines change at run time: each is read where it begins to count.
struct listener {
  explicit listener(std::string at, const listener_options& options, const http::deadlines& d)
      : where(std::move(at)), proxy_protocol(options.proxy_protocol) {
    set(d);
  }
  void set(const http::deadlines& d) {
    head_ms = d.head_ms;
    idle_ms = d.idle_ms;
    body_ms = d.body_ms;
    body_rate_min = d.body_rate_min;
    handler_ms = d.handler_ms;
    piece_ms = d.piece_ms;
    send_ms = d.send_ms;
  }
  std::string where;
  bool proxy_protocol;
  std::atomic<std::uint32_t> head_ms, idle_ms, body_ms, body_rate_min, handler_ms, piece_ms, send_ms;
};

class sessions final : public protocol {
 public:
  sessions(core& at, const service& of, const listener& through, session_counters& counters);
  ~sessions() override;

  void opened(stream& s) override;
  void received(stream& s, chain&& bytes) override;
  void ended(stream& s) override;
  void writable(stream& s) override;
  void expired(stream& s) override;
  void drain(stream& s) override;
  void closed(stream& s) override;
  [[nodiscard]] std::uint32_t send_stall_ms(std::uint32_t general) const override;

  // For the awaitables of body and response.

  /// Takes the next part of the body, where it is here. False when the handler has to wait for the peer; then
  /// x.body_waiter is to be set.
  bool pull(exchange& x);
  /// Sends a piece of a body. False when nobody is there; `waits` above the high watermark.
  bool write(exchange& x, chain&& piece, bool& waits);
  /// Sends an informational answer with these lines. False when nobody may be told.
  bool inform(exchange& x, std::uint16_t status, std::string_view lines);
  [[nodiscard]] core& home() const { return core_; }
  [[nodiscard]] const address_set& trusted() const { return service_.trusted; }

 private:
  /// Answers of one stream, gathered on their way out.
  struct batch {
    batch(sessions& of, stream& s) : home(of), to(s), outer(of.batch_), draining(of.core_.draining()) {
      of.batch_ = this;
    }
    ~batch() { home.batch_ = outer; }
    batch(const batch&) = delete;
    batch& operator=(const batch&) = delete;
    sessions& home;
    stream& to;
    batch* outer;
    gathering out;
    const bool draining;  // of the core; that begins between two turns
  };
  enum class outcome : std::uint8_t {
    answered,  // the next request may come
    waiting,   // for the handler, or for the rest of a body: the connection holds the exchange
    over,      // no further request: the connection closes, or is another protocol's now
  };
  struct reading;  // what run() is working on (run.cpp)

  // run.cpp: requests
  void run(stream& s, chain& input);
  bool step(batch& b, reading& r);
  outcome begin(batch& b, reading& r);
  outcome refuse(batch& b, stream& s, exchange& x, const fault& why);
  void keep_for_body(reading& r);
  void keep_while_waiting(reading& r);
  void rest(reading& r);
  void hand_over(stream& s, exchange& x, chain&& left);
  bool find_route(exchange& x);
  bool expects_plain(exchange& x);
  void call(exchange& x);

  // answer.cpp: answers
  void tell_access(exchange& x);
  outcome conclude(batch& b, exchange& x, bool more_follows);
  void settle(exchange& x);
  void explain(exchange& x, const std::exception_ptr& what);
  void write_answer(batch& b, exchange& x, bool more_follows);
  [[nodiscard]] static bool is_plain(const exchange& x);
  void write_plain(batch& b, exchange& x, bool more_follows);
  void compress(exchange& x);
  [[nodiscard]] static bool is_packable(const exchange& x);
  [[nodiscard]] static coding choose_coding(exchange& x);
  void begin_pieces(exchange& x, chain& out);
  bool pack(exchange& x, chain& piece, compressor::until how);
  bool frame(exchange& x, chain&& piece, chain& out);
  void end_pieces(batch& b, exchange& x);
  [[nodiscard]] response_head head_of(exchange& x);
  [[nodiscard]] static bool wants_close(const exchange& x, bool draining);
  [[nodiscard]] bool must_close(const batch& b, const exchange& x) const;
  send_result flush(batch& b);
  void flush_gathered(stream& s);
  void renew_dates() {  // once a second
    if (core_.unix_seconds() != date_second_) [[unlikely]]
      write_dates();
  }
  void write_dates();

  // sessions.cpp: connections and their bodies
  void go_on(connection& c);
  bool introduce(connection& c);
  bool admit(stream& s, const endpoint& client);
  [[nodiscard]] bool limits_addresses() const { return service_.options.connections_per_address_max != 0; }
  static void task_done(void* context);
  void finished(exchange& x);
  outcome discard(connection& c);
  void fail_body(exchange& x, const fault& why);
  void desert(exchange& x, const fault& why);
  void time_out(connection& c);
  void hold_back(connection& c);
  void let_go(connection& c);
  void watch(connection& c);
  void watch_handler(connection& c);
  [[nodiscard]] std::uint32_t handler_left_ms(const exchange& x) const;
  void expand(exchange& x);
  void send_aside(exchange& x, chain&& bytes, send_result& result);
  [[nodiscard]] std::uint64_t body_max(const exchange& x) const;

  exchange& take_exchange();
  void give(exchange& x);
  connection& connection_of(stream& s);
  void give(connection& c);
  void link(exchange& x);
  void unlink(exchange& x);

  core& core_;
  const service& service_;
  const listener& listener_;
  session_counters& counters_;
  batch* batch_ = nullptr;  // the innermost that is open
  exchange* free_exchanges_ = nullptr;
  connection* free_connections_ = nullptr;
  std::uint32_t free_exchange_count_ = 0;
  std::uint32_t free_connection_count_ = 0;
  exchange* waiting_ = nullptr;                                                 // those whose handler waits
  std::unordered_map<ip_address, std::uint32_t, ip_address_hash> per_address_;  // where those are limited
  std::int64_t date_second_ = -1;
  char date_[http_date_bytes];  // what a head says of that second
  std::string opening_;         // of an answer with status 200
};

}  // namespace catenet::http
