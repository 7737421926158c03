// The client of one core: its connections, by origin, and the calls on them.
//
//   call ──start──▶ idle connection, else a new one, else the queue of the pool
//     ▲                                │
//     └── answer complete, both sides would go on ──▶ next of the queue, else idle
#pragma once

#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/protocol.hpp>
#include <catenet/http/client.hpp>
#include <catenet/slab/counter.hpp>

#include "http/call_state.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace catenet {
class core;
class stream;
}  // namespace catenet

namespace catenet::http {

struct call_connection {
  call_connection(call_pool& of) : pool(of) {}
  call_pool& pool;
  stream* wire = nullptr;
  std::shared_ptr<call_state> current;  ///< null: idle
  bool used = false;                    ///< an answer came over it
  bool detached = false;                ///< the pool counts it no more
};

/// The connections to one origin.
struct call_pool {
  endpoint where;
  std::uint32_t open = 0;                           ///< connections, those being made included
  std::vector<call_connection*> idle;               ///< the last is the one used last
  std::deque<std::shared_ptr<call_state>> waiting;  ///< first come, first served
};

struct call_counters {
  counter calls, opened, reused, retries, redirects, failures, unasked, connections, idle;
};

class calls final : public protocol {
 public:
  calls(core& at, const client_options& options, call_counters& counters)
      : core_(at), options_(options), counters_(counters) {}

  std::shared_ptr<call_state> make(const origin& to);
  /// Sends the request, where it may be sent.
  void ask(call_state& c, const origin& to, client_request&& rq);
  /// The call comes to nothing, and so does its connection; who waits is woken later. What came of the body
  /// stands.
  void fail(call_state& c, const client_error& why);
  /// Resumes who waits for this call, but from the loop: the caller may be what it would end.
  void wake_later(call_state& c);
  /// Sets the deadline for what the call is waiting for.
  void arm(call_state& c);

  // For call.
  bool pull(call_state& c);
  bool write(call_state& c, chain&& bytes, bool& waits);
  void request_complete(call_state& c);
  void abandon(call_state& c);

  [[nodiscard]] const client_options& options() const { return options_; }
  [[nodiscard]] core& at() const { return core_; }

  void opened(stream& s) override;
  void refused(stream& s, const error& why) override;
  void received(stream& s, chain&& bytes) override;
  void ended(stream& s) override;
  void writable(stream& s) override;
  void expired(stream& s) override;
  void drain(stream& s) override;
  void closed(stream& s) override;

 private:
  call_pool& pool_of(const origin& to);
  void ask_onward(call_state& c);
  void compose(call_state& c, const origin& to, const client_request& rq, chain&& body);
  void begin(call_state& c);
  [[nodiscard]] std::uint32_t total_left_ms(const call_state& c) const;
  void dial(call_state& c);
  void assign(call_connection& conn, call_state& c);
  void release(call_connection& conn);
  void let_go(call_connection& conn, bool reset);
  void detach(call_connection& conn);
  void serve_queue(call_pool& p);
  void lost(call_connection& conn, bool clean);
  void read_head(call_state& c);
  void begin_body(call_state& c);
  void begin_skipping(call_state& c);
  void skip_body(call_state& c);
  void move_on(call_state& c, bool whole);
  void complete(call_state& c);
  void leave(call_state& c, bool whole);
  void broken(call_state& c, const fault& why);
  void queue(const std::shared_ptr<call_state>& c, bool first);

  core& core_;
  const client_options& options_;
  call_counters& counters_;
  std::unordered_map<std::string, std::unique_ptr<call_pool>> pools_;
};

}  // namespace catenet::http
