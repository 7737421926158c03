// The processor time of another process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace catenet::bench {

/// Nanoseconds that all threads of a process were on a processor.
inline std::uint64_t cpu_ns(int pid) {
  std::uint64_t sum = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream file(thread.path() / "schedstat");
    std::uint64_t on_cpu = 0;
    if (file >> on_cpu) sum += on_cpu;
  }
  return sum;
}

}  // namespace catenet::bench
