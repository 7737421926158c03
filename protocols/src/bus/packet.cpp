// Packets: what is more than counting.
#include <catenet/bus/packet.hpp>

#include "bus/control.hpp"

#include <algorithm>
#include <functional>

namespace catenet::bus {

namespace detail {

anchor* make_anchor(chain&& bytes) {
  auto* made = make_control<anchor>();
  if (made != nullptr) made->bytes = std::move(bytes);
  return made;
}

void end_anchor(anchor* a) { end_control(a); }

}  // namespace detail

std::optional<packet> send_packet::receive() && { return packet::from(std::move(bytes_)); }

std::optional<packet> packet::from(chain&& bytes) {
  std::optional<packet> made{std::in_place};
  if (bytes.empty()) return made;
  pool* const here = pool::current();
  segment* const only = bytes.head() == bytes.tail() ? bytes.head() : nullptr;
  if (only != nullptr && only->kind == segment_kind::block && only->home == here->id()) {
    ++only->blk->refs;
    *made = adopt(only->blk, only->data, only->length);
    bytes.clear();
    return made;
  }
  const std::uint64_t length = bytes.bytes();
  detail::anchor* a = detail::make_anchor(std::move(bytes));
  if (a == nullptr) return std::nullopt;
  *made = packet{reinterpret_cast<std::uintptr_t>(a) | tag_spanning, nullptr, length};
  made->offset_ = 0;
  made->settle_on_piece();
  return made;
}

std::optional<packet> packet::copy_of(std::span<const std::byte> bytes) {
  if (bytes.empty()) return packet{};
  chain made = chain::copy_of(bytes);
  if (made.empty()) return std::nullopt;
  return from(std::move(made));
}

// A spanning packet whose bytes lie in one segment after all becomes one of that segment.
void packet::settle_on_piece() {
  if (contiguous()) return;
  if (const auto piece = first_piece(); piece.size() == length_) {
    owner_ = (owner_ & ~tag_mask) | tag_anchor;
    data_ = piece.data();
  }
}

std::span<const std::byte> packet::first_piece() const {
  std::uint64_t offset = offset_;
  for (const std::span<const std::byte> piece : in_anchor()->bytes) {
    if (offset < piece.size()) {
      const auto rest = piece.subspan(offset);
      return rest.first(std::min<std::uint64_t>(rest.size(), length_));
    }
    offset -= piece.size();
  }
  return {};
}

std::size_t packet::copy_to(std::span<std::byte> out, std::uint64_t offset) const {
  if (offset >= length_) return 0;
  out = out.first(std::min<std::uint64_t>(out.size(), length_ - offset));
  if (!contiguous()) return in_anchor()->bytes.copy_to(out, offset_ + offset);
  std::copy_n(data_ + offset, out.size(), out.data());
  return out.size();
}

std::string packet::to_string() const {
  std::string text(length_, '\0');
  text.resize(copy_to(std::as_writable_bytes(std::span{text})));
  return text;
}

void packet::advance(std::uint64_t n) {
  if (n >= length_) {
    *this = packet{};
    return;
  }
  length_ -= n;
  if (contiguous()) {
    data_ += n;
  } else {
    offset_ += n;
    settle_on_piece();
  }
}

packet packet::slice(std::uint64_t offset, std::uint64_t length) const {
  if (offset >= length_ || length == 0) return {};
  packet part = clone();
  part.length_ = std::min(length, length_ - offset);
  if (contiguous()) {
    part.data_ += offset;
  } else {
    part.offset_ += offset;
    part.settle_on_piece();
  }
  return part;
}

packet packet::split(std::uint64_t n) {
  if (n >= length_) return std::move(*this);
  packet front = slice(0, n);
  advance(n);
  return front;
}

bool packet::shatter(std::span<const std::uint64_t> lengths, std::span<packet> into) {
  std::uint64_t left = length_;
  for (const std::uint64_t length : lengths) {
    if (length > left) return false;
    left -= length;
  }
  if (left != 0) return false;
  for (std::size_t i = 0; i != lengths.size(); ++i) into[i] = split(lengths[i]);
  return true;
}

std::vector<packet> packet::shatter(std::size_t n) && {
  assert(n != 0);
  std::vector<packet> parts;
  parts.reserve(n);
  const std::uint64_t each = length_ / n;
  const std::uint64_t longer = length_ % n;
  for (std::size_t i = 0; i != n; ++i) parts.push_back(split(each + (i < longer ? 1 : 0)));
  return parts;
}

// Where in its anchor's chain a piece has `length` bytes from this contiguous packet's first on. (Pieces may
// overlap, and lie side by side in memory in another order than in the chain.) std::nullopt when none has.
std::optional<std::uint64_t> packet::place_in_anchor(std::uint64_t length) const {
  std::uint64_t before = 0;
  for (const std::span<const std::byte> piece : in_anchor()->bytes) {
    if (!std::less<>{}(data_, piece.data()) && !std::less<>{}(piece.data() + piece.size(), data_ + length))
      return before + static_cast<std::uint64_t>(data_ - piece.data());
    before += piece.size();
  }
  return std::nullopt;
}

std::optional<packet> packet::join(std::span<packet> parts) {
  // Neighbours in memory under one owner are one slice.
  packet* const first =
      std::find_if(parts.data(), parts.data() + parts.size(), [](auto& p) { return !p.empty(); });
  packet* const end = parts.data() + parts.size();
  if (first == end) return packet{};
  std::uint64_t together = 0;
  packet* p = first;
  for (; p != end; ++p) {
    if (p->empty()) continue;
    if (p->owner_ != first->owner_) break;
    const bool follows =
        first->contiguous() ? p->data_ == first->data_ + together : p->offset_ == first->offset_ + together;
    if (!follows) break;
    together += p->length_;
  }
  const bool one_piece =
      (first->owner_ & tag_mask) != tag_anchor || first->place_in_anchor(together).has_value();
  if (p == end && one_piece) {
    packet all = std::move(*first);
    all.length_ = together;
    for (packet& rest : parts) rest = packet{};
    return all;
  }
  chain all;
  for (packet& each : parts) {
    auto bytes = each.clone().to_chain();
    if (!bytes) return std::nullopt;
    all.append(std::move(*bytes));
  }
  auto joined = from(std::move(all));
  if (joined)
    for (packet& each : parts) each = packet{};
  return joined;
}

std::optional<chain> packet::to_chain() && {
  std::optional<chain> made{std::in_place};
  if (length_ == 0) return made;
  if ((owner_ & tag_mask) == 0) {
    assert(in_block()->home == pool::current()->id() && "a packet stays on its thread; send() it to another");
    segment* s = length_ <= 0xffffffffu ? pool::current()->segment_for(in_block()) : nullptr;
    if (s == nullptr) return std::nullopt;
    s->data = const_cast<std::byte*>(data_);  // a shared segment is never written through
    s->length = static_cast<std::uint32_t>(length_);
    made->append_segment(s);  // takes over this packet's reference
    owner_ = 0;
    length_ = 0;
    return made;
  }
  detail::anchor* a = in_anchor();
  const std::optional<std::uint64_t> offset = contiguous() ? place_in_anchor(length_) : offset_;
  if (!offset) return std::nullopt;
  if (a->refs == 1 && *offset == 0 && length_ == a->bytes.bytes())
    made.emplace(std::move(a->bytes));
  else
    made = a->bytes.share(*offset, length_);
  if (made) *this = packet{};
  return made;
}

std::optional<send_packet> packet::send() && {
  auto bytes = std::move(*this).to_chain();
  if (!bytes) return std::nullopt;
  return send_packet{std::move(*bytes)};
}

void packet::compact() {
  if (owner_ == 0) return;
  std::uint64_t pinned = 0;
  if ((owner_ & tag_mask) == 0)
    pinned = in_block()->capacity();
  else
    for (const segment* s = in_anchor()->bytes.head(); s != nullptr; s = s->next)
      pinned += s->kind == segment_kind::block ? s->blk->capacity() : s->length;
  if (length_ >= pinned / 4) return;
  chain copy = chain::of_size(length_);
  if (copy.empty()) return;
  std::uint64_t at = 0;
  for (segment* s = copy.head(); s != nullptr; s = s->next) at += copy_to({s->data, s->length}, at);
  if (auto small = from(std::move(copy)); small && at == length_) *this = std::move(*small);
}

}  // namespace catenet::bus
