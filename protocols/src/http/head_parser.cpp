// Reading request heads and trailers out of chains.
#include <catenet/http/head_parser.hpp>

#include "http/chars.hpp"
#include "http/scan.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace catenet::http {

namespace {

using progress = head_parser::progress;

constexpr fault out_of_blocks{503, "no memory for the request's head"};

// A first line that is too long: 501 when the method alone is (bad-input.md row 31), else 414.
fault long_request_line(const char* base, std::size_t size) {
  const std::string_view begin{base, std::min<std::size_t>(size, method_bytes_max + 1)};
  if (begin.find(' ') == std::string_view::npos) return {501, "the method is not known"};
  return {414, "the request line is too long"};
}

scan_bounds bounds_of(const limits& most) {
  return {most.request_line, most.head_bytes, most.fields, &long_request_line};
}

// Reads and indexes a head, from its beginning on.
progress index_head(const char* base, std::size_t size, const limits& most, head_scan& s, request_head& head,
                    fault& why) {
  head.fields.reset(base);
  if (s.at == 0 && read_quickly(base, size, most, head)) [[likely]]
    return progress::complete;
  head.fields.reset(base);
  request_meaning meaning;
  const progress p = scan_lines(
      base, size, bounds_of(most), s, why,
      [&](std::string_view line) { return read_request_line(line, head); },
      [&](const char* line, const char* end) {
        return read_field_line(line, end, [&](std::string_view name, std::string_view value) {
          head.fields.add(name, value);
          meaning.add(name, value);
        });
      });
  if (p != progress::complete) return p;
  head.bytes = s.line;
  why = meaning.tell(head);
  return why ? progress::broken : p;
}

fault check_field_line(const char* line, const char* end) {
  return read_field_line(line, end, [](std::string_view, std::string_view) {});
}

// Checks the lines that are complete, and indexes nothing.
progress check_head(const char* base, std::size_t size, const limits& most, head_scan& s, fault& why) {
  return scan_lines(
      base, size, bounds_of(most), s, why,
      [&](std::string_view line) {
        request_head scratch;
        return read_request_line(line, scratch);
      },
      &check_field_line);
}

// Room for at least `least` bytes; the `length` bytes gathered so far move along.
bool grow_block(lease& block, std::uint32_t length, std::uint32_t least) {
  if (least <= block.bytes().size()) return true;
  lease bigger = lease::of(least);
  if (bigger.bytes().size() < least) return false;
  if (length != 0) std::memcpy(bigger.bytes().data(), block.bytes().data(), length);
  block = std::move(bigger);
  return true;
}

const char* text_of(const lease& block) { return reinterpret_cast<const char*>(block.bytes().data()); }

}  // namespace

head_parser::progress head_parser::next(chain& input, const limits& most, request_head& head) {
  if (fault_) return progress::broken;
  if (length_ != 0) return gather(input, most, head);
  const std::span<const std::byte> front = input.front();
  if (cr_seen_ || front.empty() || front[0] == std::byte{'\r'} || front[0] == std::byte{'\n'}) [[unlikely]] {
    if (const progress p = skip_empty_lines(input, most); p != progress::complete) return p;
    return next(input, most, head);
  }
  const progress p =
      index_head(reinterpret_cast<const char*>(front.data()), front.size(), most, scan_, head, fault_);
  if (p != progress::more) [[likely]]
    return p;
  // The block has to be left at once: what is there moves into a small one, and only lines not yet complete
  // are looked at again.
  return gather(input, most, head);
}

head_parser::progress head_parser::skip_empty_lines(chain& input, const limits& most) {
  while (!input.empty()) {
    const std::byte c = input.front()[0];
    if (cr_seen_) {
      if (c != std::byte{'\n'}) {
        fault_ = {400, "a CR without LF"};
        return progress::broken;
      }
      cr_seen_ = false;
      if (++empty_lines_ > most.empty_lines) {
        fault_ = {400, "too many empty lines before a request"};
        return progress::broken;
      }
    } else if (c == std::byte{'\r'}) {
      cr_seen_ = true;
    } else if (c == std::byte{'\n'}) {
      fault_ = {400, "a line ends with LF alone"};
      return progress::broken;
    } else {
      return progress::complete;
    }
    input.consume(1);
  }
  return progress::more;
}

head_parser::progress head_parser::gather(chain& input, const limits& most, request_head& head) {
  while (!input.empty()) {
    // At first, what was looked at in place comes along.
    if (!grow_block(block_, length_, std::max(length_ + 1, scan_.at))) {
      fault_ = out_of_blocks;
      return progress::broken;
    }
    const std::span<const std::byte> front = input.front();
    const std::size_t take = std::min(front.size(), block_.bytes().size() - length_);
    std::memcpy(block_.bytes().data() + length_, front.data(), take);
    const progress p = check_head(text_of(block_), length_ + take, most, scan_, fault_);
    if (p == progress::broken) return p;
    if (p == progress::complete) {
      input.consume(scan_.line - length_);
      length_ = scan_.line;
      head_scan again;
      return index_head(text_of(block_), length_, most, again, head, fault_);
    }
    length_ += static_cast<std::uint32_t>(take);
    input.consume(take);
  }
  return progress::more;
}

void head_parser::recall(const chain& input, request_head& head) const {
  head.forget();
  if (!scan_.first_done) return;
  const char* const base = block_ ? text_of(block_) : reinterpret_cast<const char*>(input.front().data());
  const std::string_view lines{base, scan_.line};
  request_head read;
  if (read_request_line(lines.substr(0, lines.find('\r')), read)) return;
  head.method_name = read.method_name;
  head.target = read.target;
  head.minor = read.minor;
}

chain head_parser::take_gathered() {
  assert(block_ && length_ != 0);
  return chain{std::move(block_), 0, length_};
}

void head_parser::reset() {
  block_.reset();
  length_ = 0;
  scan_ = {};
  empty_lines_ = 0;
  cr_seen_ = false;
  fault_ = {};
}

trailer_parser::progress trailer_parser::next(chain& input, const limits& most) {
  const scan_bounds bounds{0, most.trailer_bytes, most.trailer_fields, nullptr};
  while (!input.empty()) {
    if (!grow_block(block_, length_, length_ + 1)) {
      fault_ = {503, "no memory for the trailers"};
      return progress::broken;
    }
    const std::span<const std::byte> front = input.front();
    const std::size_t take = std::min(front.size(), block_.bytes().size() - length_);
    std::memcpy(block_.bytes().data() + length_, front.data(), take);
    const char* base = text_of(block_);
    const progress p = scan_lines(
        base, length_ + take, bounds, scan_, fault_, [](std::string_view) { return fault{}; },
        &check_field_line);
    if (p == progress::broken) return p;
    const std::size_t used = p == progress::complete ? scan_.line - length_ : take;
    length_ += static_cast<std::uint32_t>(used);
    input.consume(used);
    if (p == progress::complete) return p;
  }
  return progress::more;
}

std::string_view trailer_parser::cut_line(std::string_view text, field& into) {
  const std::size_t end = text.find("\r\n");
  const std::size_t colon = text.find(':');
  into.name = text.substr(0, colon);
  into.value = trimmed(text.data() + colon + 1, text.data() + end);
  return text.substr(end + 2);
}

bool trailer_parser::allowed(std::string_view name) {
  static constexpr std::string_view forbidden[] = {"transfer-encoding",
                                                   "content-length",
                                                   "host",
                                                   "authorization",
                                                   "content-encoding",
                                                   "content-type",
                                                   "content-range",
                                                   "trailer",
                                                   "connection",
                                                   "upgrade",
                                                   "te",
                                                   "cache-control",
                                                   "expect",
                                                   "max-forwards",
                                                   "pragma",
                                                   "range",
                                                   "set-cookie",
                                                   "cookie",
                                                   "proxy-authorization",
                                                   "proxy-authenticate",
                                                   "www-authenticate",
                                                   "keep-alive",
                                                   "proxy-connection"};
  return std::none_of(std::begin(forbidden), std::end(forbidden),
                      [&](std::string_view one) { return equal_ignoring_case(one, name); });
}

std::optional<std::string_view> trailer_parser::find(std::string_view name) const {
  std::optional<std::string_view> found;
  for_each([&](const field& one) {
    if (!found && equal_ignoring_case(one.name, name)) found = one.value;
  });
  return found;
}

}  // namespace catenet::http
