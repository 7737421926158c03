// Files of a directory as a route: http::server::files().
#pragma once

#include <cstdint>
#include <string>

namespace catenet::http {

struct file_options {
  std::string index = "index.html";  ///< what a directory is answered with; empty: nothing
  bool precompressed = true;         ///< NAME.br and NAME.gz stand for NAME where the client takes them
  bool hidden = false;               ///< names that begin with a dot are there, too
  std::string cache_control{};       ///< value of that field; none when empty
  std::uint32_t fresh_ms = 1000;     ///< how long what is known of a file is believed without looking again
  std::uint32_t open_max = 512;      ///< names remembered on each core, with their open descriptors
  std::uint64_t hot_bytes_max = 16 << 10;  ///< files up to this size are kept in memory
  std::uint64_t hot_total_max = 16 << 20;  ///< together, on each core
};

}  // namespace catenet::http
