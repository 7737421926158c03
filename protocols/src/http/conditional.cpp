// Preconditions, ranges, dates, weights.
#include "http/conditional.hpp"

#include <algorithm>
#include <limits>

namespace catenet::http {

namespace {

constexpr std::uint64_t number_max = std::numeric_limits<std::int64_t>::max();

// Decimal digits; what is above number_max counts as number_max. std::nullopt when there is anything else.
std::optional<std::uint64_t> read_number(std::string_view digits) {
  if (digits.empty()) return std::nullopt;
  std::uint64_t sum = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    sum = sum > (number_max - digit) / 10 ? number_max : sum * 10 + digit;
  }
  return sum;
}

// Whether a list of entity tags has ours. Tags are compared with their quotes; "W/" is passed over in a weak
// comparison and ends the hope of a match in a strong one.
bool has_tag(std::string_view list, std::string_view etag, bool weak) {
  if (list == "*") return true;
  while (!list.empty()) {
    const bool is_weak = list.starts_with("W/");
    if (is_weak) list.remove_prefix(2);
    if (list.starts_with('"')) {
      const std::size_t end = list.find('"', 1);
      if (end == std::string_view::npos) return false;
      if ((weak || !is_weak) && list.substr(0, end + 1) == etag) return true;
      list.remove_prefix(end + 1);
    } else if (list.starts_with(' ') || list.starts_with('\t') || list.starts_with(',')) {
      list.remove_prefix(1);
    } else {
      return false;
    }
  }
  return false;
}

bool has_tag_in_any(const fields& f, std::string_view name, std::string_view etag, bool weak) {
  for (const field one : f)
    if (equal_ignoring_case(one.name, name) && has_tag(one.value, etag, weak)) return true;
  return false;
}

std::optional<std::int64_t> date_in(const fields& f, std::string_view name) {
  const auto value = f.find(name);
  return value ? read_http_date(*value) : std::nullopt;
}

}  // namespace

std::uint16_t check_preconditions(const fields& f, method m, const validators& of) {
  const bool reads = m == method::get || m == method::head;
  if (f.find("If-Match")) {
    if (!has_tag_in_any(f, "If-Match", of.etag, false)) return 412;
  } else if (const auto date = date_in(f, "If-Unmodified-Since"); date && of.modified_s > *date) {
    return 412;
  }
  if (f.find("If-None-Match")) {
    if (has_tag_in_any(f, "If-None-Match", of.etag, true)) return reads ? 304 : 412;
  } else if (const auto date = date_in(f, "If-Modified-Since"); reads && date && of.modified_s <= *date) {
    return 304;
  }
  return 0;
}

bool range_applies(const fields& f, const validators& of) {
  const auto value = f.find("If-Range");
  if (!value) return true;
  if (f.count("If-Range") != 1) return false;
  if (value->starts_with('"')) return *value == of.etag;
  return read_http_date(*value) == of.modified_s;
}

range_set::verdict range_set::read(std::string_view value, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  count_ = 0;
  if (value.size() < unit.size() || !equal_ignoring_case(value.substr(0, unit.size()), unit))
    return verdict::whole;
  std::size_t asked = 0;
  const bool well_formed = for_each_element(value.substr(unit.size()), [&](std::string_view one) {
    return one.empty() || (++asked <= ranges_max && add(one, size));  // RFC 9110 §5.6.1.2
  });
  if (!well_formed || asked == 0) return verdict::whole;
  if (count_ == 0) return verdict::unsatisfiable;
  for (std::size_t i = 0; i != count_; ++i)
    for (std::size_t j = 0; j != i; ++j) {
      const byte_range& a = parts_[i];
      const byte_range& b = parts_[j];
      if (a.first < b.first + b.bytes && b.first < a.first + a.bytes) return verdict::whole;
    }
  return verdict::parts;
}

// False when it is malformed; what lies outside the content is left out.
bool range_set::add(std::string_view one, std::uint64_t size) {
  const std::size_t dash = one.find('-');
  if (dash == std::string_view::npos) return false;
  byte_range r;
  if (dash == 0) {
    const auto suffix = read_number(one.substr(1));
    if (!suffix) return false;
    r.bytes = std::min(*suffix, size);
    r.first = size - r.bytes;
  } else {
    const auto first = read_number(one.substr(0, dash));
    const auto last = dash + 1 == one.size() ? std::optional{number_max} : read_number(one.substr(dash + 1));
    if (!first || !last || *last < *first) return false;
    if (*first >= size) return true;
    r = {*first, std::min(*last, size - 1) - *first + 1};
  }
  if (r.bytes != 0) parts_[count_++] = r;
  return true;
}

namespace {

constexpr std::string_view month_names = "JanFebMarAprMayJunJulAugSepOctNovDec";

// Days from 1970 to a civil date (H. Hinnant's algorithm).
std::int64_t days_of(std::int64_t year, unsigned month, unsigned day) {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto of_era = static_cast<unsigned>(year - era * 400);
  const unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146097 + static_cast<std::int64_t>(of_era * 365 + of_era / 4 - of_era / 100 + of_year) -
         719468;
}

// The pieces of a date, taken from the front of the text one after the other.
struct date_reader {
  std::string_view left;
  bool good = true;

  void skip(std::string_view text) {
    good = good && left.starts_with(text);
    if (good) left.remove_prefix(text.size());
  }
  unsigned digits(std::size_t count) {
    unsigned value = 0;
    good = good && left.size() >= count;
    for (std::size_t i = 0; good && i != count; ++i) {
      const char c =
          left[i] == ' ' && i == 0 && count == 2 ? '0' : left[i];  // asctime pads the day with a space
      good = c >= '0' && c <= '9';
      value = value * 10 + static_cast<unsigned>(c - '0');
    }
    if (good) left.remove_prefix(count);
    return value;
  }
  unsigned month() {
    const std::size_t at =
        good && left.size() >= 3 ? month_names.find(left.substr(0, 3)) : std::string_view::npos;
    good = good && at != std::string_view::npos && at % 3 == 0;
    if (good) left.remove_prefix(3);
    return good ? static_cast<unsigned>(at / 3 + 1) : 1;
  }
  unsigned time() {
    const unsigned hours = digits(2);
    skip(":");
    const unsigned minutes = digits(2);
    skip(":");
    const unsigned seconds = digits(2);
    good = good && hours < 24 && minutes < 60 && seconds <= 60;
    return hours * 3600 + minutes * 60 + seconds;
  }
};

}  // namespace

std::optional<std::int64_t> read_http_date(std::string_view text) {
  const std::size_t comma = text.find(',');
  date_reader r{text};
  unsigned year = 0, month = 0, day = 0, second = 0;
  if (comma == 3) {  // "Sun, 06 Nov 1994 08:49:37 GMT"
    r.left.remove_prefix(4);
    r.skip(" ");
    day = r.digits(2);
    r.skip(" ");
    month = r.month();
    r.skip(" ");
    year = r.digits(4);
    r.skip(" ");
    second = r.time();
    r.skip(" GMT");
  } else if (comma != std::string_view::npos) {  // "Sunday, 06-Nov-94 08:49:37 GMT"
    r.left.remove_prefix(comma + 1);
    r.skip(" ");
    day = r.digits(2);
    r.skip("-");
    month = r.month();
    r.skip("-");
    year = r.digits(2);
    year += year < 70 ? 2000 : 1900;
    r.skip(" ");
    second = r.time();
    r.skip(" GMT");
  } else {  // "Sun Nov  6 08:49:37 1994"
    r.left.remove_prefix(std::min<std::size_t>(3, r.left.size()));
    r.skip(" ");
    month = r.month();
    r.skip(" ");
    day = r.digits(2);
    r.skip(" ");
    second = r.time();
    r.skip(" ");
    year = r.digits(4);
  }
  if (!r.good || !r.left.empty() || day < 1 || day > 31) return std::nullopt;
  return days_of(year, month, day) * 86400 + second;
}

unsigned coding_weight(const fields& f, std::string_view coding) {
  std::optional<unsigned> named;
  std::optional<unsigned> any;
  unsigned identity = 0;  // where it is not named, anything that is wanted is wanted more
  for (const field one : f) {
    if (!equal_ignoring_case(one.name, "Accept-Encoding")) continue;
    for_each_element(one.value, [&](std::string_view element) {
      const std::size_t semicolon = element.find(';');
      std::string_view name = element.substr(0, semicolon);
      while (name.ends_with(' ') || name.ends_with('\t')) name.remove_suffix(1);
      unsigned weight = 1000;
      if (semicolon != std::string_view::npos) {
        std::string_view q = element.substr(semicolon + 1);
        while (q.starts_with(' ') || q.starts_with('\t')) q.remove_prefix(1);
        if (q.size() < 3 || (q[0] | 0x20) != 'q' || q[1] != '=') return true;
        weight = q[2] == '1' ? 1000 : 0;
        if (q[2] == '0' && q.size() > 4 && q[3] == '.') {
          unsigned unit = 100;
          for (const char c : q.substr(4, 3)) {
            if (c < '0' || c > '9') break;
            weight += unit * static_cast<unsigned>(c - '0');
            unit /= 10;
          }
        }
      }
      if (equal_ignoring_case(name, coding)) named = weight;
      if (equal_ignoring_case(name, "identity")) identity = weight;
      if (name == "*") any = weight;
      return true;
    });
  }
  const unsigned weight = named ? *named : any.value_or(0);
  return weight < identity ? 0 : weight;
}

}  // namespace catenet::http
