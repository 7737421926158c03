// The decoder's steps, in the order in which a frame goes through them.
#include <catenet/ws/decoder.hpp>

#include "ws/mask_chain.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

namespace catenet::ws {

namespace {

constexpr std::size_t pack_block_max = 64_KiB;

// What a message of that size may have on the wire when compressing it was no use. zlib's worst case, by its
// deflateBound, is 13 % more (literals of 9 bits, where memory is too little for stored blocks), and each
// flush, one a fragment, adds 5 bytes and a block's header. Bounded, as data may inflate to nothing.
constexpr std::uint64_t deflated_max(std::uint64_t bytes, std::uint32_t fragments) {
  const std::uint64_t more = bytes / 7 + 64 + std::uint64_t{16} * fragments;
  return bytes + std::min(more, std::numeric_limits<std::uint64_t>::max() - bytes);
}

bool feed_all(utf8_check& check, const chain& text) {
  return std::all_of(text.begin(), text.end(),
                     [&](std::span<const std::byte> piece) { return check.feed(piece); });
}

// A view that would hold a block of more than four times its size.
bool pins_too_much(const segment& s) {
  return s.length <= copy_bytes_max || (s.kind == segment_kind::block && s.length < s.blk->capacity() / 4);
}

}  // namespace

event decoder::next(chain& in) {
  event out;
  while (!over_) {
    if (!in_frame_) {
      if (begin_frame(in, out) != step::ready) return out;
    }
    if (take_part(in, out) != step::ready) return out;
  }
  in.clear();
  return out;
}

// Reads a header; a control frame is taken whole.
decoder::step decoder::begin_frame(chain& in, event& out) {
  std::array<std::byte, header_size_max> joined;
  std::span<const std::byte> front = in.front();
  if (front.size() < joined.size() && front.size() < in.bytes())
    front = std::span{joined}.first(in.copy_to(joined));
  const parsed_header parsed = parse_header(front, self_, shelf_ != nullptr);
  if (parsed.violation != nullptr) {
    fail(out, close_code::protocol_error, parsed.violation);
    return step::told;
  }
  if (!parsed.complete) return step::starved;
  const frame_header& h = parsed.header;
  if (!is_control(h.op)) {
    const segment* const front_segment = in.head();
    const bool ours = front_segment->kind == segment_kind::block && front_segment->exclusive;
    headroom_ = ours && front_segment->length > h.size ? h.size : std::uint8_t{0};
    in.consume(h.size);
    begin_data(h, out);
    return over_ ? step::told : step::ready;
  }
  if (in.bytes() - h.size < h.length) return step::starved;
  in.consume(h.size);
  if (std::optional<chain> payload = in.split(h.length);
      payload && (!h.masked || apply_mask(*payload, h.key)))
    control(h, std::move(*payload), out);
  else
    fail(out, close_code::internal_error, "out of memory");
  return step::told;
}

void decoder::begin_data(const frame_header& h, event& out) {
  const bool starts = h.op != opcode::continuation;
  if (starts == in_message_)
    return fail(out, close_code::protocol_error,
                starts ? "new message inside a fragmented one" : "continuation without a start");
  if (starts) {
    in_message_ = first_ = true;
    text_ = h.op == opcode::text;
    compressed_ = h.rsv1;
    message_bytes_ = inflated_bytes_ = 0;
    fragments_ = empty_fragments_ = 0;
    utf8_.reset();
  }
  ++fragments_;
  const std::uint64_t bytes_max =
      compressed_ ? deflated_max(limits_->message_bytes_max, fragments_) : limits_->message_bytes_max;
  if (h.length > bytes_max - message_bytes_) return fail(out, close_code::message_too_big, "message too big");
  message_bytes_ += h.length;
  if (fragments_ > limits_->fragments_max)
    return fail(out, close_code::policy_violation, "too many fragments");
  if (h.length == 0 && !h.fin && ++empty_fragments_ > limits_->empty_fragments_max)
    return fail(out, close_code::policy_violation, "too many empty fragments");
  in_frame_ = true;
  fin_ = h.fin;
  key_ = h.key;
  frame_left_ = h.length;
}

// Takes what there is of the frame's payload.
decoder::step decoder::take_part(chain& in, event& out) {
  if (frame_left_ != 0 && in.empty()) return step::starved;
  const std::uint64_t n = std::min(frame_left_, in.bytes());
  std::optional<chain> part = in.split(n);
  if (!part || (self_ == role::server && !apply_mask(*part, key_))) {
    fail(out, close_code::internal_error, "out of memory");
    return step::told;
  }
  key_ = advanced(key_, n);
  frame_left_ -= n;
  in_frame_ = frame_left_ != 0;
  const bool last = !in_frame_ && fin_;
  if (compressed_ && !inflate(*part, last, out)) return step::told;
  if (text_ && (!feed_all(utf8_, *part) || (last && !utf8_.complete()))) {
    fail(out, close_code::invalid_payload, "text is not UTF-8");
    return step::told;
  }
  if (fragments_ != 1 || compressed_ || !last || !parts_.empty()) headroom_ = 0;
  if (limits_->whole_messages && !last) {
    gather(std::move(*part));
    return step::ready;
  }
  if (!limits_->whole_messages && !last && part->empty()) return step::ready;
  if (limits_->whole_messages && !parts_.empty()) {
    gather(std::move(*part));
    part = std::exchange(parts_, {});
    room_ = 0;
  }
  out.what = limits_->whole_messages ? event::kind::message : event::kind::part;
  out.text = text_;
  out.first = std::exchange(first_, false);
  out.last = last;
  out.headroom = headroom_;
  out.bytes = std::move(*part);
  in_message_ = !last;
  return step::told;
}

// Puts what the part inflates to in its place. False when that fails, which is told.
bool decoder::inflate(chain& part, bool last, event& out) {
  if (!inflater_) inflater_ = shelf_->take_inflater();
  chain inflated;
  auto did = inflater::result::good;
  if (message_bytes_ != 0)  // some peers send nothing at all for an empty message
    did = inflater_->feed(part, last, limits_->message_bytes_max - inflated_bytes_, inflated);
  inflated_bytes_ += inflated.bytes();
  part = std::move(inflated);
  if (last && !context_takeover_) shelf_->give(std::move(inflater_));
  switch (did) {
    case inflater::result::good:
      return true;
    case inflater::result::broken:
      fail(out, close_code::invalid_payload, "compressed data is broken");
      break;
    case inflater::result::too_big:
      fail(out, close_code::message_too_big, "message too big");
      break;
    case inflater::result::no_memory:
      fail(out, close_code::internal_error, "out of memory");
      break;
  }
  return false;
}

void decoder::control(const frame_header& h, chain&& payload, event& out) {
  if (h.op == opcode::close) return close(std::move(payload), out);
  out.what = h.op == opcode::ping ? event::kind::ping : event::kind::pong;
  out.bytes = std::move(payload);
}

void decoder::close(chain&& payload, event& out) {
  if (!payload.empty()) {
    std::array<std::byte, 2> raw;
    if (payload.copy_to(raw) != raw.size())
      return fail(out, close_code::protocol_error, "close frame with half a code");
    const auto code = static_cast<std::uint16_t>(std::to_integer<unsigned>(raw[0]) << 8 |
                                                 std::to_integer<unsigned>(raw[1]));
    if (!may_be_sent(code)) return fail(out, close_code::protocol_error, "close code out of range");
    payload.consume(raw.size());
    utf8_check check;
    if (!feed_all(check, payload) || !check.complete())
      return fail(out, close_code::invalid_payload, "close reason is not UTF-8");
    out.code = static_cast<close_code>(code);
  }
  out.what = event::kind::close;
  out.bytes = std::move(payload);
  over_ = true;
}

void decoder::fail(event& out, close_code code, const char* reason) {
  out.what = event::kind::failure;
  out.code = code;
  out.reason = reason;
  parts_.clear();
  over_ = true;
}

// Keeps a part until its message is whole. That may take long, so what pins much more than it uses is copied;
// when the slab has no room for that, it is kept as it is.
void decoder::gather(chain&& part) {
  while (!part.empty()) {
    const segment& s = *part.head();
    const std::size_t copied = pins_too_much(s) ? pack({s.data, s.length}) : 0;
    if (copied != 0) {
      part.consume(copied);
    } else if (std::optional<chain> whole = part.split(s.length)) {  // at a border: cannot fail
      parts_.append(std::move(*whole));
      room_ = 0;
    }
  }
}

// Copies the first of `bytes` behind what is gathered, into blocks that grow with the message, so that about
// a quarter stays free at most. Returns how many.
std::size_t decoder::pack(std::span<const std::byte> bytes) {
  std::size_t least = room_;
  if (least == 0) least = std::max(bytes.size(), std::min<std::size_t>(parts_.bytes() / 4, pack_block_max));
  reservation into = parts_.reserve(least);
  if (!into && least > bytes.size()) into = parts_.reserve(bytes.size());
  if (!into) return 0;
  const std::size_t n = std::min(into.bytes().size(), bytes.size());
  std::memcpy(into.bytes().data(), bytes.data(), n);
  room_ = static_cast<std::uint32_t>(into.bytes().size() - n);
  into.commit(n);
  return n;
}

}  // namespace catenet::ws
