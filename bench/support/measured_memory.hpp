// Memory as the kernel counts it, read from /proc and /sys: slab caches (what sockets, io_uring requests,
// polls and epoll items are made of), the bytes queued in TCP sockets, and the resident set of one process.
//
// Slab counts are those of the whole machine, so what other programs do at the same time is in them. Two
// things keep that small: only caches that connections and event mechanisms use are looked at, and a sample
// is the median of several readings.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace catenet::bench {

struct slab_cache {
  std::int64_t objects = 0;
  std::int64_t object_bytes = 0;
};

/// Cache name (with the names of the interesting caches that the kernel merged into it) to its count.
using slab_sample = std::map<std::string, slab_cache>;

/// Which of the kernel's caches a connection can live in. The kernel merges caches of equal size and flags
/// and lists them under the first one's name, so a cache counts as well if it shares its /sys/kernel/slab
/// directory with one of these.
class slab_caches {
 public:
  slab_caches() {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/kernel/slab", none)) {
      const std::string name = entry.path().filename();
      if (!interesting(name) || name.starts_with("kmalloc")) continue;
      const std::string merged = merged_into(name);
      if (!merged.empty()) aliases_[merged].push_back(name);
    }
  }

  /// Asks the kernel to give back what it only keeps in reserve (root only), so that counts are of objects in
  /// use, then reads.
  slab_sample sample() const {
    constexpr int readings = 5;
    constexpr auto apart = std::chrono::milliseconds(60);
    std::map<std::string, std::vector<std::int64_t>> counts;
    slab_sample result;
    for (int i = 0; i < readings; ++i) {
      if (i != 0) std::this_thread::sleep_for(apart);
      for (const auto& [name, cache] : read(i == 0)) {
        counts[name].push_back(cache.objects);
        result[name] = cache;
      }
    }
    for (auto& [name, seen] : counts) {
      std::nth_element(seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(seen.size() / 2), seen.end());
      result[name].objects = seen[seen.size() / 2];
    }
    return result;
  }

 private:
  static bool interesting(std::string_view name) {
    // request_sock and tw_sock are left out: connections being made or already gone, and other programs have
    // those too.
    for (std::string_view prefix : {"kmalloc-", "io_", "eventpoll", "ep_head", "skbuff", "bfilp"})
      if (name.starts_with(prefix))
        return !name.starts_with("kmalloc-rcl");  // reclaimable: dentry names and the like
    for (std::string_view exact : {"TCP", "TCPv6", "UNIX", "sock_inode_cache", "filp", "dentry"})
      if (name == exact) return true;
    return false;
  }

  static std::string merged_into(const std::string& name) {
    std::error_code not_a_link;
    return std::filesystem::read_symlink("/sys/kernel/slab/" + name, not_a_link).string();
  }

  slab_sample read(bool shrink) const {
    std::ifstream table("/proc/slabinfo");
    if (!table)
      throw std::runtime_error(
          "reading /proc/slabinfo failed: it is for root only; run this program as root");
    slab_sample result;
    for (std::string line; std::getline(table, line);) {
      std::istringstream fields(line);
      std::string name;
      slab_cache cache;
      std::int64_t capacity = 0;
      if (!(fields >> name >> cache.objects >> capacity >> cache.object_bytes))
        continue;  // the two heading lines
      const std::string label = label_of(name);
      if (label.empty()) continue;
      if (shrink) std::ofstream("/sys/kernel/slab/" + name + "/shrink") << 1;
      result[label] = cache;
    }
    return shrink ? read(false) : result;
  }

  std::string label_of(const std::string& name) const {
    if (interesting(name)) return name;
    const auto merged = aliases_.find(merged_into(name));
    if (merged == aliases_.end()) return {};
    std::string label = name + " =";
    for (const auto& alias : merged->second) label += " " + alias;
    return label;
  }

  std::map<std::string, std::vector<std::string>>
      aliases_;  // directory of a merged cache to the interesting names in it
};

/// Bytes charged to TCP sockets' queues on this machine, in whole pages (/proc/net/sockstat).
inline std::int64_t tcp_queue_bytes() {
  constexpr std::int64_t page_bytes = 4096;
  std::ifstream table("/proc/net/sockstat");
  for (std::string line; std::getline(table, line);) {
    const auto at = line.find(" mem ");
    if (line.starts_with("TCP:") && at != std::string::npos)
      return std::stoll(line.substr(at + 5)) * page_bytes;
  }
  return 0;
}

/// Resident bytes of a process. smaps_rollup walks the page tables and is exact; statm lags by up to some
/// dozens of pages.
inline std::int64_t resident_bytes(int pid) {
  std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string line; std::getline(rollup, line);)
    if (line.starts_with("Rss:")) return std::stoll(line.substr(4)) * 1024;
  throw std::runtime_error("reading /proc/" + std::to_string(pid) +
                           "/smaps_rollup failed: has the process ended, or is it another user's?");
}

}  // namespace catenet::bench
