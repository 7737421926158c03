// Decoding forms.
#include <catenet/http/form.hpp>

#include "http/chars.hpp"

namespace catenet::http {

namespace {

std::string decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i != text.size(); ++i) {
    const char c = text[i];
    if (c == '%' && text.size() - i >= 3) {
      const int high = hex_value(static_cast<unsigned char>(text[i + 1]));
      const int low = hex_value(static_cast<unsigned char>(text[i + 2]));
      if (high >= 0 && low >= 0) {
        out.push_back(static_cast<char>(high * 16 + low));
        i += 2;
        continue;
      }
    }
    out.push_back(c == '+' ? ' ' : c);
  }
  return out;
}

// Calls f(name, value), both as they were sent; f returns false to end it.
template <class F>
void for_each_pair(std::string_view text, F&& f) {
  while (!text.empty()) {
    const std::size_t end = text.find('&');
    const std::string_view pair = text.substr(0, end);
    const std::size_t equals = pair.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1);
    if (!pair.empty() && !f(pair.substr(0, equals), value)) return;
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

form form::parse(std::string_view text) {
  form all;
  for_each_pair(text, [&](std::string_view name, std::string_view value) {
    all.pairs_.emplace_back(decoded(name), decoded(value));
    return all.pairs_.size() != pairs_max;
  });
  return all;
}

std::optional<std::string_view> form::find(std::string_view name) const {
  for (const auto& [key, value] : pairs_)
    if (key == name) return value;
  return std::nullopt;
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  std::optional<std::string> found;
  for_each_pair(query, [&](std::string_view key, std::string_view value) {
    if (key == name || decoded(key) == name) found = decoded(value);
    return !found;
  });
  return found;
}

}  // namespace catenet::http
