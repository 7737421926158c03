// Waiting for what another thread or process brings about.
#pragma once

#include <chrono>
#include <thread>

namespace catenet::test {

/// How much longer things may take here than on a machine with nothing else to do.
#if defined(CATENET_TSAN)
inline constexpr int patience = 10;
#else
inline constexpr int patience = 3;
#endif

/// Polls until `holds` or `patience` times so long is over; returns what it said last.
template <class F>
bool eventually(F&& holds, int limit_ms = 5000) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(limit_ms) * patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return holds();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace catenet::test
