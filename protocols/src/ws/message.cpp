// Messages: joining, sharing, preparing.
#include <catenet/ws/encoder.hpp>
#include <catenet/ws/message.hpp>

namespace catenet::ws {

std::optional<std::string_view> message::view() {
  if (payload_.empty()) return std::string_view{};
  if (payload_.front().size() != payload_.bytes()) {
    lease whole = lease::of(payload_.bytes());
    if (whole.bytes().size() < payload_.bytes()) return std::nullopt;
    const std::size_t size = payload_.copy_to(whole.bytes());
    payload_ = chain{std::move(whole), 0, size};
  }
  return as_text(payload_.front());
}

std::optional<message> message::share() {
  std::optional<chain> twin = payload_.share();
  if (!twin) return std::nullopt;
  return message{std::move(*twin), text_};
}

prepared::prepared(message&& m)
    : frame_(encode(m.is_text() ? opcode::text : opcode::binary, std::move(m.payload()))) {}

}  // namespace catenet::ws
