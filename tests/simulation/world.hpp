// One run: an engine, a network and a thousand clients, all of it drawn from one seed.
#pragma once

#include "fault.hpp"

#include <cstdint>
#include <string>

namespace catenet::test {

struct run_options {
  std::uint64_t seed = 1;
  std::uint32_t connections = 1000;
  fault commit = fault::none;  ///< a fault that the engine is to commit
  bool verbose = false;
};

struct run_result {
  std::string violation;  ///< empty: all held
  std::uint64_t turns = 0;
  std::uint64_t events = 0;
  std::uint64_t virtual_ms = 0;
  std::uint64_t bytes = 0;        ///< sent by the server
  std::uint64_t connections = 0;  ///< accepted
};

run_result run(const run_options& o);

}  // namespace catenet::test
