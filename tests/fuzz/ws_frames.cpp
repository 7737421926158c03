// libFuzzer: a WebSocket stream must be told the same whole and cut, and give every block back.
//
// The input's first byte sets the role, the limits and permessage-deflate, the second seeds the cuts, the
// rest is the stream.
#include <catenet/slab/chain.hpp>
#include <catenet/ws/decoder.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace catenet;

[[noreturn]] void fail(const char* why) {
  std::fprintf(stderr, "ws_frames: %s\n", why);
  std::abort();
}

ws::decoder_limits limits_of(unsigned choice) {
  ws::decoder_limits limits;
  limits.message_bytes_max = (choice & 2) != 0 ? 64 : 4096;
  limits.fragments_max = (choice & 4) != 0 ? 4 : 1000;
  limits.empty_fragments_max = 3;
  limits.whole_messages = (choice & 8) == 0;
  return limits;
}

constexpr unsigned deflate_agreed = 16, context_taken_over = 32;

// A failure in words. In compressed data two things can be wrong at once, and the cuts say which is met
// first.
std::string failure(const ws::event& e, unsigned choice) {
  if ((choice & deflate_agreed) != 0) return "failed\n";
  return std::to_string(static_cast<int>(e.code)) + ' ' + e.reason + '\n';
}

// Every event in words; in streaming mode the parts of a message are joined, since how it is cut tells in
// them. What a failing message held until then does not count: how much of it was told depends on the cuts,
// too.
std::string told(std::string_view stream, unsigned choice, std::uint32_t seed, bool cut) {
  const ws::decoder_limits limits = limits_of(choice);
  ws::deflate_shelf shelf;
  ws::decoder decoder{limits, (choice & 1) != 0 ? ws::role::client : ws::role::server};
  if ((choice & deflate_agreed) != 0) decoder.use_deflate(shelf, (choice & context_taken_over) != 0);
  std::string events, open;
  chain in;
  while (!stream.empty()) {
    seed = seed * 1664525 + 1013904223;
    const std::size_t n = cut ? std::min<std::size_t>(1 + (seed >> 16) % 40, stream.size()) : stream.size();
    in.append(chain::copy_of(stream.substr(0, n)));
    stream.remove_prefix(n);
    while (true) {
      ws::event e = decoder.next(in);
      if (in.validate() != nullptr || e.bytes.validate() != nullptr) fail("a broken chain");
      if (e.what == ws::event::kind::need_more) break;
      if (e.what == ws::event::kind::part) {
        if (e.first != open.empty()) fail("a message begins twice or not at all");
        open += (e.first ? "m" : "") + e.bytes.to_string();
        if (!e.last) continue;
        events += open + '\n';
        open.clear();
        continue;
      }
      if (e.what == ws::event::kind::failure) {
        events += failure(e, choice);
        continue;
      }
      events += std::to_string(static_cast<int>(e.what)) + ' ' + std::to_string(static_cast<int>(e.code)) +
                ' ' + e.bytes.to_string() + '\n';
    }
  }
  return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static depot blocks{{.classes = {}, .capacity = 64_MiB, .huge_pages = false}};
  static pool mine{blocks};
  if (size < 2) return 0;
  const std::string_view stream{reinterpret_cast<const char*>(data) + 2, size - 2};
  const std::string whole = told(stream, data[0], 0, false);
  const std::string cut = told(stream, data[0], data[1], true);
  if (whole != cut) fail("told differently when cut");
  mine.turn();
  for (const class_statistics& c : blocks.statistics().classes)
    if (c.rented != 0) fail("a block did not come home");
  return 0;
}
