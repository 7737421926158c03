// Opening files beneath a directory, once a while.
#include "http/file_cache.hpp"

#include <catenet/http/response_head.hpp>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>

namespace catenet::http {

namespace {

// openat2 is Linux 5.6. RESOLVE_BENEATH refuses whatever would leave the directory: "..", absolute links,
// links out. O_NONBLOCK, lest a FIFO hold the core.
int open_beneath(int directory, const char* path) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(syscall(SYS_openat2, directory, path, &how, sizeof how));
}

std::int64_t nanoseconds(const timespec& t) { return t.tv_sec * 1'000'000'000 + t.tv_nsec; }

}  // namespace

known_file& file_cache::look_up(std::string_view path, std::uint32_t now_ms) {
  auto found = files_.find(path);
  if (found == files_.end()) {
    if (files_.size() >= options_.open_max) forget_oldest();
    found = files_.try_emplace(std::string{path}).first;
    ages_.push_front(&found->first);
    found->second.age = ages_.begin();
  } else {
    ages_.splice(ages_.begin(), ages_, found->second.age);
    if (now_ms - found->second.file.looked_ms < options_.fresh_ms) return found->second.file;
  }
  known_file& file = found->second.file;
  const std::uint64_t hot_before = file.hot ? file.bytes : 0;
  look(found->first, file);
  file.looked_ms = now_ms;
  hot_bytes_ += (file.hot ? file.bytes : 0) - hot_before;
  while (hot_bytes_ > options_.hot_total_max && files_.size() > 1) forget_oldest();
  return file;
}

void file_cache::look(const std::string& path, known_file& file) const {
  const int fd = open_beneath(directory_, path.empty() ? "." : path.c_str());
  if (fd < 0) {
    const bool busy = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    file = {};
    if (busy) file.what = known_file::kind::unavailable;
    return;
  }
  struct stat facts {};
  if (fstat(fd, &facts) != 0 || !(S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode))) {
    close(fd);
    file = {};
    return;
  }
  if (S_ISDIR(facts.st_mode)) {
    close(fd);
    file = {};
    file.what = known_file::kind::directory;
    return;
  }
  const auto bytes = static_cast<std::uint64_t>(facts.st_size);
  if (file.what == known_file::kind::file && file.inode == facts.st_ino && file.bytes == bytes &&
      file.changed_ns == nanoseconds(facts.st_mtim)) {
    close(fd);
    return;
  }
  file = {};
  file.what = known_file::kind::file;
  file.bytes = bytes;
  file.inode = facts.st_ino;
  file.modified_s = facts.st_mtim.tv_sec;
  file.changed_ns = nanoseconds(facts.st_mtim);
  char etag[48];
  std::snprintf(etag, sizeof etag, "\"%" PRIx64 "-%" PRIx64 "\"", static_cast<std::uint64_t>(file.changed_ns),
                bytes);
  file.etag = etag;
  file.modified.resize(http_date_bytes);
  write_http_date(file.modified.data(), file.modified_s);
  keep_hot(file, fd);
  if (file.hot)
    close(fd);
  else if (!file.content.append_file(fd, 0, bytes, true))
    file.what = known_file::kind::unavailable;
}

// Reads a small file; whole, or it counts as not small.
void file_cache::keep_hot(known_file& file, int fd) const {
  if (file.bytes > options_.hot_bytes_max) return;
  chain content = chain::of_size(file.bytes);
  std::uint64_t at = 0;
  for (segment* s = content.head(); s != nullptr; at += s->length, s = s->next)
    if (pread(fd, s->data, s->length, static_cast<off_t>(at)) != static_cast<ssize_t>(s->length)) return;
  if (at != file.bytes) return;
  file.content = std::move(content);
  file.hot = true;
}

void file_cache::forget_oldest() {
  const auto oldest = files_.find(*ages_.back());
  if (oldest->second.file.hot) hot_bytes_ -= oldest->second.file.bytes;
  ages_.pop_back();
  files_.erase(oldest);
}

}  // namespace catenet::http
