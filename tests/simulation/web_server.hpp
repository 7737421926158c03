// The HTTP and WebSocket server under simulation.
#pragma once

#include <catenet/http/server.hpp>

#include "test_peer.hpp"

namespace catenet::test {

/// GET /make/{at}/{n}     n bytes of the pattern from `at` on      with a length
/// GET /stream/{at}/{n}   the same by a coroutine                  in chunks
/// GET /file/{at}/{n}     the same from the file
/// GET /hold/{ms}         nothing, after a while
/// POST /echo             the body                                 in chunks, unless its length is known
/// POST /sink             how long the body was
/// WebSocket /ws          every message back
void add_routes(http::server& web, ledger& book);

}  // namespace catenet::test
