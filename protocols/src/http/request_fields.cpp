// What the fields of a request mean together: whom it is for, how its body is framed, what becomes of the
// connection (RFC 9112 §3.2, §6, §9.3; RFC 9110 §7.2, §7.6.1, §10.1.1).
#include <catenet/http/request_head.hpp>

#include "http/chars.hpp"
#include "http/scan.hpp"

namespace catenet::http {

namespace {

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

void request_meaning::add_connection(std::string_view value) {
  for_each_element(value, [&](std::string_view option) {
    if (equal_ignoring_case(option, "close")) close_ = true;
    if (equal_ignoring_case(option, "keep-alive")) keep_ = true;
    if (equal_ignoring_case(option, "upgrade")) upgrade_option_ = true;
    return true;
  });
}

void request_meaning::add_other(std::string_view name, std::string_view value) {
  const auto is = [&](std::string_view lower) {
    const bool same = name.size() == lower.size() && is_name(name.data(), lower);
    others_ = others_ || same;
    return same;
  };
  if (is("connection")) {
    add_connection(value);
  } else if (is("content-length")) {
    if (lengths_++ == 0) length_ = value;
  } else if (is("transfer-encoding")) {
    if (codings_++ == 0) coding_ = value;
  } else if (is("upgrade")) {
    upgrade_field_ = true;
  } else if (is("expect")) {
    if (!expects_)
      expect_ = value;
    else if (!equal_ignoring_case(expect_, value))
      expect_ = "several";
    expects_ = true;
  }
}

fault request_meaning::tell_framing(request_head& head) const {
  head.has_length = lengths_ != 0;
  if (codings_ != 0) {
    if (head.has_length) return {400, "Content-Length together with Transfer-Encoding"};
    if (head.minor == 0) return {400, "Transfer-Encoding in HTTP/1.0"};
    if (codings_ > 1) return {400, "more than one Transfer-Encoding"};
    return read_coding(coding_, head);
  }
  if (lengths_ > 1) return {400, "more than one Content-Length"};
  if (head.has_length && !read_decimal(length_, head.content_length))
    return {400, "Content-Length is not a decimal number below 2^63"};
  return {};
}

fault request_meaning::tell(request_head& head) const {
  if (hosts_ > 1) return {400, "more than one Host"};
  if (hosts_ == 0 && head.minor != 0) return {400, "Host is missing"};
  if (hosts_ == 1 && !valid_authority(host_, sizeof "GET / HTTP/1.1")) return {400, "Host is not valid"};
  if (head.authority.empty()) head.authority = host_;

  head.chunked = head.has_length = head.upgrade = head.expect_continue = false;
  head.content_length = 0;
  head.keep_alive = head.minor != 0;
  if (!others_) [[likely]]
    return {};

  if (fault f = tell_framing(head)) return f;
  head.keep_alive = head.minor == 0 ? keep_ && !close_ : !close_;
  head.upgrade = head.minor != 0 && upgrade_option_ && upgrade_field_;
  if (expects_ && head.minor != 0) {
    if (!equal_ignoring_case(expect_, "100-continue"))
      return {417, "only the expectation 100-continue is met here"};
    head.expect_continue = true;
  }
  return {};
}

}  // namespace catenet::http
