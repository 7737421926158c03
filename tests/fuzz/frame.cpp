// The frame decoder on arbitrary bytes in arbitrary pieces, by every format: it agrees with a decoder that
// was given all at once, and what it accepts it writes again to the letter.
#include <catenet/frame/decoder.hpp>
#include <catenet/slab/depot.hpp>
#include <catenet/slab/pool.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace catenet;

struct outcome {
  std::vector<std::string> frames;
  frame::status end = frame::status::more;
  bool operator==(const outcome&) const = default;
};

void read_all(frame::decoder& from, outcome& into) {
  chain payload;
  while ((into.end = from.next(payload)) == frame::status::frame) {
    if (payload.validate() != nullptr) std::abort();
    into.frames.push_back(payload.to_string());
  }
}

outcome decode(const frame::format& how, std::string_view wire, std::size_t piece) {
  frame::decoder from{how, {.payload_bytes_max = 4096}};
  outcome seen;
  for (; !wire.empty() && !frame::is_fatal(seen.end); wire.remove_prefix(std::min(piece, wire.size()))) {
    from.feed(chain::copy_of(wire.substr(0, piece)));
    read_all(from, seen);
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static depot blocks{{.classes = {}, .capacity = 64_MiB, .huge_pages = false}};
  static pool mine{blocks};
  if (size < 2) return 0;
  const frame::format& how = *std::vector{&frame::length_u32, &frame::magic_u32, &frame::varint}[data[0] % 3];
  const std::string_view wire{reinterpret_cast<const char*>(data + 2), size - 2};
  const outcome whole = decode(how, wire, wire.size() + 1);
  if (decode(how, wire, 1u + data[1]) != whole) std::abort();

  chain again;
  for (const std::string& payload : whole.frames)
    if (!frame::encode(how, chain::copy_of(payload), again)) std::abort();
  if (!wire.starts_with(again.to_string())) std::abort();
  return 0;
}
