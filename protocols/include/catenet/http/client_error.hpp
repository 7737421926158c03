// Why a call came to nothing, as a value.
#pragma once

#include <cstdint>
#include <string>

namespace catenet::http {

enum class client_failure : std::uint8_t {
  none,
  bad_request,  ///< the request was not fit to be sent; nothing was
  connect,      ///< no connection: refused, unreachable, no descriptor
  connect_timeout,
  busy,          ///< no connection became free in time, or too many calls wait for one
  head_timeout,  ///< the request is out, and no answer came
  body_timeout,  ///< the body stopped coming
  total_timeout,
  malformed,    ///< the answer breaks the protocol
  too_long,     ///< the body is longer than was asked for
  ended_early,  ///< the connection ended before the answer did
  no_memory,
  too_many_redirects,  ///< another one than the last that was to be followed
  given_up,            ///< call::abort()
};

/// False: nothing went wrong.
struct client_error {
  client_failure what = client_failure::none;
  const char* reason = "";  ///< a constant in plain words
  int code = 0;             ///< errno, where the system said one

  explicit operator bool() const { return what != client_failure::none; }
  /// It is the other side's silence, as a 504 tells it.
  [[nodiscard]] bool timeout() const {
    return what == client_failure::connect_timeout || what == client_failure::head_timeout ||
           what == client_failure::body_timeout || what == client_failure::total_timeout;
  }
  /// "the connection could not be made: ECONNREFUSED (Connection refused)"
  [[nodiscard]] std::string text() const;
};

}  // namespace catenet::http
