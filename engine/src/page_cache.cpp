// Asks cachestat(2) (kernel 6.5), or where it is missing reads a byte of either end without waiting.
#include "page_cache.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace catenet {

namespace {

constexpr long cachestat_call = 451;  // the same on every architecture; glibc 2.36 does not name it
constexpr std::uint64_t page_bytes = 4096;

// linux/mman.h of kernel 6.5
struct cachestat_range {
  std::uint64_t offset;
  std::uint64_t length;
};
struct cachestat_answer {
  std::uint64_t cached;
  std::uint64_t dirty;
  std::uint64_t writeback;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

bool readable_at_once(int file, std::uint64_t offset) {
  char byte = 0;
  iovec part{&byte, 1};
  // 0 is the end of the file, which is no reason to wait; EOPNOTSUPP means that nobody can tell.
  return preadv2(file, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

}  // namespace

bool in_page_cache(int file, std::uint64_t offset, std::uint64_t length) {
  cachestat_range range{offset, length};
  cachestat_answer answer{};
  if (syscall(cachestat_call, file, &range, &answer, 0) != 0)
    return readable_at_once(file, offset) && readable_at_once(file, offset + length - 1);
  const std::uint64_t wanted = (offset + length - 1) / page_bytes - offset / page_bytes + 1;
  if (answer.cached >= wanted) return true;
  // Behind the end of a file that shrank there are no pages, and none to wait for.
  struct stat about {};
  if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) return true;
  const auto end = std::min(offset + length, static_cast<std::uint64_t>(about.st_size));
  return end <= offset || answer.cached >= (end - 1) / page_bytes - offset / page_bytes + 1;
}

}  // namespace catenet
