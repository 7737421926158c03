// See publication.hpp.
#include "ws/publication.hpp"

#include <catenet/ws/encoder.hpp>

#include <utility>

namespace catenet::ws {

publication::publication(message&& m)
    : op_(m.is_text() ? opcode::text : opcode::binary),
      header_bytes_(static_cast<std::uint8_t>(header_size(m.size(), false))),
      plain_(encode(op_, std::move(m.payload()))) {}

std::optional<publication> publication::share() {
  publication twin;
  twin.op_ = op_;
  twin.header_bytes_ = header_bytes_;
  twin.tried_ = tried_;
  std::optional<chain> plain = plain_.share();
  if (!plain) return std::nullopt;
  twin.plain_ = std::move(*plain);
  for (std::size_t i = 0; i != windows; ++i) {
    std::optional<chain> small = deflated_[i].share();
    if (!small) return std::nullopt;
    twin.deflated_[i] = std::move(*small);
  }
  return twin;
}

chain* publication::deflated(std::uint8_t window_bits, std::uint8_t level, deflate_shelf& shelf) {
  const std::size_t i = window_bits - window_bits_min;
  if (!std::exchange(tried_[i], true)) {
    const std::optional<chain> payload = plain_.share(header_bytes_, payload_bytes());
    if (payload && !payload->empty()) {
      std::unique_ptr<deflater> d = shelf.take_deflater(window_bits, level);
      chain small = d->compress(*payload);
      shelf.give(std::move(d));
      if (!small.empty() && small.bytes() < payload->bytes()) deflated_[i] = encode(op_, std::move(small), true);
    }
  }
  return deflated_[i].empty() ? nullptr : &deflated_[i];
}

}  // namespace catenet::ws
