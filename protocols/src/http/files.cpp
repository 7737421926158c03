// http::server::files: a GET route that answers with the files beneath a directory.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/http/files.hpp>
#include <catenet/http/request_head.hpp>
#include <catenet/http/server.hpp>

#include "http/conditional.hpp"
#include "http/file_cache.hpp"
#include "http/mime.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

namespace catenet::http {

namespace {

// One content coding of a file.
struct variant {
  std::string_view coding;  // empty: as it is
  std::string_view ending;
};
constexpr variant variants[] = {{"br", ".br"}, {"gzip", ".gz"}};

// A directory's own address ends with a slash: what its index names by relative links lies below that.
void redirect_to_slash(request& rq, response& rs) {
  std::string where{rq.head().path};
  where += '/';
  if (!rq.query().empty()) (where += '?') += rq.query();
  rs.redirect(where, 301);
  rs.text("it is a directory: there is a slash behind it\n");
}

class directory {
 public:
  directory(const std::string& path, file_options options, unsigned cores) : options_(std::move(options)) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd_ < 0) throw std::runtime_error(error{"open", path, errno, {}}.text());
    for (unsigned i = 0; i != cores; ++i) caches_.push_back(std::make_unique<file_cache>(fd_, options_));
  }
  ~directory() {
    caches_.clear();
    ::close(fd_);
  }
  directory(const directory&) = delete;
  directory& operator=(const directory&) = delete;

  void operator()(request& rq, response& rs) const;

 private:
  // What is being answered.
  struct answer {
    request& rq;
    response& rs;
    file_cache& files;
    std::uint32_t now_ms;
    std::string path;
  };
  [[nodiscard]] bool presentable(const request& rq, std::string_view path) const;
  known_file* choose(answer& a, variant& chosen) const;
  void send(answer& a, known_file& file, const variant& coding) const;
  static void send_parts(answer& a, known_file& file, std::span<const byte_range> parts,
                         std::string_view type);
  static void not_found(response& rs) { rs.status(404).text("there is nothing here\n"); }

  file_options options_;
  int fd_ = -1;
  std::vector<std::unique_ptr<file_cache>> caches_;  // one a core
};

// Names that a file system or a log might take for something else are not looked for at all. openat2 refuses
// what would leave the directory; this refuses the rest (bad-input.md row 61).
bool directory::presentable(const request& rq, std::string_view path) const {
  const std::string_view raw = rq.head().path;
  for (std::size_t i = raw.find('%'); i != std::string_view::npos && i + 2 < raw.size();
       i = raw.find('%', i + 1))
    if (equal_ignoring_case(raw.substr(i, 3), "%2f")) return false;
  if (path.find('\\') != std::string_view::npos) return false;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == ".." || (!options_.hidden && name.front() == '.'))
      return false;
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return true;
}

void directory::operator()(request& rq, response& rs) const {
  const std::string_view path = rq.param("path");
  if (!presentable(rq, path)) return not_found(rs);
  answer a{rq, rs, *caches_[rq.core().index()], rq.core().now_ms(), std::string{path}};
  const bool asks_for_directory = path.empty() || path.ends_with('/');
  if (asks_for_directory) {
    if (options_.index.empty()) return not_found(rs);
    a.path += options_.index;
  }
  variant coding{};
  known_file* file = choose(a, coding);
  switch (file->what) {
    case known_file::kind::missing:
      return not_found(rs);
    case known_file::kind::unavailable:
      return rs.status(503).text("no descriptor is free\n");
    case known_file::kind::file:
      return send(a, *file, coding);
    case known_file::kind::directory:
      break;
  }
  if (asks_for_directory || options_.index.empty()) return not_found(rs);
  redirect_to_slash(rq, rs);
}

// The file, or that of its compressed variants which the client likes best. Ranges are of the file as it is.
known_file* directory::choose(answer& a, variant& chosen) const {
  const fields& f = a.rq.headers();
  known_file* file = &a.files.look_up(a.path, a.now_ms);
  if (file->what != known_file::kind::file || !options_.precompressed) return file;
  unsigned best = 0;
  bool varies = false;
  for (const variant& v : variants) {
    const std::string name = a.path + std::string{v.ending};
    if (a.files.look_up(name, a.now_ms).what != known_file::kind::file) continue;
    varies = true;
    const unsigned weight = coding_weight(f, v.coding);
    if (weight <= best || f.find("Range")) continue;
    best = weight;
    chosen = v;
  }
  if (varies) a.rs.header("Vary", "Accept-Encoding");
  return &a.files.look_up(a.path + std::string{chosen.ending}, a.now_ms);
}

void directory::send(answer& a, known_file& file, const variant& coding) const {
  response& rs = a.rs;
  const std::string_view type = media_type_of(a.path);
  rs.header("ETag", file.etag).header("Last-Modified", file.modified).header("Accept-Ranges", "bytes");
  rs.header("X-Content-Type-Options", "nosniff");
  if (!options_.cache_control.empty()) rs.header("Cache-Control", options_.cache_control);
  const validators now{file.etag, file.modified_s};
  if (const std::uint16_t status = check_preconditions(a.rq.headers(), a.rq.method(), now); status != 0)
    return static_cast<void>(rs.status(status));
  if (!coding.coding.empty()) rs.header("Content-Encoding", coding.coding);
  const auto range = a.rq.method() == method::get ? a.rq.header("Range") : std::nullopt;
  if (range && a.rq.headers().count("Range") == 1 && range_applies(a.rq.headers(), now)) {
    range_set ranges;
    const range_set::verdict v = ranges.read(*range, file.bytes);
    if (v == range_set::verdict::unsatisfiable) {
      rs.header("Content-Range", "bytes */" + std::to_string(file.bytes));
      return rs.status(416).text("there is no such range\n");
    }
    if (v == range_set::verdict::parts) return send_parts(a, file, ranges.parts(), type);
  }
  rs.type(type);
  std::optional<chain> content = file.content.share();
  if (!content) return rs.status(503).text("no memory\n");
  rs.body(std::move(*content));
}

// 206: one range as it is, several as multipart/byteranges (RFC 9110 §15.3.7).
void directory::send_parts(answer& a, known_file& file, std::span<const byte_range> parts,
                           std::string_view type) {
  response& rs = a.rs;
  const auto place = [&](const byte_range& r) {
    char text[80];
    std::snprintf(text, sizeof text, "bytes %llu-%llu/%llu", static_cast<unsigned long long>(r.first),
                  static_cast<unsigned long long>(r.first + r.bytes - 1),
                  static_cast<unsigned long long>(file.bytes));
    return std::string{text};
  };
  // The content must not contain it: nobody can have foreseen what the clock says. RFC 2046 §5.1.1.
  char boundary[48];
  const std::uint64_t of_file = file.inode * 0x9e3779b97f4a7c15u;
  std::snprintf(boundary, sizeof boundary, "catenet-%08x%016" PRIx64, a.now_ms * 2654435761u, of_file);
  chain body;
  bool good = true;
  for (const byte_range& r : parts) {
    std::optional<chain> bytes = file.content.share(r.first, r.bytes);
    good = good && bytes.has_value();
    if (good && parts.size() != 1)
      good = body.append_copy(std::string{body.empty() ? "--" : "\r\n--"} + boundary + "\r\nContent-Type: " +
                              std::string{type} + "\r\nContent-Range: " + place(r) + "\r\n\r\n");
    if (good) body.append(std::move(*bytes));
  }
  if (parts.size() != 1) good = good && body.append_copy(std::string{"\r\n--"} + boundary + "--\r\n");
  if (!good) return rs.status(503).text("no memory\n");
  if (parts.size() == 1)
    rs.header("Content-Range", place(parts.front())).type(type);
  else
    rs.type(std::string{"multipart/byteranges; boundary="} + boundary);
  rs.status(206);
  rs.body(std::move(body));
}

}  // namespace

server& server::files(std::string_view prefix, const std::string& directory_path, file_options options) {
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  auto made = std::make_shared<directory>(directory_path, std::move(options), net().cores());
  get(std::string{prefix} + "/{path...}", [made](request& rq, response& rs) { (*made)(rq, rs); });
  if (!prefix.empty()) get(prefix, redirect_to_slash);
  return *this;
}

}  // namespace catenet::http
