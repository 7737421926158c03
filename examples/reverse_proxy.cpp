// A reverse proxy: what comes to --listen is asked of --to, and both bodies stream, with memory bounded by
// back-pressure.
//
//   client ──request──▶ server session ──upload()──▶ call ──▶ upstream (connections kept, per core)
//          ◀── write() ──────────────── next() ◀────────────
#include <catenet/engine/core.hpp>
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/http/client.hpp>
#include <catenet/http/server.hpp>

#include "support/io_options.hpp"

#include <CLI/CLI.hpp>
#include <sys/resource.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace catenet;

namespace {

struct options {
  std::string listen = "127.0.0.1:8080";
  std::string to;
  engine_options settings;
  http::client_options client;
};

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Fields that are about one connection and go no further (RFC 9110 §7.6.1), or that are said anew for the
// next.
bool stays_here(const http::fields& all, std::string_view name) {
  static constexpr std::string_view hop_by_hop[] = {
      "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "content-length"};
  for (const std::string_view one : hop_by_hop)
    if (http::equal_ignoring_case(one, name)) return true;
  return all.lists("connection", name);
}

bool is_any_of(std::string_view name, std::initializer_list<std::string_view> names) {
  for (const std::string_view one : names)
    if (http::equal_ignoring_case(one, name)) return true;
  return false;
}

// Whether everything that `open` begins has its `close`; a backslash inside takes the next character's
// meaning.
bool is_closed(std::string_view value, char open, char close) {
  unsigned depth = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (depth != 0 && value[i] == '\\')
      ++i;
    else if (depth != 0 && value[i] == close)
      --depth;
    else if (value[i] == open)
      ++depth;
  }
  return depth == 0;
}

// What came, with what this proxy adds behind it. A quoted string or a comment without an end would swallow
// that, whichever of the two its reader knows of: such a value goes no further.
std::string joined(const http::fields& all, std::string_view name, const std::string& last) {
  std::string list;
  for (const http::field one : all)
    if (http::equal_ignoring_case(one.name, name) && !one.value.empty() && is_closed(one.value, '"', '"') &&
        is_closed(one.value, '(', ')'))
      list.append(one.value).append(", ");
  return list + last;
}

// With the version that the message came in, by which Via says what it may have lost on its way (RFC 9110
// §7.6.3).
std::string via(const http::fields& all, unsigned minor) {
  return joined(all, "via", minor == 0 ? "1.0 catenet" : "1.1 catenet");
}

// "for" of RFC 7239 §6: an IPv6 address is quoted and in brackets.
std::string forwarded_for(const endpoint& peer) {
  const std::string host = peer.host();
  if (peer.is_unix() || host.empty()) return "unknown";
  return host.find(':') == std::string::npos ? host : "\"[" + host + "]\"";
}

constexpr http::method passed_on[] = {http::method::get,     http::method::post,    http::method::put,
                                      http::method::delete_, http::method::options, http::method::patch};

// Over how many more proxies an OPTIONS request may go, where it says so (RFC 9110 §7.6.2). TRACE goes over
// none.
std::optional<std::uint32_t> hops_left(const http::request& rq) {
  const auto value = rq.header("Max-Forwards");
  if (rq.method() != http::method::options || !value) return std::nullopt;
  std::uint32_t hops = 0;
  const auto [end, why] = std::from_chars(value->data(), value->data() + value->size(), hops);
  if (why == std::errc::invalid_argument || end != value->data() + value->size()) return std::nullopt;
  return why == std::errc::result_out_of_range ? ~std::uint32_t{0} : hops;
}

// What the last one of them says of itself.
void answer_options(http::response& rs) {
  std::string allowed = "HEAD";
  for (const http::method m : passed_on) allowed.append(", ").append(name_of(m));
  rs.status(204).header("Allow", allowed);
}

http::client_request request_for(http::request& rq, std::optional<std::uint32_t> hops) {
  const http::request_head& head = rq.head();
  std::string target{head.target};
  if (!target.starts_with('/')) {  // absolute-form: only the path is the upstream's business
    target = head.path;
    if (!head.query.empty()) target.append("?").append(head.query);
  }
  http::client_request made{head.method_name, target};
  const std::string_view host = rq.authority();
  if (!host.empty()) made.host(host);
  for (const http::field one : head.fields)
    if (!stays_here(head.fields, one.name) && !(hops && is_any_of(one.name, {"max-forwards"})) &&
        !is_any_of(one.name, {"host", "expect", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
                              "forwarded", "via"}))
      made.header(one.name, one.value);
  if (hops) made.header("Max-Forwards", std::to_string(*hops - 1));
  const endpoint peer = rq.remote();
  std::string forwarded = "for=" + forwarded_for(peer) + ";proto=http";
  if (!host.empty()) forwarded.append(";host=\"").append(host).append("\"");
  made.header("X-Forwarded-For",
              joined(head.fields, "x-forwarded-for", peer.is_unix() ? "unknown" : peer.host()));
  made.header("X-Forwarded-Proto", "http");
  if (!host.empty()) made.header("X-Forwarded-Host", host);
  made.header("Forwarded", joined(head.fields, "forwarded", forwarded));
  made.header("Via", via(head.fields, head.minor));
  if (head.chunked)
    made.chunked();
  else if (head.has_length)
    made.length(head.content_length);
  return made;
}

// The request's body, from the client to the upstream. What is wrong with it ends the call, and is left in
// `broken`.
task<> upload(http::request& rq, http::call& c, http::fault& broken) {
  try {
    while (std::optional<chain> part = co_await rq.body().next())
      if (!co_await c.write(std::move(*part))) co_return;
    if (const http::trailer_parser* all = rq.body().trailers())
      all->for_each([&](const http::field& one) { c.trailer(one.name, one.value); });
    c.finish();
  } catch (const http::aborted& a) {
    broken = a.why();
    c.abort();
  }
}

void answer_failure(const http::client_error& why, http::response& rs) {
  const bool busy = why.what == http::client_failure::busy || why.what == http::client_failure::no_memory;
  rs.status(why.timeout() ? 504 : busy ? 503 : 502).text("upstream: ", why.text(), "\n");
}

// Trailers go to no client that knows no chunks, so it is not told of them either.
void pass_head(const http::reply_head& head, const http::request& rq, http::response& rs) {
  rs.status(head.status);
  for (const http::field one : head.fields)
    if (!stays_here(head.fields, one.name) && !is_any_of(one.name, {"via"}) &&
        !(rq.minor_version() == 0 && is_any_of(one.name, {"trailer"})))
      rs.header(one.name, one.value);
  rs.header("Via", via(head.fields, head.minor));
  if (head.has_length) rs.length(head.content_length);
}

// An informational answer (RFC 9110 §15.2), but for 100: that is between the two of each connection.
void pass_information(const http::reply_head& head, http::response& rs) {
  std::vector<http::field> lines;
  for (const http::field one : head.fields)
    if (!stays_here(head.fields, one.name)) lines.push_back(one);
  if (head.status != 100) rs.inform(head.status, lines);
}

task<> forward(http::client& upstream, const http::origin& to, http::request& rq, http::response& rs) {
  const std::optional<std::uint32_t> hops = hops_left(rq);
  if (hops == 0u) co_return answer_options(rs);
  http::call c = upstream.start(to, request_for(rq, hops));
  http::fault broken;
  const bool with_body = rq.head().chunked || rq.head().has_length;
  task<> up;
  if (with_body) up = upload(rq, c, broken);
  rq.on_gone([&c] { c.abort(); });
  c.on_informational([&rs](const http::reply_head& head) { pass_information(head, rs); });

  const http::reply_head* head = co_await c.reply();
  if (broken) throw http::aborted(broken);  // the server answers that
  if (head == nullptr) {
    answer_failure(c.why(), rs);
    co_return;
  }
  if (head->fields.count("Content-Type") > 1) {  // which of them holds, two readers may see differently
    rs.status(502).text("upstream: its answer has two fields Content-Type\n");
    co_return;
  }
  pass_head(*head, rq, rs);
  bool there = co_await rs.write(chain{});
  while (there) {
    std::optional<chain> part = co_await c.next();
    if (!part) break;
    there = co_await rs.write(std::move(*part));
  }
  if (!there) co_return;  // ends the call, and with it the upstream's connection
  // Half an answer must not look whole: the client's connection ends without the last chunk.
  if (!c.complete()) throw http::aborted({502, "the upstream ended early"});
  if (c.trailers() != nullptr)
    c.trailers()->for_each([&](const http::field& one) { rs.trailer(one.name, one.value); });
}

void add_options(CLI::App& app, options& o) {
  app.add_option("--listen", o.listen, "HOST:PORT or unix:PATH; port 0 picks a free one")
      ->capture_default_str();
  app.add_option("--to", o.to, "http://HOST:PORT, HOST:PORT or unix:PATH of the upstream")->required();
  app.add_option("--cores", o.settings.cores, "threads; 0: one for each processor")->capture_default_str();
  examples::add_io_options(app, o.settings);
  app.add_option("--connections", o.client.connections_max, "to the upstream, a core")->capture_default_str();
  app.add_option("--connect-ms", o.client.connect_ms, "for a connection to stand")->capture_default_str();
  app.add_option("--head-ms", o.client.head_ms, "from request to answer")->capture_default_str();
  app.add_option("--body-ms", o.client.body_ms, "between two pieces of an answer")->capture_default_str();
}

int fail(const error& e) {
  std::fprintf(stderr, "reverse_proxy: %s\n", e.text().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  o.client.idle_max = o.client.connections_max = 256;
  CLI::App app{"A reverse proxy that streams both ways."};
  add_options(app, o);
  CLI11_PARSE(app, argc, argv);
  raise_descriptor_limit();

  http::origin to;
  if (const error e = http::origin::parse(o.to, to)) return fail(e);
  engine net{o.settings};
  http::client upstream{net, o.client};
  http::server web{net};
  for (const http::method m : passed_on)
    web.on(m, "/{rest...}",
           [&](http::request& rq, http::response& rs) -> task<> { return forward(upstream, to, rq, rs); },
           {.max_body = ~std::uint64_t{0} >> 1});
  endpoint bound;
  if (web.listen(o.listen, &bound)) return 1;  // the engine has told why
  net.on_start([&] {
    const std::string url = o.listen.starts_with("unix:") ? o.listen : "http://" + bound.text();
    std::printf("catenet: listening on %s (%s, %u cores)\n", url.c_str(), std::string{net.io_name()}.c_str(),
                net.cores());
    std::fflush(stdout);
  });
  return net.run() ? 1 : 0;
}
