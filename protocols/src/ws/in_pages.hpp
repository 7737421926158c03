// Frames for many, in pages that streams send by reference (page_body.hpp).
#pragma once

#include <catenet/slab/chain.hpp>

#include <cstdint>

namespace catenet {
class core;
}

namespace catenet::ws {

/// To fewer subscribers a copy each costs less: the pages of 64 KiB cost about 25 µs to fill and give back,
/// and a send by reference saves a few µs.
inline constexpr std::size_t pages_receivers_min = 8;

/// Copies a frame of 64 KiB and more, which is not in pages yet, into pages, where the engine sends so much
/// by reference. It stays as it is where that is not so, memory is short, or others have 64 MiB in pages. On
/// a core's thread.
void move_into_pages(chain& frame, const core& home);

}  // namespace catenet::ws
