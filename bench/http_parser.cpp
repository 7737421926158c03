// What reading HTTP costs without a socket: heads whole, gathered from two pieces, answers' heads, bodies in
// chunks (Google Benchmark). The goal is 1.5 GB/s on a request's head of 500 bytes, as a browser sends it.
//
//   http_parser           every --benchmark_… option works
#include <catenet/http/body_decoder.hpp>
#include <catenet/http/head_parser.hpp>
#include <catenet/http/reply_parser.hpp>
#include <catenet/slab/chain.hpp>
#include <catenet/slab/depot.hpp>
#include <catenet/slab/pool.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace {

using namespace catenet;

pool& the_pool() {
  static depot d{depot_options{}};
  static pool p{d};
  return p;
}

constexpr std::string_view small_head = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

// A browser's, filled up by its cookie to exactly 500 bytes.
std::string browser_head() {
  std::string head =
      "GET /assets/app.js?v=20260102 HTTP/1.1\r\n"
      "Host: www.example.org\r\n"
      "Connection: keep-alive\r\n"
      "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
      "Safari/537.36\r\n"
      "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
      "Referer: http://www.example.org/\r\n"
      "Accept-Encoding: gzip, deflate, br\r\n"
      "Accept-Language: en-GB,en;q=0.9\r\n"
      "Cookie: ";
  constexpr std::string_view end = "\r\n\r\n";
  head.append(500 - head.size() - end.size(), 'c').append(end);
  return head;
}

void finish(benchmark::State& state, std::size_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(bytes));
}

// As a connection does it: parsed where it lies, then consumed; a chain of many is shared anew when it is
// used up.
void head_in_place(benchmark::State& state, const std::string& head) {
  the_pool();
  constexpr int heads = 64;
  std::string text;
  for (int i = 0; i != heads; ++i) text += head;
  chain all = chain::copy_of(text);
  const http::limits most = http::limits{}.checked();
  http::head_parser parser;
  http::request_head into;
  chain input;
  for (auto _ : state) {
    if (input.empty()) input = *all.share();
    // Blocks are as long as they are: a head across two of them is gathered.
    if (parser.next(input, most, into) != http::head_parser::progress::complete)
      state.SkipWithError("no head");
    benchmark::DoNotOptimize(into.fields.size());
    if (parser.in_place()) input.consume(into.bytes);
    parser.reset();
  }
  finish(state, head.size());
}

void head_in_two_pieces(benchmark::State& state, const std::string& head) {
  the_pool();
  chain first = chain::copy_of(std::string_view{head}.substr(0, head.size() / 2));
  chain second = chain::copy_of(std::string_view{head}.substr(head.size() / 2));
  const http::limits most = http::limits{}.checked();
  http::head_parser parser;
  http::request_head into;
  for (auto _ : state) {
    chain input = *first.share();
    input.append(*second.share());
    if (parser.next(input, most, into) != http::head_parser::progress::complete)
      state.SkipWithError("no head");
    benchmark::DoNotOptimize(into.fields.size());
    parser.reset();
  }
  finish(state, head.size());
}

void reply_head(benchmark::State& state) {
  the_pool();
  constexpr std::string_view head =
      "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 11:31:57 GMT\r\nContent-Type: "
      "text/html\r\n"
      "Content-Length: 612\r\nLast-Modified: Wed, 18 Nov 2026 08:00:00 GMT\r\nConnection: keep-alive\r\n"
      "ETag: \"6557-264\"\r\nAccept-Ranges: bytes\r\n\r\n";
  chain all = chain::copy_of(head);
  const http::limits most = http::limits{}.checked();
  http::reply_parser parser;
  http::reply_head into;
  for (auto _ : state) {
    chain input = *all.share();
    if (parser.next(input, most, into) != http::reply_parser::progress::complete)
      state.SkipWithError("no head");
    benchmark::DoNotOptimize(into.fields.size());
    parser.reset();
  }
  finish(state, head.size());
}

// A body of 64 KiB in chunks of that many bytes.
void chunks(benchmark::State& state) {
  the_pool();
  constexpr std::size_t body_bytes = 64 << 10;
  const auto chunk_bytes = static_cast<std::size_t>(state.range(0));
  char line[24];
  std::string text;
  for (std::size_t left = body_bytes; left != 0; left -= chunk_bytes) {
    std::snprintf(line, sizeof line, "%zx\r\n", chunk_bytes);
    text.append(line).append(chunk_bytes, 'x').append("\r\n");
  }
  text += "0\r\n\r\n";
  chain all = chain::copy_of(text);
  const http::limits most = http::limits{}.checked();
  for (auto _ : state) {
    chain input = *all.share();
    chain body;
    auto decoder = http::body_decoder::of_chunks(body_bytes);
    if (decoder.next(input, body, most) != http::body_decoder::progress::end) state.SkipWithError("no body");
    benchmark::DoNotOptimize(body.bytes());
  }
  finish(state, text.size());
}

BENCHMARK_CAPTURE(head_in_place, small, std::string{small_head});
BENCHMARK_CAPTURE(head_in_place, browser_500_bytes, browser_head());
BENCHMARK_CAPTURE(head_in_two_pieces, browser_500_bytes, browser_head());
BENCHMARK(reply_head);
BENCHMARK(chunks)->Arg(64)->Arg(1024)->Arg(16384);

}  // namespace

BENCHMARK_MAIN();
