// Reading and writing cookies.
#include <catenet/http/cookie.hpp>

#include "http/chars.hpp"

#include <algorithm>

namespace catenet::http {

namespace {

// cookie-octet, RFC 6265 §4.1.1
bool valid_cookie_value(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) {
    return c > 0x20 && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\';
  });
}

bool valid_attribute(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7f && c != ';'; });
}

}  // namespace

std::string set_cookie_value(std::string_view name, std::string_view value, const cookie_options& options) {
  if (name.empty() || !all_are(name, char_token) || !valid_cookie_value(value) ||
      !valid_attribute(options.path) || !valid_attribute(options.domain))
    return {};
  std::string text{name};
  (text += '=') += value;
  if (!options.path.empty()) (text += "; Path=") += options.path;
  if (!options.domain.empty()) (text += "; Domain=") += options.domain;
  if (options.max_age_s) (text += "; Max-Age=") += std::to_string(*options.max_age_s);
  if (options.secure) text += "; Secure";
  if (options.http_only) text += "; HttpOnly";
  switch (options.same_site) {
    case same_site::strict:
      text += "; SameSite=Strict";
      break;
    case same_site::lax:
      text += "; SameSite=Lax";
      break;
    case same_site::none:
      text += "; SameSite=None";
      break;
  }
  return text;
}

std::optional<std::string_view> cookie_in(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(';'), list.size());
    const std::string_view pair = trimmed(list.data(), list.data() + end);
    const std::size_t equals = pair.find('=');
    if (equals != std::string_view::npos && pair.substr(0, equals) == name) {
      std::string_view value = pair.substr(equals + 1);
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
        value = value.substr(1, value.size() - 2);
      return value;
    }
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return std::nullopt;
}

}  // namespace catenet::http
