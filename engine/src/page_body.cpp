// Extents of pages: memfds that are allocated first fit, written once, and punched when a body ends.
#include <catenet/engine/page_body.hpp>

#include "page_region.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace catenet {

namespace {

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t large_folio_bytes = 2_MiB;  // the largest that shared memory is given
constexpr int madv_collapse = 25;                   // MADV_COLLAPSE, Linux 6.1
constexpr const char* huge_page_settings = "/sys/kernel/mm/transparent_hugepage";
// Address space and one descriptor; memory is taken page by page. A longer body has an extent of its own.
constexpr std::uint64_t extent_bytes = 64_MiB;

// What of a setting is in force: the word in brackets. Empty when there is no such file.
std::string chosen_in(const std::filesystem::path& setting) {
  std::string all;
  std::getline(std::ifstream(setting), all);
  const std::size_t from = all.find('[');
  const std::size_t to = all.find(']');
  return from == std::string::npos || to == std::string::npos ? "" : all.substr(from + 1, to - from - 1);
}

// Multiples of a power of two.
std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t grain) {
  return (bytes + grain - 1) & ~(grain - 1);
}

/// The pages of a body: its first so many bytes may become large folios, which no other body may share.
struct page_layout {
  std::uint64_t bytes;
  std::uint64_t in_folios;
  [[nodiscard]] std::uint64_t alignment() const { return in_folios == 0 ? page_bytes : large_folio_bytes; }
};

// A tail that fills less than half a folio stays in small pages.
page_layout layout_of(std::uint64_t bytes, body_life life) {
  static const std::uint64_t grain = page_body_grain(huge_page_settings);
  const std::uint64_t nearest = (bytes + large_folio_bytes / 2) & ~(large_folio_bytes - 1);
  const std::uint64_t in_folios = life == body_life::lasting ? nearest : 0;
  return {std::max(rounded_up(bytes, grain), in_folios), in_folios};
}

/// Invariants: free ranges are disjoint, not adjacent, and hold no page; taken + Σ free = size.
class page_extent {
 public:
  static std::shared_ptr<page_extent> make(std::uint64_t size) {
    const int fd = memfd_create("catenet page bodies", MFD_CLOEXEC);
    if (fd < 0) return nullptr;
    std::byte* const map = ftruncate(fd, static_cast<off_t>(size)) == 0 ? mapped(fd, size) : nullptr;
    if (map == nullptr) {
      ::close(fd);
      return nullptr;
    }
    return std::make_shared<page_extent>(fd, map, size);
  }
  page_extent(int memfd, std::byte* at, std::uint64_t size) : fd(memfd), map(at), size_(size) {
    free_[0] = size;
  }
  ~page_extent() {
    munmap(map, size_);
    ::close(fd);
  }
  page_extent(const page_extent&) = delete;
  page_extent& operator=(const page_extent&) = delete;

  std::optional<std::uint64_t> take(const page_layout& pages) {
    const auto fits = [&](const auto& r) {
      return rounded_up(r.first, pages.alignment()) + pages.bytes <= r.first + r.second;
    };
    const auto range = std::find_if(free_.begin(), free_.end(), fits);
    if (range == free_.end()) return std::nullopt;
    const auto [from, length] = *range;
    const std::uint64_t at = rounded_up(from, pages.alignment());
    free_.erase(range);
    if (at != from) free_[from] = at - from;
    if (at + pages.bytes != from + length) free_[at + pages.bytes] = from + length - at - pages.bytes;
    return at;
  }

  // Makes large folios of whole ones, whatever shmem_enabled says: to send one costs less than to send its
  // 512 pages. Where the kernel has none to give, the pages stay small.
  void collapse(std::uint64_t at, std::uint64_t bytes) const {
    if (bytes != 0) madvise(map + at, bytes, madv_collapse);
  }

  void give(std::uint64_t at, std::uint64_t bytes) {
    // Readers of the old pages keep them; the range begins anew with none.
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at),
              static_cast<off_t>(bytes));
    const auto next = free_.lower_bound(at);
    if (next != free_.end() && next->first == at + bytes) {
      bytes += next->second;
      free_.erase(next);
    }
    const auto above = free_.lower_bound(at);
    if (above != free_.begin())
      if (const auto below = std::prev(above); below->first + below->second == at) {
        below->second += bytes;
        return;
      }
    free_[at] = bytes;
  }

  [[nodiscard]] bool unused() const { return free_.size() == 1 && free_.begin()->second == size_; }

  const int fd;
  std::byte* const map;

 private:
  // At a multiple of a large folio, else none can be made. Null with errno when there is no room.
  static std::byte* mapped(int fd, std::uint64_t size) {
    constexpr int reserves = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* room = mmap(nullptr, size + large_folio_bytes, PROT_NONE, reserves, -1, 0);
    if (room == MAP_FAILED) return nullptr;
    auto* const from = static_cast<std::byte*>(room);
    const auto address = reinterpret_cast<std::uintptr_t>(room);
    const std::uint64_t before = rounded_up(address, large_folio_bytes) - address;
    std::byte* const at = from + before;
    if (before != 0) munmap(from, before);
    munmap(at + size, large_folio_bytes - before);
    void* map = mmap(at, size, PROT_READ, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
    if (map != MAP_FAILED) return at;
    munmap(at, size);
    return nullptr;
  }

  std::uint64_t size_;
  std::map<std::uint64_t, std::uint64_t> free_;  // by offset
};

/// All extents of the process. One unused extent is kept, so that a body made and dropped over and over costs
/// no mapping each time.
class page_store {
 public:
  static page_store& common() {
    static page_store* store = new page_store;  // never ended: views may outlive every static object
    return *store;
  }

  struct place {
    std::shared_ptr<page_extent> extent;
    std::uint64_t at = 0;
  };

  place take(const page_layout& pages) {
    const std::lock_guard lock(mutex_);
    place found;
    for (const std::shared_ptr<page_extent>& e : extents_)
      if (const std::optional<std::uint64_t> at = e->take(pages)) {
        found = {e, *at};
        break;
      }
    if (found.extent == nullptr) {
      found.extent = page_extent::make(std::max(pages.bytes, static_cast<std::uint64_t>(extent_bytes)));
      if (found.extent == nullptr) return {};
      extents_.push_back(found.extent);
      found.at = found.extent->take(pages).value_or(0);  // a fresh one has room
    }
    ++totals_.bodies;
    totals_.bytes += pages.bytes;
    return found;
  }

  void give(const place& from, std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    from.extent->give(from.at, bytes);
    --totals_.bodies;
    totals_.bytes -= bytes;
    const auto idle = [](const auto& e) { return e->unused(); };
    if (std::count_if(extents_.begin(), extents_.end(), idle) > 1) extents_.remove(from.extent);
  }

  page_body_statistics totals() {
    const std::lock_guard lock(mutex_);
    totals_.extents = extents_.size();
    return totals_;
  }

 private:
  std::mutex mutex_;
  std::list<std::shared_ptr<page_extent>> extents_;
  page_body_statistics totals_;
};

// Writes all parts at a place of a memfd; the pages are allocated by the way. False with errno when they
// cannot be.
bool write_all(int fd, std::span<iovec> parts, std::uint64_t at) {
  while (!parts.empty()) {
    const auto count = static_cast<int>(std::min<std::size_t>(parts.size(), 1024));  // UIO_MAXIOV
    const ssize_t written = pwritev(fd, parts.data(), count, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += static_cast<std::uint64_t>(written);
    auto left = static_cast<std::size_t>(written);
    while (!parts.empty() && left >= parts.front().iov_len) {
      left -= parts.front().iov_len;
      parts = parts.subspan(1);
    }
    if (left != 0)
      parts.front() = {static_cast<std::byte*>(parts.front().iov_base) + left, parts.front().iov_len - left};
  }
  return true;
}

}  // namespace

struct page_body::pages {
  pages(page_store::place where, const page_layout& of, std::uint64_t length)
      : place(std::move(where)), layout(of), bytes(length) {}
  ~pages() { page_store::common().give(place, layout.bytes); }
  pages(const pages&) = delete;
  pages& operator=(const pages&) = delete;

  static std::shared_ptr<const pages> make(std::span<iovec> parts, std::uint64_t bytes, body_life life) {
    const page_layout layout = layout_of(bytes, life);
    page_store::place where = page_store::common().take(layout);
    if (where.extent == nullptr) return nullptr;
    auto made = std::make_shared<const pages>(std::move(where), layout, bytes);
    const page_extent& extent = *made->place.extent;
    if (!write_all(extent.fd, parts, made->place.at)) return nullptr;
    extent.collapse(made->place.at, layout.in_folios);
    return made;
  }

  page_store::place place;
  page_layout layout;
  std::uint64_t bytes;
};

namespace {

using held_pages = std::shared_ptr<const page_body::pages>;

void release_view(void* context, void*, std::size_t) { delete static_cast<held_pages*>(context); }

}  // namespace

page_body page_body::copy_of(std::span<const std::byte> bytes, body_life life) {
  if (bytes.empty()) return {};
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};  // pwritev only reads it
  return page_body{pages::make({&part, 1}, bytes.size(), life)};
}

page_body page_body::copy_of(const chain& bytes, body_life life) {
  if (bytes.empty()) return {};
  std::vector<iovec> parts(bytes.segment_count());
  if (bytes.to_iovecs(parts).bytes != bytes.bytes()) return {};
  return page_body{pages::make(parts, bytes.bytes(), life)};
}

std::uint64_t page_body::bytes() const { return pages_ == nullptr ? 0 : pages_->bytes; }

std::span<const std::byte> page_body::memory() const {
  if (pages_ == nullptr) return {};
  return {pages_->place.extent->map + pages_->place.at, pages_->bytes};
}

chain page_body::view(std::uint64_t offset, std::uint64_t length) const {
  chain seen;
  const std::span<const std::byte> all = memory();
  while (offset < all.size() && length != 0) {
    // A segment's length has 32 bits.
    const std::uint64_t part = std::min({length, all.size() - offset, file_segment_bytes_max});
    auto* held = new held_pages(pages_);
    if (!seen.append_foreign(const_cast<std::byte*>(all.data()) + offset, part, &release_view, held)) {
      delete held;
      return {};
    }
    seen.tail()->exclusive = false;  // the mapping is read-only, and others may have the same bytes
    offset += part;
    length -= part;
  }
  return seen;
}

// "advise" gives large folios to mappings that ask, and ours do not; "inherit" is the general setting, which
// is looked at as well.
std::uint64_t page_body_grain(const std::string& settings) {
  std::vector<std::string> chosen{chosen_in(settings + "/shmem_enabled")};
  std::error_code none;
  for (const auto& size : std::filesystem::directory_iterator(settings, none))
    chosen.push_back(chosen_in(size.path() / "shmem_enabled"));
  const auto large = [](const std::string& c) {
    return !c.empty() && c != "never" && c != "deny" && c != "advise" && c != "inherit";
  };
  return std::any_of(chosen.begin(), chosen.end(), large) ? large_folio_bytes : page_bytes;
}

page_body_statistics page_bodies() { return page_store::common().totals(); }

page_region pages_of(const segment& s) {
  const segment* own = &s;
  while (own->kind == segment_kind::proxy) own = own->proxy->original;
  if (own->kind != segment_kind::foreign || own->foreign->release != &release_view) return {};
  const page_store::place& place = (*static_cast<held_pages*>(own->foreign->context))->place;
  return {place.extent->fd, static_cast<std::uint64_t>(s.data - place.extent->map)};
}

}  // namespace catenet
