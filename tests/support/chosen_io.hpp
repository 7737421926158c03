// The back end that a test's engine runs on: CATENET_IO is uring or epoll, else the engine chooses. ctest
// runs each test of engine and protocols on both.
#pragma once

#include <catenet/engine/engine.hpp>

#include <cstdlib>
#include <string_view>

namespace catenet::test {

inline io_choice chosen_io() {
  const char* text = std::getenv("CATENET_IO");
  const std::string_view wanted = text == nullptr ? "" : text;
  return wanted == "epoll" ? io_choice::epoll : wanted == "uring" ? io_choice::uring : io_choice::automatic;
}

}  // namespace catenet::test
