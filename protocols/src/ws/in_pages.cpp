// When a frame is worth pages.
#include "ws/in_pages.hpp"

#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/page_body.hpp>
#include <catenet/engine/page_reference.hpp>

#include <algorithm>

namespace catenet::ws {

namespace {

constexpr std::uint64_t frame_bytes_min = 64_KiB;
// Frames wait for slow peers outside the slab's capacity, so they have a bound of their own.
constexpr std::uint64_t pages_bytes_max = 64_MiB;

}  // namespace

void move_into_pages(chain& frame, const core& home) {
  const std::uint64_t bytes_min = std::max(frame_bytes_min, page_reference_bytes_min(home.owner().options()));
  if (frame.bytes() < bytes_min || page_bodies().bytes + frame.bytes() > pages_bytes_max) return;
  chain in_pages = page_body::copy_of(frame, body_life::passing).view();
  if (!in_pages.empty()) frame = std::move(in_pages);
}

}  // namespace catenet::ws
