// Fuzzes the whole HTTP session: a server in the simulation gets any bytes, in any pieces, with pauses, FIN
// and resets wherever the input wants them. Nothing may be left over, and what comes back begins like an
// answer.
#include <catenet/engine/log.hpp>

#include "support/http_world.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using namespace catenet;

// Sends the input, piece by piece: each begins with a byte that says how long it is and what happens behind
// it.
class fuzzing_peer final : public simulated_peer {
 public:
  fuzzing_peer(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  void connected() override { go_on(); }
  void expired() override { go_on(); }
  void received(std::span<const std::byte> bytes) override {
    for (const std::byte b : bytes)
      if (seen_ < sizeof begin_) begin_[seen_++] = static_cast<char>(b);
  }
  void ended() override {
    over = true;
    if (!finished_) finish();
  }
  void reset() override { over = true; }
  [[nodiscard]] bool looks_like_an_answer() const {
    return std::memcmp(begin_, "HTTP/1.1 ", std::min(seen_, std::size_t{9})) == 0;
  }

  bool over = false;

 private:
  void go_on() {
    if (finished_) {  // long enough for every deadline; a server that still waits is told the end
      over = true;
      return abort();
    }
    if (left_ == 0) {
      finished_ = true;
      finish();
      return after(3'000'000);
    }
    const std::uint8_t what = *data_++;
    --left_;
    const std::size_t bytes = std::min<std::size_t>(left_, what >> 3 == 31 ? 2000 : (what >> 3) * 4u + 1);
    send({reinterpret_cast<const char*>(data_), bytes});
    data_ += bytes;
    left_ -= bytes;
    switch (what & 7) {
      case 5:
        stall(50'000);
        break;
      case 6:
        after(700'000);
        return;  // beyond some deadlines
      case 7:
        if (left_ % 3 == 0) {
          over = true;
          return abort();
        }
        break;
      default:
        break;
    }
    after((what & 3) * 1000u + 1);
  }

  const std::uint8_t* data_;
  std::size_t left_;
  std::size_t seen_ = 0;
  char begin_[9];
  bool finished_ = false;
};

http::server_options hasty() {
  http::server_options o;
  o.limits = {.request_line = 200,
              .head_bytes = 1000,
              .fields = 10,
              .trailer_bytes = 200,
              .trailer_fields = 4,
              .extension_bytes = 50,
              .chunk_overhead = 200};
  o.max_body = 5000;
  o.discard_max = 1000;
  o.input_max = 500;
  o.read_ahead = 1000;
  o.deadlines = {.head_ms = 500, .idle_ms = 1000, .body_ms = 300, .body_rate_min = 50, .handler_ms = 1000};
  return o;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4 || size > 4000) return 0;
  set_log_sink(nullptr);
  std::uint32_t seed = 0;
  std::memcpy(&seed, data, sizeof seed);
  catenet::test::http_world server{{.seed = seed}, hasty()};
  fuzzing_peer peer{data + 4, size - 4};
  server.world.connect(peer, server.at);
  const bool finished = server.run([&] { return peer.over; });
  if (!finished || !server.violation().empty() || !peer.looks_like_an_answer()) {
    std::fprintf(stderr, "finished: %d, violation: %s\n", finished ? 1 : 0, server.violation().c_str());
    std::abort();
  }
  return 0;
}
