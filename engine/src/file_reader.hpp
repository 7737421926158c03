// Reads parts of files into the page cache beside a loop that cannot do so itself: a thread, started by the
// first request.
#pragma once

#include <catenet/engine/backend.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace catenet {

/// ask() and collect() on one thread, the loop's.
class file_reader {
 public:
  /// `wake_fd`: an eventfd that is written to when there is something to collect.
  explicit file_reader(int wake_fd) : wake_fd_(wake_fd) {}
  /// Waits for the read that is under way.
  ~file_reader();
  file_reader(const file_reader&) = delete;
  file_reader& operator=(const file_reader&) = delete;

  /// Completes with how many bytes there were, or -errno. The descriptor may be closed meanwhile. False when
  /// no descriptor or thread was to be had; nothing was begun then.
  bool ask(token t, int file, std::uint64_t offset, std::size_t length);
  /// Appends what was completed.
  void collect(std::vector<completion>& into);

 private:
  struct request {
    token about;
    int file = -1;  // a duplicate
    std::uint64_t offset = 0;
    std::size_t length = 0;
  };

  void run();
  bool next(request& r);

  int wake_fd_;
  std::uint64_t unfinished_ = 0;  // the loop's own count: without any, collect() takes no lock
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<request> asked_;  // under the lock, as is what follows
  std::vector<completion> finished_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace catenet
