// Looking fields up, and reading one field line.
#include <catenet/http/fields.hpp>

#include "http/scan.hpp"

namespace catenet::http {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i != a.size(); ++i) {
    const auto x = static_cast<unsigned char>(a[i]);
    const auto y = static_cast<unsigned char>(b[i]);
    if (x == y) continue;
    const unsigned char lower = x | 0x20;
    if (lower != (y | 0x20) || lower < 'a' || lower > 'z') return false;
  }
  return true;
}

bool has_element(std::string_view list, std::string_view element) {
  return !for_each_element(list, [&](std::string_view one) { return !equal_ignoring_case(one, element); });
}

std::optional<std::string_view> fields::find(std::string_view name) const {
  for (std::size_t i = 0; i != count_; ++i)
    if (places_[i].name_bytes == name.size() && equal_ignoring_case((*this)[i].name, name))
      return (*this)[i].value;
  return std::nullopt;
}

std::size_t fields::count(std::string_view name) const {
  std::size_t found = 0;
  for (const field one : *this) found += equal_ignoring_case(one.name, name) ? 1u : 0u;
  return found;
}

bool fields::lists(std::string_view name, std::string_view element) const {
  for (const field one : *this)
    if (equal_ignoring_case(one.name, name) && has_element(one.value, element)) return true;
  return false;
}

fault field_line_fault(const char* line, const char* colon, const char* end) {
  if (*line == ' ' || *line == '\t') return {400, "a header line begins with white space"};
  if (colon == end) return {400, "a header line has no colon"};
  if (*colon == ' ' || *colon == '\t') return {400, "white space before a colon"};
  return {400, "a header name is not a token"};
}

}  // namespace catenet::http
