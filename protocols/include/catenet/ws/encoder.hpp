// The encoder: a payload in, a frame to send out. Pure, like the decoder.
//
// A frame is a chain too: small payloads are copied behind their header into one block; of larger ones
// nothing is copied, their header goes into a small block in front. The chain can be shared to any number of
// connections.
#pragma once

#include <catenet/slab/chain.hpp>
#include <catenet/ws/close_code.hpp>
#include <catenet/ws/frame.hpp>

#include <cstddef>
#include <span>
#include <string_view>

namespace catenet::ws {

/// A whole message as one frame, unmasked, as a server sends it. Empty when the slab had no room; then
/// `payload` is dropped. For text the caller answers for UTF-8. `compressed` sets RSV1 (RFC 7692 §6).
[[nodiscard]] chain encode(opcode op, chain&& payload, bool compressed = false);
/// The same, with a copy of the bytes.
[[nodiscard]] chain encode(opcode op, std::span<const std::byte> payload, bool compressed = false);
[[nodiscard]] inline chain encode(opcode op, std::string_view payload) {
  return encode(op, as_bytes(payload));
}

/// The body of a Close frame. The reason is cut, between two code points, to the 123 bytes that fit;
/// no_status makes none.
[[nodiscard]] chain close_payload(close_code code, std::string_view reason = {});
[[nodiscard]] chain encode_close(close_code code, std::string_view reason = {});

/// A frame as a client sends it, masked with a fresh key: in place where nobody else can see the bytes, else
/// in a copy. `fin` and `op` make fragments. Empty when the slab had no room.
[[nodiscard]] chain encode_masked(opcode op, chain&& payload, bool fin = true, bool compressed = false);

}  // namespace catenet::ws
