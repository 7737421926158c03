// Static files.
#include <catenet/engine/error.hpp>
#include <catenet/http/files.hpp>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace catenet::http {

namespace {

/// An open descriptor, closed at its end unless released.
class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool open() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

constexpr std::pair<std::string_view, std::string_view> media_types[] = {
    {"html", "text/html; charset=utf-8"},
    {"htm", "text/html; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"txt", "text/plain; charset=utf-8"},
    {"md", "text/markdown; charset=utf-8"},
    {"xml", "application/xml"},
    {"svg", "image/svg+xml"},
    {"png", "image/png"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},
    {"webp", "image/webp"},
    {"avif", "image/avif"},
    {"ico", "image/x-icon"},
    {"woff2", "font/woff2"},
    {"woff", "font/woff"},
    {"wasm", "application/wasm"},
    {"pdf", "application/pdf"},
    {"mp4", "video/mp4"},
    {"webm", "video/webm"},
    {"mp3", "audio/mpeg"},
};

std::string_view media_type_of(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  if (dot != std::string_view::npos && path.find('/', dot) == std::string_view::npos)
    for (const auto& [ending, type] : media_types)
      if (path.substr(dot + 1) == ending) return type;
  return "application/octet-stream";
}

// Each segment names something by itself: no ".", "..", "", nothing that another system would take for a
// separator.
bool plain(std::string_view path) {
  if (path.find('\0') != std::string_view::npos || path.find('\\') != std::string_view::npos) return false;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == "..") return false;
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);  // one slash at the end is a directory's
  }
  return true;
}

descriptor open_beneath(int root, const char* path) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;  // O_NONBLOCK: a FIFO must not hold up the core
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return descriptor{static_cast<int>(::syscall(SYS_openat2, root, path, &how, sizeof how))};
}

std::string http_date(std::time_t at) {
  std::tm utc{};
  ::gmtime_r(&at, &utc);
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[utc.tm_wday], utc.tm_mday,
                months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
  return text;
}

std::string etag_of(const struct stat& about) {
  char text[64];
  std::snprintf(text, sizeof text, "\"%llx-%llx%08lx\"", static_cast<unsigned long long>(about.st_size),
                static_cast<unsigned long long>(about.st_mtim.tv_sec),
                static_cast<unsigned long>(about.st_mtim.tv_nsec));
  return text;
}

// RFC 9110 §13.1.2: "*", or a list that has the tag; a weak one matches too.
bool none_match_has(std::string_view list, std::string_view tag) {
  return list == "*" || list.find(tag) != std::string_view::npos;
}

/// The handler; the cores share the root's descriptor, which is only read.
class file_answers {
 public:
  explicit file_answers(int root) : root_(std::make_shared<descriptor>(root)) {}

  void operator()(request& rq, response& rs) const {
    std::string path{rq.param("path")};
    struct stat about{};
    descriptor file = plain(path) ? open_file(path, about) : descriptor{-1};
    if (!file.open()) return rs.status(404).text("there is nothing here\n");
    const std::string tag = etag_of(about);
    rs.header("ETag", tag).header("Last-Modified", http_date(about.st_mtim.tv_sec));
    if (none_match_has(rq.header("if-none-match").value_or(""), tag)) return rs.status(304).text("");
    rs.type(media_type_of(path));
    if (about.st_size == 0) return rs.text("");
    rs.file(file.release(), 0, static_cast<std::uint64_t>(about.st_size), true);
  }

 private:
  // For a directory, `path` becomes that of its index.
  [[nodiscard]] descriptor open_file(std::string& path, struct stat& about) const {
    descriptor file = open_beneath(root_->get(), path.empty() ? "." : path.c_str());
    if (!file.open() || ::fstat(file.get(), &about) != 0) return descriptor{-1};
    if (S_ISDIR(about.st_mode)) {
      if (!path.empty() && path.back() != '/') path += '/';
      path += "index.html";
      file = open_beneath(root_->get(), path.c_str());
      if (!file.open() || ::fstat(file.get(), &about) != 0) return descriptor{-1};
    }
    if (!S_ISREG(about.st_mode)) return descriptor{-1};
    return file;
  }

  std::shared_ptr<descriptor> root_;
};

}  // namespace

handler files(const std::string& directory) {
  const int root = ::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) throw std::runtime_error(error{"open directory", directory, errno, {}}.text());
  return file_answers{root};
}

}  // namespace catenet::http
