// Cutting frames out of chains, and putting headers before payloads.
#include <catenet/frame/decoder.hpp>

#include <array>
#include <span>

namespace catenet::frame {

header peek(const format& how, const chain& bytes, const limits& within) {
  std::span<const std::byte> start = bytes.front();
  std::array<std::byte, header_bytes_limit> gathered;
  if (start.size() < how.header_bytes_max && start.size() < bytes.bytes()) {
    const std::size_t length = bytes.copy_to(std::span{gathered}.first(how.header_bytes_max));
    start = std::span{gathered}.first(length);
  }
  if (start.empty()) return {};
  header h = how.parse(start);
  if (h.what == status::frame && h.payload_bytes > within.payload_bytes_max) h.what = status::too_long;
  return h;
}

void gather(chain& into, chain&& bytes) {
  const bool small = bytes.bytes() <= copy_bytes_max && !into.empty() && bytes.head() == bytes.tail();
  if (small && into.append_copy(bytes.front()))
    bytes.clear();
  else
    into.append(std::move(bytes));
}

status decoder::next(chain& payload) {
  if (front_.what == status::more) {
    front_ = peek(*format_, bytes_, limits_);
    if (front_.what != status::frame) return front_.what;
  } else if (front_.what != status::frame) {
    return front_.what;
  }
  if (bytes_.bytes() - front_.header_bytes < front_.payload_bytes) return status::more;
  // Split first: it may fail, and then the header has to be there still.
  auto whole = bytes_.split(front_.header_bytes + front_.payload_bytes);
  if (!whole) return status::no_memory;
  whole->consume(front_.header_bytes);
  payload = std::move(*whole);
  front_ = {};
  return status::frame;
}

std::uint64_t decoder::missing() const {
  if (front_.what != status::frame) return 0;
  const std::uint64_t here = bytes_.bytes() - front_.header_bytes;
  return front_.payload_bytes > here ? front_.payload_bytes - here : 0;
}

bool encode(const format& how, chain&& payload, chain& out) {
  if (payload.bytes() > how.payload_bytes_max) return false;
  std::array<std::byte, header_bytes_limit + copy_bytes_max> head;
  std::size_t length = how.write(payload.bytes(), head.data());
  const bool small = payload.bytes() <= copy_bytes_max;
  if (small) {
    const std::size_t copied = payload.copy_to(std::span{head}.subspan(length, payload.bytes()));
    if (copied == payload.bytes()) {
      if (!out.append_copy(std::span{head}.first(length + copied))) return false;
      payload.clear();
      return true;
    }
  }
  if (!out.append_copy(std::span{head}.first(length))) return false;
  out.append(std::move(payload));
  return true;
}

}  // namespace catenet::frame
