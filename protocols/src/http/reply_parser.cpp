// Reading answers' heads out of chains: status line and what the fields mean together (RFC 9112 §4, §6.3,
// §9.3).
#include <catenet/http/reply_parser.hpp>

#include "http/chars.hpp"
#include "http/scan.hpp"

#include <algorithm>
#include <cstring>

namespace catenet::http {

namespace {

// Faults of answers have no status to be answered with: 502 is what a gateway would say.
constexpr std::uint16_t bad = 502;

fault long_status_line(const char*, std::size_t) { return {bad, "the status line is too long"}; }

int digit_of(char c) { return c >= '0' && c <= '9' ? c - '0' : -1; }

// HTTP-version SP status-code SP [ reason-phrase ]
fault read_status_line(std::string_view line, reply_head& head) {
  constexpr std::string_view version = "HTTP/1.";
  constexpr std::size_t code_at = 9;
  constexpr std::size_t reason_at = 13;
  if (line.substr(0, version.size()) != version || line.size() < reason_at)
    return {bad, "no valid status line"};
  const int minor = digit_of(line[version.size()]);
  if (minor < 0 || line[code_at - 1] != ' ' || line[reason_at - 1] != ' ')
    return {bad, "no valid status line"};
  int status = 0;
  for (std::size_t i = code_at; i != reason_at - 1; ++i) {
    const int digit = digit_of(line[i]);
    if (digit < 0) return {bad, "the status code is no number"};
    status = status * 10 + digit;
  }
  if (status < 100 || status > 599) return {bad, "the status code is out of range"};
  head.minor = minor == 0 ? 0 : 1;
  head.status = static_cast<std::uint16_t>(status);
  head.reason = line.substr(reason_at);
  return {};
}

struct seen {
  std::string_view length, coding;
  unsigned lengths = 0, codings = 0;
  bool close = false, keep = false;
};

seen look_through(const fields& all) {
  seen s;
  for (const field one : all) {
    if (equal_ignoring_case(one.name, "content-length")) {
      s.length = one.value;
      ++s.lengths;
    } else if (equal_ignoring_case(one.name, "transfer-encoding")) {
      s.coding = one.value;
      ++s.codings;
    } else if (equal_ignoring_case(one.name, "connection")) {
      s.close = s.close || has_element(one.value, "close");
      s.keep = s.keep || has_element(one.value, "keep-alive");
    }
  }
  return s;
}

// Any doubt about where a body ends is a fault: what follows could be taken for another answer (RFC 9112
// §11.1).
fault read_reply_fields(reply_head& head) {
  const seen s = look_through(head.fields);
  head.has_length = s.lengths != 0;
  head.chunked = s.codings != 0;
  head.content_length = 0;
  head.keep_alive = head.minor == 0 ? s.keep && !s.close : !s.close;
  if (head.chunked && head.has_length) return {bad, "Content-Length together with Transfer-Encoding"};
  if (s.codings > 1) return {bad, "more than one Transfer-Encoding"};
  if (head.chunked && !equal_ignoring_case(s.coding, "chunked"))
    return {bad, "a transfer coding other than chunked"};
  if (head.chunked && head.minor == 0) return {bad, "Transfer-Encoding in HTTP/1.0"};
  if (head.chunked && (head.informational() || head.status == 204))
    return {bad, "Transfer-Encoding where no body may be"};
  if (s.lengths > 1) return {bad, "more than one Content-Length"};
  if (head.has_length && !read_decimal(s.length, head.content_length))
    return {bad, "Content-Length is not a decimal number below 2^63"};
  return {};
}

// Scans on; with `head`, which takes a scan from the beginning, fills it in.
reply_parser::progress scan_reply(const char* base, std::size_t size, const limits& most, head_scan& s,
                                  fault& why, reply_head* head) {
  if (head != nullptr) head->fields.reset(base);
  const scan_bounds bounds{most.request_line, most.head_bytes, most.fields, &long_status_line};
  return scan_lines(
      base, size, bounds, s, why,
      [&](std::string_view line) {
        if (head != nullptr) return read_status_line(line, *head);
        reply_head scratch;
        return read_status_line(line, scratch);
      },
      [&](const char* line, const char* end) {
        return read_field_line(line, end, [&](std::string_view name, std::string_view value) {
          if (head != nullptr) head->fields.add(name, value);
        });
      });
}

}  // namespace

bool reply_parser::grow() {
  if (length_ < block_.bytes().size()) return true;
  lease bigger = lease::of(length_ + 1);
  if (bigger.bytes().size() <= length_) return false;
  if (length_ != 0) std::memcpy(bigger.bytes().data(), block_.bytes().data(), length_);
  block_ = std::move(bigger);
  return true;
}

reply_parser::progress reply_parser::next(chain& input, const limits& most, reply_head& head) {
  if (fault_) return progress::broken;
  while (!input.empty()) {
    if (!grow()) {
      fault_ = {503, "no memory for the answer's head"};
      return progress::broken;
    }
    const std::span<const std::byte> front = input.front();
    const std::size_t take = std::min(front.size(), block_.bytes().size() - length_);
    std::memcpy(block_.bytes().data() + length_, front.data(), take);
    const char* const base = reinterpret_cast<const char*>(block_.bytes().data());
    const bool first = length_ == 0;
    const progress p = scan_reply(base, length_ + take, most, scan_, fault_, first ? &head : nullptr);
    if (p == progress::broken) return p;
    if (p == progress::complete) {
      input.consume(scan_.line - length_);
      length_ = scan_.line;
      if (!first) {
        head_scan again;
        scan_reply(base, length_, most, again, fault_, &head);
      }
      head.bytes = length_;
      fault_ = read_reply_fields(head);
      return fault_ ? progress::broken : p;
    }
    length_ += static_cast<std::uint32_t>(take);
    input.consume(take);
  }
  return progress::more;
}

void reply_parser::reset() {
  block_.reset();
  length_ = 0;
  scan_ = {};
  fault_ = {};
}

}  // namespace catenet::http
