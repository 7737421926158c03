// Masks over whole chains, for decoder and encoder.
#pragma once

#include <catenet/slab/chain.hpp>
#include <catenet/ws/mask.hpp>

namespace catenet::ws {

/// Masks or unmasks every byte: in place where all of them are this chain's alone, else in a copy that takes
/// their place. False, and nothing changed, when the slab had no room for the copy, or part of it lies in a
/// file.
[[nodiscard]] bool apply_mask(chain& bytes, mask_key key);

}  // namespace catenet::ws
