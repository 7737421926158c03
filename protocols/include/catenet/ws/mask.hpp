// Masks: the four bytes that a client's frames are exclusive-ored with (RFC 6455 §5.3).
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace catenet::ws {

/// A masking key, in wire order.
using mask_key = std::array<std::byte, 4>;

/// The key to go on with after n bytes: rotated, so that its first byte belongs to the next byte of the
/// payload.
[[nodiscard]] constexpr mask_key advanced(mask_key key, std::size_t n) {
  return {key[n & 3], key[(n + 1) & 3], key[(n + 2) & 3], key[(n + 3) & 3]};
}

/// Masks or unmasks in place; the key's first byte goes with the first of `bytes`.
void apply_mask(std::span<std::byte> bytes, mask_key key);

/// A fresh key from the system's cryptographic generator (RFC 6455 §10.3: it must not be predictable). Any
/// thread. Ends the process when the generator fails, since going on would be worse.
[[nodiscard]] mask_key fresh_mask();

}  // namespace catenet::ws
