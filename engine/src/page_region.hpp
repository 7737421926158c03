// What a segment can be sent from by reference: a region of a file, or the pages of a page body.
#pragma once

#include <catenet/slab/segment.hpp>

#include <cstdint>
#include <string>

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

/// Page bodies begin and end at multiples of this: 4 KiB, or the size of the largest folio where shared
/// memory may be given large ones (`settings`: the folder /sys/kernel/mm/transparent_hugepage;
/// transhuge.rst). Punching part of a folio writes zeros into it, and a peer may still be sent it.
[[nodiscard]] std::uint64_t page_body_grain(const std::string& settings);

}  // namespace catenet
