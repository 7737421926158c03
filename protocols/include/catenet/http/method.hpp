// Request methods (RFC 9110 §9, RFC 5789). Method names are case-sensitive.
#pragma once

#include <cstdint>
#include <string_view>

namespace catenet::http {

/// `other` is a valid token that is not in this list; its name stays in the request line.
enum class method : std::uint8_t { get, head, post, put, delete_, options, patch, trace, connect, other };

inline constexpr std::size_t method_count = 9;  ///< the named ones

/// "GET"; empty for `other`.
constexpr std::string_view name_of(method m) {
  constexpr std::string_view names[] = {"GET",     "HEAD",  "POST",  "PUT",     "DELETE",
                                        "OPTIONS", "PATCH", "TRACE", "CONNECT", ""};
  return names[static_cast<std::size_t>(m)];
}

constexpr method method_of(std::string_view name) {
  for (std::size_t i = 0; i != method_count; ++i)
    if (name_of(static_cast<method>(i)) == name) return static_cast<method>(i);
  return method::other;
}

}  // namespace catenet::http
