// The back end that a test's engine runs on: CATENET_IO is uring or epoll, else the engine chooses. ctest
// runs each test of engine and protocols on both. CATENET_IO_WITHOUT names features of io_uring to go
// without, for testing what older kernels get.
#pragma once

#include <catenet/engine/engine.hpp>

#include <cstdlib>
#include <string_view>

namespace catenet::test {

inline std::string_view environment(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? "" : text;
}

/// Unless the test itself has chosen.
inline void choose_io(engine_options& o) {
  const std::string_view wanted = environment("CATENET_IO");
  if (o.io == io_choice::automatic && wanted == "epoll") o.io = io_choice::epoll;
  if (o.io == io_choice::automatic && wanted == "uring") o.io = io_choice::uring;
  if (o.io_without.empty()) o.io_without = environment("CATENET_IO_WITHOUT");
}

}  // namespace catenet::test
