// What main() of a measuring program does with an exception.
#pragma once

#include <cstdio>
#include <exception>

namespace catenet::bench {

/// Calls run(argc, argv) and returns its status; an exception is told on stderr, after the program's name,
/// and becomes 1.
inline int run_program(const char* name, int (*run)(int argc, char** argv), int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace catenet::bench
