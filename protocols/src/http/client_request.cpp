// Requests of a client: what may be sent, and what it looks like on its way (RFC 9112 §3, §6).
#include <catenet/http/client_request.hpp>

#include "http/calls.hpp"
#include "http/chars.hpp"
#include "http/scan.hpp"

#include <utility>

namespace catenet::http {

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

client_request& client_request::redirects(std::uint32_t most) {
  redirects_ = most;
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

void calls::ask(call_state& c, const origin& to, client_request&& rq) {
  const std::string_view host = rq.host_.empty() ? std::string_view{to.authority()} : rq.host_;
  if (rq.unfit_ || !valid_field(rq.method_, {}) || rq.method_ == "CONNECT" ||
      !valid_target(rq.method_, rq.target_) || !valid_authority(host, 0))
    return fail(c, {client_failure::bad_request, "the request may not be sent"});
  const std::uint32_t redirects = rq.redirects_.value_or(options_.redirects_max);
  if (redirects == 0) return compose(c, to, rq, std::move(rq.body_));
  c.onward = std::make_unique<redirection>(redirection{std::move(rq), to, redirects});
  ask_onward(c);
}

void calls::ask_onward(call_state& c) {
  client_request& rq = c.onward->request;
  std::optional<chain> body = rq.body_.share();
  if (!body) return fail(c, {client_failure::no_memory, "no memory for the request"});
  compose(c, c.onward->to, rq, std::move(*body));
}

void calls::compose(call_state& c, const origin& to, const client_request& rq, chain&& body) {
  using source = client_request::source;
  c.to_head = rq.method_ == "HEAD";
  c.idempotent = is_idempotent(rq.method_);
  c.close_after = rq.close_ || options_.idle_max == 0;
  std::string head;
  head.reserve(128 + rq.method_.size() + rq.target_.size() + rq.host_.size() + rq.fields_.size());
  head.append(rq.method_).append(" ").append(rq.target_).append(" HTTP/1.1\r\nHost: ");
  head.append(rq.host_.empty() ? to.authority() : rq.host_).append("\r\n");
  head.append(rq.fields_);
  c.framing = framing::none;
  if (rq.source_ == source::chunks) {
    c.framing = framing::chunks;
    head.append("Transfer-Encoding: chunked\r\n");
  } else if (rq.source_ != source::none || expects_body(rq.method_)) {
    c.framing = framing::length;
    head.append("Content-Length: ").append(std::to_string(rq.length_)).append("\r\n");
  }
  if (c.close_after) head.append("Connection: close\r\n");
  head.append("\r\n");
  c.sent_all = rq.source_ == source::none || rq.source_ == source::whole;
  if (!c.sent_all) c.length_left = rq.length_;
  c.outgoing = chain::copy_of(head);
  if (c.outgoing.bytes() != head.size())
    return fail(c, {client_failure::no_memory, "no memory for the request"});
  c.outgoing.append(std::move(body));
  begin(c);
}

}  // namespace catenet::http
