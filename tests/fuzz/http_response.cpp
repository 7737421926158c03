// Fuzzes what a client reads: any bytes, cut up in any way, are taken without a fault of ours, and give the
// same events as the same bytes in one piece.
#include <catenet/slab/pool.hpp>

#include "support/http_reply_session.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using catenet::chain;
using catenet::test::http_reply_session;

chain segment_of(const std::uint8_t* data, std::size_t size) {
  catenet::lease l = catenet::lease::of(size);
  std::memcpy(l.bytes().data(), data, size);
  return chain{std::move(l), 0, size};
}

// Small limits, so that a short input reaches them.
constexpr catenet::http::limits most{.request_line = 60,
                                     .head_bytes = 700,
                                     .fields = 8,
                                     .trailer_bytes = 100,
                                     .trailer_fields = 3,
                                     .extension_bytes = 30,
                                     .chunk_overhead = 60};
constexpr std::uint64_t body_max = 200;
constexpr std::size_t input_max = 64 << 10;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size > input_max) return 0;
  static catenet::depot depot;
  catenet::pool pool{depot};
  // The first two bytes say how the rest is cut, whether the request was HEAD, and whether the connection
  // ends.
  const std::size_t step = 1u + data[0];
  const bool to_head = (data[1] & 1) != 0;
  const bool ends = (data[1] & 2) != 0;
  data += 2;
  size -= 2;

  http_reply_session whole{to_head, most, body_max};
  whole.feed(segment_of(data, size));
  if (ends) whole.end();
  http_reply_session pieces{to_head, most, body_max};
  for (std::size_t at = 0; at < size; at += step)
    pieces.feed(segment_of(data + at, step < size - at ? step : size - at));
  if (ends) pieces.end();
  if (whole.log() != pieces.log()) {
    std::fprintf(stderr, "whole:\n%s\npieces of %zu:\n%s\n", whole.log().c_str(), step, pieces.log().c_str());
    std::abort();
  }
  return 0;
}
