// One thread a loop: reads of cold files wait for the same disk anyway.
#include "file_reader.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

namespace catenet {

namespace {

constexpr std::size_t bytes_per_read = 64 << 10;

// Reads the part piece by piece; what is read is of no interest, only that the pages are there.
std::int32_t read_part(int file, std::uint64_t offset, std::size_t length) {
  std::vector<char> scratch(std::min(length, bytes_per_read));
  std::size_t done = 0;
  while (done != length) {
    const std::size_t part = std::min(length - done, scratch.size());
    const ssize_t got = pread(file, scratch.data(), part, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && done == 0) return -errno;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  return static_cast<std::int32_t>(done);
}

}  // namespace

file_reader::~file_reader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
  for (const request& r : asked_) ::close(r.file);
}

bool file_reader::ask(token t, int file, std::uint64_t offset, std::size_t length) {
  const int own = fcntl(file, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return false;
  try {
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    ::close(own);
    return false;
  }
  ++unfinished_;
  {
    const std::lock_guard lock(mutex_);
    asked_.push_back({t, own, offset, length});
  }
  changed_.notify_one();
  return true;
}

void file_reader::collect(std::vector<completion>& into) {
  if (unfinished_ == 0) return;
  const std::lock_guard lock(mutex_);
  unfinished_ -= finished_.size();
  into.insert(into.end(), finished_.begin(), finished_.end());
  finished_.clear();
}

bool file_reader::next(request& r) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || !asked_.empty(); });
  if (stopping_) return false;
  r = asked_.front();
  asked_.pop_front();
  return true;
}

void file_reader::run() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are the program's, and its threads'
  request r;
  while (next(r)) {
    const std::int32_t result = read_part(r.file, r.offset, r.length);
    ::close(r.file);
    {
      const std::lock_guard lock(mutex_);
      finished_.push_back({r.about, result, false, nullptr});
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written =
        ::write(wake_fd_, &one, sizeof one);  // fails only when it is awake anyway
  }
}

}  // namespace catenet
