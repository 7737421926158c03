// The client: asking for a WebSocket, checking the answer (RFC 6455 §4.1), and trying again.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/http/origin.hpp>
#include <catenet/http/reply_parser.hpp>
#include <catenet/http/response_head.hpp>
#include <catenet/ws/client.hpp>
#include <catenet/ws/handshake.hpp>

#include "http/chars.hpp"
#include "ws/service.hpp"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace catenet::ws {

namespace {

constexpr std::uint32_t lasting_ms =
    5000;  // a connection that stood so long was a good one: back-off begins anew
constexpr std::uint32_t interim_max = 8;  // answers 100..199 before the proper one

std::string fresh_key() {
  std::array<unsigned char, 16> raw;
  if (RAND_bytes(raw.data(), static_cast<int>(raw.size())) != 1) return {};
  std::array<unsigned char, 25> encoded;
  EVP_EncodeBlock(encoded.data(), raw.data(), static_cast<int>(raw.size()));
  return {encoded.begin(), encoded.end() - 1};
}

std::uint32_t random_below(std::uint32_t most) {
  std::uint32_t raw = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&raw), sizeof raw);
  return most == 0 ? 0 : raw % most;
}

// "ws://host:port/path?query" cut in two; an empty error text is success.
std::string parse_url(std::string_view url, http::origin& to, std::string& target) {
  constexpr std::string_view scheme = "ws://";
  if (!http::equal_ignoring_case(url.substr(0, scheme.size()), scheme))
    return "the URL does not begin with ws://";
  url.remove_prefix(scheme.size());
  const std::size_t path = std::min(url.find_first_of("/?"), url.size());
  target = std::string{url.substr(path)};
  if (!target.starts_with('/')) target.insert(0, 1, '/');
  const bool bad = std::ranges::any_of(target, [](char c) { return c <= ' ' || c == 0x7f || c == '#'; });
  if (bad) return "the URL's path has a character that may not stand there";
  const error e = http::origin::parse("http://" + std::string{url.substr(0, path)}, to);
  return e ? e.text() : std::string{};
}

// Whether each may stand in Sec-WebSocket-Protocol (RFC 6455 §4.1, number 10 of the client's list).
bool may_be_offered(std::span<const std::string> subprotocols) {
  for (std::size_t i = 0; i != subprotocols.size(); ++i) {
    const std::string& one = subprotocols[i];
    if (one.empty() || !http::all_are(one, http::char_token)) return false;
    if (std::ranges::count(subprotocols.first(i), one) != 0) return false;
  }
  return true;
}

// What is wrong with an answer's status, or nothing.
std::string problem_of_status(const http::reply_head& head) {
  if (head.status == 101)
    return head.minor != 0 ? "" : "the server answered in HTTP/1.0, which has no WebSockets";
  std::string problem = "the server answered with " + std::to_string(head.status) + " instead of 101";
  if (head.status / 100 == 3) problem += "; redirections are not followed";
  return problem;
}

}  // namespace

/// The service of the one connection, which also sees the stream before it is one. Keeps itself while a
/// stream refers to it.
class client::session final : public service, private timer {
 public:
  session(core& home, client_options o, std::shared_ptr<const ws::options> shared,
          std::shared_ptr<hub> topics)
      : service(home, std::move(shared), *topics, role::client),
        client_(std::move(o)),
        hub_(std::move(topics)) {}

  bool start(const std::shared_ptr<session>& self);
  void stop(close_code code, std::string_view reason);
  void forget();
  [[nodiscard]] connection* connected() const {
    return wire_ == nullptr ? nullptr : static_cast<connection*>(wire_->session());
  }
  [[nodiscard]] const std::string& subprotocol() const { return subprotocol_; }

  void opened(stream& s) override;
  void refused(stream& s, const error& why) override;
  void received(stream& s, chain&& bytes) override;
  void ended(stream& s) override;
  void expired(stream& s) override;
  void drain(stream& s) override;
  void closed(stream& s) override;

 private:
  void expire() override { connect(); }
  void connect();
  void fail(std::string_view why);
  void give_up(stream& s, std::string_view why);
  void try_later();
  [[nodiscard]] std::string problem_of_options();
  std::string request();
  void answered(stream& s, const http::reply_head& head, chain&& behind);
  const char* check(const http::reply_head& head, deflate_agreement& deflate);

  client_options client_;
  std::shared_ptr<hub> hub_;
  std::weak_ptr<session> weak_;    // itself
  std::shared_ptr<session> self_;  // itself, while wire_ lives
  stream* wire_ = nullptr;
  http::origin origin_;
  std::string target_, key_, subprotocol_;
  http::reply_parser parser_;
  std::uint32_t attempts_ = 0;
  std::uint32_t opened_ms_ = 0;
  std::uint32_t interim_ = 0;  // answers 100..199 so far
  bool wanted_ = false;
  bool told_ = false;  // that this attempt came to nothing
};

// ---- the client's own calls

client::client(core& home, client_options options) {
  auto shared = std::make_shared<ws::options>(std::move(options.connection));
  session_ = std::make_shared<session>(home, std::move(options), std::move(shared),
                                       std::make_shared<hub>(home.owner()));
}
client::~client() { session_->forget(); }
bool client::start() { return session_->start(session_); }
void client::stop(close_code code, std::string_view reason) { session_->stop(code, reason); }
connection* client::connected() const {
  connection* c = session_->connected();
  return c != nullptr && c->is_open() ? c : nullptr;
}
std::string_view client::subprotocol() const { return session_->subprotocol(); }

// ---- connecting

bool client::session::start(const std::shared_ptr<session>& self) {
  if (core::current() != &home()) {
    log(log_level::error,
        "ws::client: start() for " + client_.url +
            " was not called on the thread of its core, or the engine does not run; post it "
            "to that core, or call it from engine::on_start()");
    return false;
  }
  if (wire_ != nullptr) return false;
  weak_ = self;
  if (const std::string problem = problem_of_options(); !problem.empty()) {
    fail(problem);
    return false;
  }
  wanted_ = true;
  attempts_ = 0;
  connect();
  return true;
}

std::string client::session::problem_of_options() {
  if (std::string problem = parse_url(client_.url, origin_, target_); !problem.empty()) return problem;
  if (!may_be_offered(options().subprotocols)) return "a subprotocol to offer is no token, or is named twice";
  for (const auto& [name, value] : client_.fields)
    if (!http::valid_field(name, value))
      return "a field of the request has a character that may not stand there";
  return {};
}

void client::session::connect() {
  const std::shared_ptr<session> keep = weak_.lock();  // what is told `failed` may end the client
  timer::stop();
  told_ = false;
  interim_ = 0;
  error why;
  wire_ = home().connect(origin_.where(), *this, why, {.timeout_ms = client_.connect_timeout_ms});
  if (wire_ != nullptr) {
    self_ = weak_.lock();
    return;
  }
  fail(why.text());
  try_later();
}

void client::session::opened(stream& s) {
  s.set_deadline(client_.handshake_timeout_ms);
  s.send(chain::copy_of(request()));
}

void client::session::refused(stream&, const error& why) { fail(why.text()); }

std::string client::session::request() {
  key_ = fresh_key();
  std::string out =
      "GET " + target_ + " HTTP/1.1\r\nHost: " + origin_.authority() +
      "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
      key_ + "\r\n";
  std::string protocols;
  for (const std::string& one : options().subprotocols) {
    if (!protocols.empty()) protocols += ", ";
    protocols += one;
  }
  if (!protocols.empty()) out += "Sec-WebSocket-Protocol: " + protocols + "\r\n";
  if (options().deflate.enabled) out += "Sec-WebSocket-Extensions: " + offer_of(options().deflate) + "\r\n";
  for (const auto& [name, value] : client_.fields) out.append(name).append(": ").append(value).append("\r\n");
  return out + "\r\n";
}

// ---- the answer

void client::session::received(stream& s, chain&& bytes) {
  if (s.session() != nullptr) return service::received(s, std::move(bytes));
  http::reply_head head;
  for (;;) {
    switch (parser_.next(bytes, http::limits{}, head)) {
      case http::reply_parser::progress::more:
        return;
      case http::reply_parser::progress::broken:
        return give_up(s, parser_.why().reason);
      case http::reply_parser::progress::complete:
        break;
    }
    if (head.status == 101 || !head.informational()) return answered(s, head, std::move(bytes));
    if (++interim_ > interim_max) return give_up(s, "the server sent too many interim answers");
    parser_.reset();
  }
}

void client::session::answered(stream& s, const http::reply_head& head, chain&& behind) {
  if (const std::string problem = problem_of_status(head); !problem.empty()) return give_up(s, problem);
  deflate_agreement deflate;
  if (const char* problem = check(head, deflate)) return give_up(s, problem);
  opened_ms_ = home().now_ms();
  parser_.reset();
  adopt(s, std::move(behind), deflate);
}

// What is wrong with the fields of the answer (RFC 6455 §4.1, the client's list), or null.
const char* client::session::check(const http::reply_head& head, deflate_agreement& deflate) {
  const http::fields& f = head.fields;
  if (f.count("Upgrade") != 1 || !http::equal_ignoring_case(f.find("Upgrade").value_or(""), "websocket"))
    return "the answer upgrades to something else";
  if (!f.lists("Connection", "upgrade")) return "the answer's Connection lacks upgrade";
  const accept_value accept = accept_of(key_);
  if (f.count("Sec-WebSocket-Accept") != 1 ||
      f.find("Sec-WebSocket-Accept") != std::string_view{accept.data(), accept.size()})
    return "the answer's Sec-WebSocket-Accept is wrong";
  subprotocol_ = f.find("Sec-WebSocket-Protocol").value_or("");
  if (f.count("Sec-WebSocket-Protocol") > 1 ||
      (f.count("Sec-WebSocket-Protocol") == 1 && !std::ranges::count(options().subprotocols, subprotocol_)))
    return "the server chose a subprotocol that was not offered";
  if (f.count("Sec-WebSocket-Extensions") > 1) return "the server chose more than one extension";
  return accept_answer(f.find("Sec-WebSocket-Extensions").value_or(""), options().deflate, deflate);
}

// ---- the end, and trying again

void client::session::ended(stream& s) {
  if (s.session() != nullptr) return service::ended(s);
  give_up(s, "the server ended the connection instead of answering");
}

void client::session::expired(stream& s) {
  if (s.session() != nullptr) return service::expired(s);
  give_up(s, "the server did not answer in time");
}

void client::session::drain(stream& s) {
  wanted_ = false;
  if (s.session() != nullptr) return service::drain(s);
  s.abort();
}

void client::session::closed(stream& s) {
  const bool was_open = s.session() != nullptr;
  if (was_open) service::closed(s);
  parser_.reset();
  if (!was_open && wanted_ && !told_) fail("the connection broke before the server answered");
  wire_ = nullptr;
  if (was_open && home().now_ms() - opened_ms_ >= lasting_ms) attempts_ = 0;
  const std::shared_ptr<session> keep = std::move(self_);  // until the end of this call
  try_later();
}

void client::session::give_up(stream& s, std::string_view why) {
  fail(why);
  s.abort();
}

void client::session::fail(std::string_view why) {
  told_ = true;
  if (!client_.failed || muted()) return;
  try {
    client_.failed(why);
  } catch (...) {
    log_thrown();
  }
}

void client::session::try_later() {
  if (!wanted_ || client_.reconnect_first_ms == 0 || home().draining()) return;
  const unsigned doublings = std::min(attempts_++, 20u);
  const std::uint64_t wait_ms = std::min<std::uint64_t>(
      std::uint64_t{client_.reconnect_first_ms} << doublings, client_.reconnect_max_ms);
  const auto half_ms = static_cast<std::uint32_t>(wait_ms / 2);
  home().timers().start(*this, half_ms + random_below(half_ms + 1));
}

void client::session::stop(close_code code, std::string_view reason) {
  wanted_ = false;
  timer::stop();
  if (wire_ == nullptr) return;
  if (connection* c = connected())
    c->close(code, reason);
  else
    wire_->abort();
}

// The client is gone: nobody is told anything any more.
void client::session::forget() {
  wanted_ = false;
  mute();
  timer::stop();
  if (wire_ != nullptr) wire_->abort();
}

}  // namespace catenet::ws
