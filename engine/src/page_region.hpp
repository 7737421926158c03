// What a segment can be sent from by reference: a region of a file, or the pages of a page body.
#pragma once

#include <catenet/slab/segment.hpp>

#include <cstdint>

namespace catenet {

struct page_region {
  int fd = -1;  ///< -1: only its memory can be sent
  std::uint64_t offset = 0;
};

/// Where the bytes of a page body's segment lie; fd -1 for every other segment. Any thread.
[[nodiscard]] page_region pages_of(const segment& s);

/// Whether a stream sends the segment without copying it: a file region, or at least so many bytes of a page
/// body.
[[nodiscard]] bool goes_by_reference(const segment& s, std::uint64_t bytes_min);

}  // namespace catenet
