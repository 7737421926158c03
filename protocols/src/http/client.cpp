// Making requests and starting calls.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/http/client.hpp>
#include <catenet/http/status.hpp>

#include "http/calls.hpp"
#include "http/chars.hpp"
#include "http/scan.hpp"

#include <algorithm>
#include <vector>

namespace catenet::http {

struct client::state {
  explicit state(client_options o) : options(o) {}
  client_options options;
  struct of_core {
    call_counters counters;
    std::unique_ptr<http::calls> calls;  // made and used by its core
  };
  std::vector<std::unique_ptr<of_core>> cores;
};

client::client(engine& net, client_options options) : state_(std::make_unique<state>(options)) {
  client_options& o = state_->options;
  o.limits = o.limits.checked();
  o.connections_max = std::max(o.connections_max, 1u);
  for (unsigned i = 0; i != net.cores(); ++i) {
    state_->cores.push_back(std::make_unique<state::of_core>());
    state_->cores.back()->calls = std::make_unique<http::calls>(net.at(i), o, state_->cores.back()->counters);
  }
}

client::~client() = default;

const client_options& client::options() const { return state_->options; }

client_statistics client::statistics() const {
  client_statistics sum;
  for (const auto& one : state_->cores) {
    const call_counters& c = one->counters;
    sum.calls += c.calls.get();
    sum.opened += c.opened.get();
    sum.reused += c.reused.get();
    sum.retries += c.retries.get();
    sum.failures += c.failures.get();
    sum.unasked += c.unasked.get();
    sum.connections += c.connections.get();
    sum.idle += c.idle.get();
  }
  return sum;
}

// ---- requests

namespace {

bool valid_target(std::string_view method, std::string_view target) {
  if (target == "*") return method == "OPTIONS";
  return target.starts_with('/') && all_are(target, char_target);
}

// RFC 9110 §9.2.2: what was meant once may be done twice.
bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE" || method == "TRACE";
}

// RFC 9110 §8.6: where a body is expected, that there is none is said.
bool expects_body(std::string_view method) {
  return method == "POST" || method == "PUT" || method == "PATCH";
}

bool is_reserved(std::string_view name) {
  return equal_ignoring_case(name, "content-length") || equal_ignoring_case(name, "transfer-encoding") ||
         equal_ignoring_case(name, "connection") || equal_ignoring_case(name, "host");
}

}  // namespace

client_request& client_request::header(std::string_view name, std::string_view value) {
  if (!valid_field(name, value) || is_reserved(name)) unfit_ = true;
  if (!unfit_) fields_.append(name).append(": ").append(value).append("\r\n");
  return *this;
}

client_request& client_request::host(std::string_view authority) {
  host_ = authority;
  return *this;
}

client_request& client_request::close() {
  close_ = true;
  return *this;
}

client_request& client_request::body(chain&& bytes) {
  source_ = source::whole;
  length_ = bytes.bytes();
  body_ = std::move(bytes);
  return *this;
}

client_request& client_request::length(std::uint64_t bytes) {
  source_ = source::length;
  length_ = bytes;
  return *this;
}

client_request& client_request::chunked() {
  source_ = source::chunks;
  return *this;
}

call client::start(const origin& to, client_request rq) {
  using source = client_request::source;
  calls& home = *state_->cores[core::current()->index()]->calls;
  const std::shared_ptr<call_state> c = home.make(to);
  const std::string_view host = rq.host_.empty() ? std::string_view{to.authority()} : rq.host_;
  if (rq.unfit_ || !valid_field(rq.method_, {}) || rq.method_ == "CONNECT" ||
      !valid_target(rq.method_, rq.target_) || !valid_authority(host, 0)) {
    home.fail(*c, {client_failure::bad_request, "the request may not be sent"});
    return call{c};
  }
  c->to_head = rq.method_ == "HEAD";
  c->idempotent = is_idempotent(rq.method_);
  c->close_after = rq.close_ || state_->options.idle_max == 0;
  std::string head;
  head.reserve(64 + rq.method_.size() + rq.target_.size() + host.size() + rq.fields_.size());
  head.append(rq.method_)
      .append(" ")
      .append(rq.target_)
      .append(" HTTP/1.1\r\nHost: ")
      .append(host)
      .append("\r\n");
  head.append(rq.fields_);
  if (rq.source_ == source::chunks) {
    c->framing = framing::chunks;
    head.append("Transfer-Encoding: chunked\r\n");
  } else if (rq.source_ != source::none || expects_body(rq.method_)) {
    c->framing = framing::length;
    head.append("Content-Length: ").append(std::to_string(rq.length_)).append("\r\n");
  }
  if (c->close_after) head.append("Connection: close\r\n");
  head.append("\r\n");
  c->sent_all = rq.source_ == source::none || rq.source_ == source::whole;
  if (!c->sent_all) c->length_left = rq.length_;
  c->outgoing = chain::copy_of(head);
  if (c->outgoing.bytes() != head.size()) {
    home.fail(*c, {client_failure::no_memory, "no memory for the request"});
    return call{c};
  }
  c->outgoing.append(std::move(rq.body_));
  home.begin(*c);
  return call{c};
}

}  // namespace catenet::http
