// Header fields: an index of 8 bytes a field into the head's bytes, which stay where they came in.
#pragma once

#include <catenet/http/limits.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace catenet::http {

/// ASCII letters compare without case; other bytes exactly.
bool equal_ignoring_case(std::string_view a, std::string_view b);

/// Calls f(element) for the elements of a comma-separated list (RFC 9110 §5.6.1), without the spaces around
/// them. Elements may be empty. f returns false to end it; then false is returned.
template <class F>
bool for_each_element(std::string_view list, F&& f) {
  for (;;) {
    const std::size_t comma = list.find(',');
    std::string_view element = list.substr(0, comma);
    while (!element.empty() && (element.front() == ' ' || element.front() == '\t')) element.remove_prefix(1);
    while (!element.empty() && (element.back() == ' ' || element.back() == '\t')) element.remove_suffix(1);
    if (!f(element)) return false;
    if (comma == std::string_view::npos) return true;
    list.remove_prefix(comma + 1);
  }
}

/// True when the list has that element, in any case.
bool has_element(std::string_view list, std::string_view element);

struct field {
  std::string_view name;   ///< as it was sent
  std::string_view value;  ///< without the white space around it
};

/// The fields of one head, in their order. Views hold as long as the head's bytes do.
class fields {
 public:
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] field operator[](std::size_t i) const {
    const place& p = places_[i];
    return {{base_ + p.name, p.name_bytes}, {base_ + p.value, p.value_bytes}};
  }

  /// The first field of that name (in any case); std::nullopt when there is none.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  /// How many fields have that name.
  [[nodiscard]] std::size_t count(std::string_view name) const;
  /// True when a list-valued field has that element, over all fields of the name.
  [[nodiscard]] bool lists(std::string_view name, std::string_view element) const;

  class iterator {
   public:
    using value_type = field;
    using difference_type = std::ptrdiff_t;
    iterator() = default;
    iterator(const fields* of, std::size_t at) : of_(of), at_(at) {}
    field operator*() const { return (*of_)[at_]; }
    iterator& operator++() {
      ++at_;
      return *this;
    }
    iterator operator++(int) {
      iterator before = *this;
      ++at_;
      return before;
    }
    bool operator==(const iterator&) const = default;

   private:
    const fields* of_ = nullptr;
    std::size_t at_ = 0;
  };
  [[nodiscard]] iterator begin() const { return {this, 0}; }
  [[nodiscard]] iterator end() const { return {this, count_}; }

  // For parsers.
  void reset(const char* base) {
    base_ = base;
    count_ = 0;
  }
  /// Both behind the base, and less than 64 KiB away.
  void add(std::string_view name, std::string_view value) {
    const auto places = [&](std::string_view text) {
      return static_cast<std::uint16_t>(text.data() - base_);
    };
    places_[count_++] = {places(name), static_cast<std::uint16_t>(name.size()), places(value),
                         static_cast<std::uint16_t>(value.size())};
  }

 private:
  struct place {
    std::uint16_t name, name_bytes, value, value_bytes;
  };
  const char* base_ = nullptr;
  std::uint16_t count_ = 0;
  std::array<place, fields_max> places_;
};

}  // namespace catenet::http
