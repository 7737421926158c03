// Fuzzes the HTTP codecs: any bytes, cut up in any way, are taken without a fault of ours, and give the same
// events as the same bytes in one piece.
#include <catenet/slab/pool.hpp>

#include "support/http_codec_session.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using catenet::chain;

chain segment_of(const std::uint8_t* data, std::size_t size) {
  catenet::lease l = catenet::lease::of(size);
  if (l.bytes().size() < size) return chain::copy_of({reinterpret_cast<const std::byte*>(data), size});
  std::memcpy(l.bytes().data(), data, size);
  return chain{std::move(l), 0, size};
}

// Small limits, so that a short input reaches them.
constexpr catenet::http::limits most{.request_line = 100,
                                     .head_bytes = 400,
                                     .fields = 8,
                                     .empty_lines = 2,
                                     .trailer_bytes = 100,
                                     .trailer_fields = 3,
                                     .extension_bytes = 30,
                                     .chunk_overhead = 60};
constexpr std::uint64_t body_max = 200;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  static catenet::depot depot;
  catenet::pool pool{depot};
  // The first two bytes say how the rest is cut: the size of the pieces, and whether some are joined to one
  // arrival.
  const std::size_t step = 1u + data[0];
  const std::size_t joined = 1u + data[1] % 4;
  data += 2;
  size -= 2;

  catenet::test::http_codec_session whole{most, body_max};
  whole.feed(segment_of(data, size));
  catenet::test::http_codec_session pieces{most, body_max};
  chain arrival;
  std::size_t count = 0;
  for (std::size_t at = 0; at < size; at += step) {
    arrival.append(segment_of(data + at, step < size - at ? step : size - at));
    if (++count % joined == 0 || at + step >= size) pieces.feed(std::move(arrival));
  }
  if (whole.log() != pieces.log()) {
    std::fprintf(stderr, "whole:\n%s\npieces of %zu:\n%s\n", whole.log().c_str(), step, pieces.log().c_str());
    std::abort();
  }
  return 0;
}
