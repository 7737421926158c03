// What the fields of a request mean together: whom it is for, how its body is framed, what becomes of the
// connection (RFC 9112 §3.2, §6, §9.3; RFC 9110 §7.2, §7.6.1, §10.1.1).
#include <catenet/http/request_head.hpp>

#include "http/chars.hpp"
#include "http/scan.hpp"

namespace catenet::http {

namespace {

// What was seen on the way through the fields.
struct seen {
  std::string_view host, length, coding, expect;
  std::uint8_t hosts = 0, lengths = 0, codings = 0;  // 2 stands for more than one
  bool expects = false;
  bool close = false, keep = false, upgrade_option = false, upgrade_field = false;
};

void once(std::uint8_t& count, std::string_view& kept, std::string_view value) {
  if (count++ == 0) kept = value;
  if (count > 2) count = 2;
}

void read_connection(std::string_view value, seen& s) {
  for_each_element(value, [&](std::string_view option) {
    if (equal_ignoring_case(option, "close")) s.close = true;
    if (equal_ignoring_case(option, "keep-alive")) s.keep = true;
    if (equal_ignoring_case(option, "upgrade")) s.upgrade_option = true;
    return true;
  });
}

void look_at(const field& one, seen& s) {
  const char* name = one.name.data();
  switch (one.name.size()) {
    case 4:
      if (is_name(name, "host")) once(s.hosts, s.host, one.value);
      break;
    case 6:
      if (is_name(name, "expect")) {
        if (!s.expects)
          s.expect = one.value;
        else if (!equal_ignoring_case(s.expect, one.value))
          s.expect = "several";
        s.expects = true;
      }
      break;
    case 7:
      if (is_name(name, "upgrade")) s.upgrade_field = true;
      break;
    case 10:
      if (is_name(name, "connection")) read_connection(one.value, s);
      break;
    case 14:
      if (is_name(name, "content-length")) once(s.lengths, s.length, one.value);
      break;
    case 17:
      if (is_name(name, "transfer-encoding")) once(s.codings, s.coding, one.value);
      break;
    default:
      break;
  }
}

fault read_coding(std::string_view list, request_head& head) {
  unsigned chunked = 0;
  bool last_is_chunked = false;
  bool others = false;
  const bool tokens = for_each_element(list, [&](std::string_view coding) {
    last_is_chunked = equal_ignoring_case(coding, "chunked");
    chunked += last_is_chunked ? 1 : 0;
    others = others || !last_is_chunked;
    return !coding.empty() && all_are(coding, char_token);
  });
  if (!tokens || !last_is_chunked) return {400, "Transfer-Encoding does not end with chunked"};
  if (chunked != 1) return {400, "chunked is applied more than once"};
  if (others) return {501, "only the transfer coding chunked is spoken here"};
  head.chunked = true;
  return {};
}

fault read_framing(const seen& s, request_head& head) {
  head.chunked = false;
  head.has_length = s.lengths != 0;
  head.content_length = 0;
  if (s.codings != 0) {
    if (head.has_length) return {400, "Content-Length together with Transfer-Encoding"};
    if (head.minor == 0) return {400, "Transfer-Encoding in HTTP/1.0"};
    if (s.codings > 1) return {400, "more than one Transfer-Encoding"};
    return read_coding(s.coding, head);
  }
  if (s.lengths > 1) return {400, "more than one Content-Length"};
  if (head.has_length && !read_decimal(s.length, head.content_length))
    return {400, "Content-Length is not a decimal number below 2^63"};
  return {};
}

}  // namespace

bool read_decimal(std::string_view digits, std::uint64_t& value) {
  constexpr std::uint64_t most = ~std::uint64_t{0} >> 1;
  if (digits.empty()) return false;
  std::uint64_t sum = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return false;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (sum > (most - digit) / 10) return false;
    sum = sum * 10 + digit;
  }
  value = sum;
  return true;
}

fault read_request_fields(request_head& head) {
  seen s;
  for (std::size_t i = 0; i != head.fields.size(); ++i) look_at(head.fields[i], s);

  if (s.hosts > 1) return {400, "more than one Host"};
  if (s.hosts == 0 && head.minor != 0) return {400, "Host is missing"};
  if (s.hosts == 1 && !valid_authority(s.host, sizeof "GET / HTTP/1.1")) return {400, "Host is not valid"};
  if (head.authority.empty()) head.authority = s.host;

  if (fault f = read_framing(s, head)) return f;

  head.keep_alive = head.minor == 0 ? s.keep && !s.close : !s.close;
  head.upgrade = head.minor != 0 && s.upgrade_option && s.upgrade_field;
  head.expect_continue = false;
  if (s.expects && head.minor != 0) {
    if (!equal_ignoring_case(s.expect, "100-continue"))
      return {417, "only the expectation 100-continue is met here"};
    head.expect_continue = true;
  }
  return {};
}

}  // namespace catenet::http
