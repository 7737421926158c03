// Cookies (RFC 6265).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace catenet::http {

enum class same_site : std::uint8_t { strict, lax, none };

/// What goes along with a cookie that is set. The defaults keep it from scripts and from foreign sites.
struct cookie_options {
  std::string path = "/";
  std::string domain{};                     ///< empty: this host only
  std::optional<std::int64_t> max_age_s{};  ///< none: until the browser ends; 0 removes it
  bool secure = false;                      ///< over TLS only; same_site::none needs it
  bool http_only = true;                    ///< not for scripts
  http::same_site same_site = http::same_site::lax;
};

/// The value of Set-Cookie; empty when name, value or an option has a character that may not stand there.
std::string set_cookie_value(std::string_view name, std::string_view value, const cookie_options& options);

/// The value of the cookie of that name in the value of a field Cookie.
std::optional<std::string_view> cookie_in(std::string_view field_value, std::string_view name);

}  // namespace catenet::http
