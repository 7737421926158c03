// How much memory of this process is resident, for tests that memory goes back to the system.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdio>

namespace catenet::test {

/// Bytes, from /proc/self/statm (proc_pid_statm(5)); 0 when that cannot be read.
inline std::size_t rss_bytes() {
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  unsigned long size = 0, resident = 0;
  if (f == nullptr || std::fscanf(f, "%lu %lu", &size, &resident) != 2) resident = 0;
  if (f != nullptr) std::fclose(f);
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace catenet::test
