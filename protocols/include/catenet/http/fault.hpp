// What is wrong with a message, as a value: the status to answer with and why. Every fault closes the
// connection after its answer, because the place where the next message begins is not known for certain.
#pragma once

#include <cstdint>

namespace catenet::http {

struct fault {
  std::uint16_t status = 0;      ///< 0 means there is none
  const char* reason = nullptr;  ///< a constant in plain words, fit for the answer's body and the log

  explicit operator bool() const { return status != 0; }
};

}  // namespace catenet::http
