// Writing heads (RFC 9112 §4, RFC 9110 §5.5, §5.6.7, §8.6).
#include <catenet/http/response_head.hpp>
#include <catenet/http/status.hpp>

#include "http/chars.hpp"
#include "http/head_lines.hpp"

#include <algorithm>
#include <cstring>

namespace catenet::http {

namespace {

char* put_two(char* out, unsigned value) {
  out[0] = static_cast<char>('0' + value / 10 % 10);
  out[1] = static_cast<char>('0' + value % 10);
  return out + 2;
}

std::string_view line_of(persistence p) {
  switch (p) {
    case persistence::keep_alive:
      return "Connection: keep-alive\r\n";
    case persistence::close:
      return "Connection: close\r\n";
    case persistence::upgrade:
      return "Connection: Upgrade\r\n";
    case persistence::implied:
      break;
  }
  return {};
}

// The civil date of a count of days since 1970 (H. Hinnant's algorithm, valid for any Gregorian date).
struct civil {
  std::int64_t year;
  unsigned month, day;
};
civil civil_of(std::int64_t days) {
  days += 719468;
  const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto of_era = static_cast<unsigned>(days - era * 146097);
  const unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
  const unsigned shifted = (5 * of_year + 2) / 153;
  const unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
  return {static_cast<std::int64_t>(year) + era * 400 + (month <= 2 ? 1 : 0), month,
          of_year - (153 * shifted + 2) / 5 + 1};
}

}  // namespace

std::size_t head_size_max(const response_head& head) {
  constexpr std::size_t fixed =
      192;  // status line, the names of our own fields, digits, the longest Connection
  return fixed + head.opening.size() + head.server.size() + head.type.size() + head.fields.size();
}

char* write_opening(char* out, const response_head& head) {
  if (head.status == 200) [[likely]] {
    out = put(out, "HTTP/1.1 200 OK\r\n");
  } else {
    out = put(out, "HTTP/1.1 ");
    *out++ = static_cast<char>('0' + head.status / 100);
    out = put_two(out, head.status % 100u);
    *out++ = ' ';
    out = put(put(out, reason_of(head.status)), "\r\n");
  }
  if (!head.date.empty()) [[likely]] {
    out = put(out, "Date: ");
    std::memcpy(out, head.date.data(), http_date_bytes);
    out = put(out + http_date_bytes, "\r\n");
  }
  if (!head.server.empty()) out = put(put(put(out, "Server: "), head.server), "\r\n");
  return out;
}

char* write_head(char* out, const response_head& head) {
  out = head.opening.empty() ? write_opening(out, head) : put(out, head.opening);
  if (!head.type.empty()) out = put_type(out, head.type);
  if (head.persistence != persistence::implied) [[unlikely]]
    out = put(out, line_of(head.persistence));
  out = put(out, head.fields);
  if (head.framing == framing::length)
    out = put_length(out, head.length);
  else if (head.framing == framing::chunks)
    out = put(out, "Transfer-Encoding: chunked\r\n");
  return put(out, "\r\n");
}

bool valid_field(std::string_view name, std::string_view value) {
  return !name.empty() && skip_token(name.data(), name.data() + name.size()) == name.data() + name.size() &&
         valid_value(value);
}

bool valid_value(std::string_view value) {
  // Most are 8 to 16 bytes long, and two steps that may overlap see all of them.
  if (value.size() >= 8 && value.size() <= 16 && no_control(load<std::uint64_t>(value.data())) &&
      no_control(load<std::uint64_t>(value.data() + value.size() - 8)))
    return true;
  return find_control(value.data(), value.data() + value.size()) == value.data() + value.size();
}

char* write_chunk_line(char* out, std::uint64_t bytes) {
  int digits = 1;
  while (digits < 16 && bytes >> (4 * digits) != 0) ++digits;
  for (int i = digits; i-- != 0;) *out++ = "0123456789abcdef"[bytes >> (4 * i) & 15];
  return put(out, "\r\n");
}

char* write_decimal(char* out, std::uint64_t value) {
  if (value < 100) {  // most small answers
    if (value >= 10) *out++ = static_cast<char>('0' + value / 10);
    *out++ = static_cast<char>('0' + value % 10);
    return out;
  }
  int digits = 1;
  for (std::uint64_t rest = value; rest >= 10; rest /= 10) ++digits;
  for (int i = digits; i-- != 0; value /= 10) out[i] = static_cast<char>('0' + value % 10);
  return out + digits;
}

void write_http_date(char* out, std::int64_t unix_seconds) {
  constexpr std::string_view days = "ThuFriSatSunMonTueWed";  // 1970 began on a Thursday
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  unix_seconds = std::clamp<std::int64_t>(unix_seconds, 0, 253402300799);  // four digits of a year
  const std::int64_t day = unix_seconds / 86400;
  const auto second = static_cast<unsigned>(unix_seconds % 86400);
  const civil date = civil_of(day);
  const auto year = static_cast<unsigned>(date.year);
  out = put(put(out, days.substr(static_cast<std::size_t>(day % 7) * 3, 3)), ", ");
  *(out = put_two(out, date.day)) = ' ';
  out = put(out + 1, months.substr(std::size_t{date.month - 1} * 3, 3));
  *out++ = ' ';
  *(out = put_two(put_two(out, year / 100), year)) = ' ';
  *(out = put_two(out + 1, second / 3600)) = ':';
  *(out = put_two(out + 1, second / 60 % 60)) = ':';
  put(put_two(out + 1, second % 60), " GMT");
}

}  // namespace catenet::http
