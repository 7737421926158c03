// See publication.hpp.
#include "ws/publication.hpp"

#include <catenet/ws/encoder.hpp>

#include <utility>

namespace catenet::ws {

namespace {
constexpr std::uint64_t short_bytes_max = 4_KiB;  // a block of that size may well be pinned
}

publication::publication(std::string_view topic, message&& m)
    : topic_(topic),
      op_(m.is_text() ? opcode::text : opcode::binary),
      header_bytes_(static_cast<std::uint8_t>(header_size(m.size(), false))),
      plain_(std::move(m).into_frame(copy_bytes_max)) {
  if (plain_.bytes() <= short_bytes_max)
    join_short();
  else
    join_long();
}

// Each send of two pieces costs more than of one, so header and body of a short one are copied together; also
// out of a wide block, as it may have to wait for slow subscribers.
void publication::join_short() {
  const segment* const first = plain_.head();
  if (first == nullptr) return;
  const bool fits = first->kind == segment_kind::block && first->blk->capacity() <= short_bytes_max;
  if (first->next == nullptr && fits) return;
  lease whole = lease::of(plain_.bytes());
  if (!whole) return;
  const std::size_t size = plain_.copy_to(whole.bytes());
  plain_ = chain{std::move(whole), 0, size};
}

// A body that came in many pieces is copied together once, and what uses little of its block does not stay
// there.
void publication::join_long() {
  plain_.compact();
  constexpr std::size_t pieces_max = 2;
  if (plain_.segment_count() <= pieces_max) return;
  chain packed = chain::of_size(plain_.bytes());
  if (packed.empty() || packed.segment_count() >= plain_.segment_count()) return;
  std::uint64_t at = 0;
  for (const segment* s = packed.head(); s != nullptr; s = s->next)
    at += plain_.copy_to({s->data, s->length}, at);
  if (at == plain_.bytes()) plain_ = std::move(packed);
}

std::optional<publication> publication::share() {
  publication twin;
  twin.topic_ = topic_;
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
  if (window_bits < window_bits_min || window_bits > window_bits_max) return nullptr;
  const std::size_t i = window_bits - window_bits_min;
  if (!std::exchange(tried_[i], true)) {
    const std::optional<chain> payload = plain_.share(header_bytes_, payload_bytes());
    if (payload && !payload->empty()) {
      std::unique_ptr<deflater> d = shelf.take_deflater(window_bits, level);
      chain small = d->compress(*payload);
      shelf.give(std::move(d));
      if (!small.empty() && small.bytes() < payload->bytes())
        deflated_[i] = encode(op_, std::move(small), true);
    }
  }
  return deflated_[i].empty() ? nullptr : &deflated_[i];
}

}  // namespace catenet::ws
