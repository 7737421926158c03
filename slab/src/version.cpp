// The build passes the project's version in, so that it is written in one place.
#include <catenet/slab/version.hpp>

namespace catenet {

std::string_view version() noexcept { return CATENET_VERSION; }

}  // namespace catenet
