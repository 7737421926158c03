// The formats of frames as parameters of tests: by name, as an address would give each run other names of
// tests.
#pragma once

#include <catenet/frame/format.hpp>

#include <ostream>

namespace catenet::frame {

inline void PrintTo(const format* f, std::ostream* out) { *out << f->name; }

}  // namespace catenet::frame
