// A handle names something that can die. It may be copied, kept and used on any thread; once the thing is
// gone, who uses the handle is told so.
#pragma once

#include <compare>
#include <cstdint>

namespace catenet {

struct handle {
  std::uint16_t core = 0xffff;
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;  ///< 24 bits used; 0 is never a live one

  explicit operator bool() const { return generation != 0; }
  auto operator<=>(const handle&) const = default;
};

}  // namespace catenet
