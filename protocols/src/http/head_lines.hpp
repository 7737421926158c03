// Lines that nearly every answer's head has.
#pragma once

#include <catenet/http/response_head.hpp>

#include "http/put.hpp"

namespace catenet::http {

/// Most bytes of both lines together, without the type itself, and of the empty line.
inline constexpr std::size_t head_lines_bytes_max =
    sizeof "Content-Type: \r\nContent-Length: 18446744073709551615\r\n\r\n";

inline char* put_type(char* out, std::string_view type) {
  return put(put(put(out, "Content-Type: "), type), "\r\n");
}
inline char* put_length(char* out, std::uint64_t bytes) {
  return put(write_decimal(put(out, "Content-Length: "), bytes), "\r\n");
}

}  // namespace catenet::http
