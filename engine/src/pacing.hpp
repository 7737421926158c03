// Pacing: a congestion control that spreads packets over time, for the sake of links that are slower than the
// host.
#pragma once

#include <catenet/engine/endpoint.hpp>

namespace catenet {

/// Within the host there is no such link, and each packet that is held back costs a timer and wakes the peer
/// anew. So a TCP socket that listens at, or will connect to, a loopback address is taken from BBR, where
/// that is the system's choice, to Reno, which every kernel has. Accepted sockets inherit it. Does nothing
/// for other addresses; before listen() or connect() only.
void leave_out_pacing(int fd, const endpoint& where);

}  // namespace catenet
