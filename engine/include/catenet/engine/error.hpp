// An error as a value: what was tried, on what, why it failed, and what can be done.
#pragma once

#include <string>
#include <string_view>

namespace catenet {

/// Empty (false) means success.
struct error {
  std::string tried;   ///< "listen", "bind", "io_uring_setup"
  std::string on;      ///< "127.0.0.1:8080"
  int code = 0;        ///< errno, or 0
  std::string advice;  ///< what the reader can do about it; may be empty

  explicit operator bool() const { return !tried.empty(); }

  /// "bind 127.0.0.1:80: EACCES (Permission denied); a port below 1024 needs CAP_NET_BIND_SERVICE"
  [[nodiscard]] std::string text() const;
};

/// "EADDRINUSE (Address already in use)"; "0" when there is none.
std::string errno_text(int code);

}  // namespace catenet
