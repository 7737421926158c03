// Listening sockets.
#pragma once

#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/error.hpp>

#include <vector>

namespace catenet {

/// Opens `count` sockets that listen on one address: several TCP sockets share the port by SO_REUSEPORT, a
/// UNIX socket is duplicated. `where` gets the port that port 0 became. On failure nothing stays open.
error open_listeners(endpoint& where, unsigned count, int backlog, std::vector<int>& into);

}  // namespace catenet
