// Frames to send: header and payload joined.
#include <catenet/ws/encoder.hpp>

#include "ws/mask_chain.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace catenet::ws {

namespace {

struct header_bytes {
  explicit header_bytes(const frame_header& h) : size(write_header(raw.data(), h)) {}
  std::array<std::byte, header_size_max> raw;
  std::size_t size;
};

// Header and payload in one block when they fit into a small one, since copying that much is cheaper than a
// second segment; else linked.
chain join(const header_bytes& header, chain&& payload) {
  const std::uint64_t size = header.size + payload.bytes();
  if (size <= copy_bytes_max) {
    lease into = lease::of(size);
    if (!into) return {};
    std::memcpy(into.bytes().data(), header.raw.data(), header.size);
    if (payload.copy_to(into.bytes().subspan(header.size)) == payload.bytes())
      return {std::move(into), 0, size};
  }
  chain frame = chain::copy_of(std::span{header.raw}.first(header.size));
  if (!frame.empty()) frame.append(std::move(payload));
  return frame;
}

frame_header header_of(opcode op, std::uint64_t length, bool compressed) {
  frame_header h;
  h.op = op;
  h.length = length;
  h.rsv1 = compressed;
  return h;
}

// The longest beginning of `reason` that fits a Close frame and does not end within a code point.
std::string_view cut_reason(std::string_view reason) {
  constexpr std::size_t reason_max = control_payload_max - 2;
  if (reason.size() <= reason_max) return reason;
  std::size_t n = reason_max;
  while (n != 0 && (static_cast<unsigned char>(reason[n]) & 0xc0) == 0x80) --n;
  return reason.substr(0, n);
}

}  // namespace

chain encode(opcode op, chain&& payload, bool compressed) {
  return join(header_bytes{header_of(op, payload.bytes(), compressed)}, std::move(payload));
}

chain encode(opcode op, std::span<const std::byte> payload, bool compressed) {
  const header_bytes header{header_of(op, payload.size(), compressed)};
  chain frame = chain::of_size(header.size + payload.size());
  if (frame.empty()) return frame;
  std::size_t before = header.size;  // the smallest block has room for it
  std::memcpy(frame.head()->data, header.raw.data(), before);
  for (const segment* s = frame.head(); s != nullptr; s = s->next) {
    const std::size_t n = s->length - before;
    std::copy_n(payload.data(), n, s->data + before);
    payload = payload.subspan(n);
    before = 0;
  }
  return frame;
}

chain close_payload(close_code code, std::string_view reason) {
  if (code == close_code::no_status) return {};
  const std::array<std::byte, 2> raw = {static_cast<std::byte>(static_cast<unsigned>(code) >> 8),
                                        static_cast<std::byte>(code)};
  chain body = chain::copy_of(raw);
  const bool whole = body.append_copy(cut_reason(reason));
  return whole ? std::move(body) : chain{};
}

chain encode_close(close_code code, std::string_view reason) {
  return encode(opcode::close, close_payload(code, reason));
}

chain encode_masked(opcode op, chain&& payload, bool fin, bool compressed) {
  frame_header h = header_of(op, payload.bytes(), compressed);
  h.fin = fin;
  h.masked = true;
  h.key = fresh_mask();
  if (!apply_mask(payload, h.key)) return {};
  return join(header_bytes{h}, std::move(payload));
}

}  // namespace catenet::ws
