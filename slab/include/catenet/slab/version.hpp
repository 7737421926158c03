// The version of the library that is linked, which may differ from the one a program was written for.
#pragma once

#include <string_view>

namespace catenet {

/// "major.minor.patch", as the CMake package and pkg-config say it.
[[nodiscard]] std::string_view version() noexcept;

}  // namespace catenet
