// What one core remembers of the files beneath a directory: open descriptors, their facts, and small files
// whole.
#pragma once

#include <catenet/http/files.hpp>
#include <catenet/slab/chain.hpp>

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace catenet::http {

/// A file as it was when it was looked at.
struct known_file {
  enum class kind : std::uint8_t {
    missing,
    file,
    directory,
    unavailable
  };  ///< unavailable: no descriptor was free
  kind what = kind::missing;
  bool hot = false;  ///< content is memory, not a region of the file
  chain content;     ///< to be shared; empty for an empty file
  std::uint64_t bytes = 0;
  std::int64_t modified_s = 0;
  std::uint64_t inode = 0;
  std::int64_t changed_ns = 0;
  std::uint32_t looked_ms = 0;
  std::string etag;      ///< with its quotes
  std::string modified;  ///< as an HTTP date
};

/// Of one directory and core. Descriptors that answers still use stay open when the file is forgotten.
class file_cache {
 public:
  /// `directory` is an open descriptor that outlives this.
  file_cache(int directory, const file_options& options) : directory_(directory), options_(options) {}

  /// Looks a file up that lies beneath the directory; symbolic links are followed as long as they stay there.
  /// Valid until the next call.
  known_file& look_up(std::string_view path, std::uint32_t now_ms);

 private:
  struct hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  struct slot {
    known_file file;
    std::list<const std::string*>::iterator age;
  };
  void look(const std::string& path, known_file& file) const;
  void keep_hot(known_file& file, int fd) const;
  void forget_oldest();

  int directory_;
  const file_options& options_;
  std::unordered_map<std::string, slot, hash, std::equal_to<>> files_;
  std::list<const std::string*> ages_;  // of use, the latest first
  std::uint64_t hot_bytes_ = 0;
};

}  // namespace catenet::http
