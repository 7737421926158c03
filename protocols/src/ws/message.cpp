// Messages: joining, sharing, preparing.
#include <catenet/engine/core.hpp>
#include <catenet/ws/encoder.hpp>
#include <catenet/ws/message.hpp>

#include "ws/in_pages.hpp"

namespace catenet::ws {

std::optional<std::string_view> message::view() {
  if (payload_.empty()) return std::string_view{};
  if (payload_.front().size() != payload_.bytes()) {
    lease whole = lease::of(payload_.bytes());
    if (whole.bytes().size() < payload_.bytes()) return std::nullopt;
    const std::size_t size = payload_.copy_to(whole.bytes());
    payload_ = chain{std::move(whole), 0, size};
    headroom_ = 0;
  }
  return as_text(payload_.front());
}

std::optional<message> message::share() {
  std::optional<chain> twin = payload_.share();
  if (!twin) return std::nullopt;
  return message{std::move(*twin), text_, std::exchange(headroom_, std::uint8_t{0})};
}

chain message::into_frame(std::uint64_t moved_bytes_max) && {
  const opcode op = text_ ? opcode::text : opcode::binary;
  frame_header header;
  header.op = op;
  header.length = payload_.bytes();
  const std::size_t size = header_size(header.length, false);
  if (header.length <= moved_bytes_max || headroom_ < size) return encode(op, std::move(payload_));
  write_header(payload_.head()->data - size, header);
  payload_.grow_front(size);
  return std::move(payload_);
}

prepared::prepared(message&& m)
    : header_bytes_(static_cast<std::uint8_t>(header_size(m.size(), false))),
      text_(m.is_text()),
      frame_(std::move(m).into_frame(copy_bytes_max)) {
  if (const core* here = core::current()) move_into_pages(frame_, *here);
}

std::optional<message> prepared::unframed() {
  std::optional<chain> payload = frame_.share(header_bytes_, frame_.bytes() - header_bytes_);
  if (!payload) return std::nullopt;
  return message{std::move(*payload), text_};
}

}  // namespace catenet::ws
