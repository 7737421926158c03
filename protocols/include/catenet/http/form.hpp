// name=value&name=value: query strings and the bodies of forms (WHATWG URL,
// application/x-www-form-urlencoded).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace catenet::http {

/// Decoded pairs in their order. As browsers do, '+' is a space, and an escape that is none stays as it is.
class form {
 public:
  static constexpr std::size_t pairs_max = 1000;

  /// What lies beyond pairs_max is left out.
  static form parse(std::string_view text);

  /// The first value of that name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  [[nodiscard]] std::size_t size() const { return pairs_.size(); }
  [[nodiscard]] auto begin() const { return pairs_.begin(); }
  [[nodiscard]] auto end() const { return pairs_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

/// One value of a query, without parsing all of it.
std::optional<std::string> query_value(std::string_view query, std::string_view name);

}  // namespace catenet::http
