// Whether part of a file is in memory, so that sending it does not wait for a disk.
#pragma once

#include <cstdint>

namespace catenet {

/// True as well when nobody can tell. A system call.
[[nodiscard]] bool in_page_cache(int file, std::uint64_t offset, std::uint64_t length);

}  // namespace catenet
