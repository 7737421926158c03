// The steps of reading a head, for the parsers of requests, answers and trailers.
//
//   scan lines ─▶ first line ─▶ field lines ─▶ (all there) ─▶ what the fields mean together
//
// A line is first searched for control characters up to its CR LF, then read. So the answer to a bad head
// depends on its bytes only, not on how they were cut up on the way.
#pragma once

#include <catenet/http/fault.hpp>
#include <catenet/http/head_parser.hpp>
#include <catenet/http/request_head.hpp>

#include "http/chars.hpp"

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace catenet::http {

/// Why a line whose name ends at `colon` is no field line.
fault field_line_fault(const char* line, const char* colon, const char* end);

/// One field line; *end is its CR. Calls add(its name, its value).
template <class Add>
fault read_field_line(const char* line, const char* end, Add&& add) {
  const char* const colon = skip_token(line, end);
  if (colon == end || *colon != ':' || colon == line) [[unlikely]]
    return field_line_fault(line, colon, end);
  add(std::string_view{line, static_cast<std::size_t>(colon - line)}, trimmed(colon + 1, end));
  return {};
}

/// The request line without its CR LF; fills in method, target, path, query, authority, version.
fault read_request_line(std::string_view line, request_head& head);

/// What a request's fields mean together: Host, framing, Connection, Expect, Upgrade.
class request_meaning {
 public:
  /// Each field, in its order.
  void add(std::string_view name, std::string_view value) {
    if (name.size() == 4 && is_name(name.data(), "host")) {
      if (hosts_++ == 0) host_ = value;
    } else if (name.size() < 32 && (lengths_that_matter >> name.size() & 1) != 0) {
      add_other(name, value);
    }
  }
  /// Behind the last one, once the request line has been read as well.
  fault tell(request_head& head) const;

 private:
  // Of "expect", "upgrade", "connection", "content-length", "transfer-encoding".
  static constexpr std::uint32_t lengths_that_matter = 1 << 6 | 1 << 7 | 1 << 10 | 1 << 14 | 1 << 17;
  void add_other(std::string_view name, std::string_view value);
  void add_connection(std::string_view value);
  fault tell_framing(request_head& head) const;

  std::string_view host_, length_, coding_, expect_;
  std::uint16_t hosts_ = 0, lengths_ = 0, codings_ = 0;  // no more than there may be fields
  bool others_ = false;                                  // one that matters, besides Host
  bool expects_ = false;
  bool close_ = false, keep_ = false, upgrade_option_ = false, upgrade_field_ = false;
};

/// Reads a whole head that looks as nearly all do, in one go: fills in `head` as the steps would. False, and
/// `head` left somehow, for any other: one that is not complete, wrong, too long, or just unusual; then the
/// steps are taken.
bool read_quickly(const char* base, std::size_t size, const limits& most, request_head& head);

/// Host [":" port] without userinfo (RFC 3986 §3.2.2); not empty. As many bytes before it may be read.
bool valid_authority(std::string_view authority, std::size_t bytes_before = 0);

/// A decimal number below 2^63, digits only.
bool read_decimal(std::string_view digits, std::uint64_t& value);

/// Where the lines of a section may lie.
struct scan_bounds {
  std::uint32_t first_line;  // bytes of the first line, without CR LF
  std::uint32_t bytes;       // of all
  std::uint16_t fields;
  fault (*long_first_line)(const char* base, std::size_t size);  // why it is refused
};

/// Reads on in base[0, size) from where `s` stands. `first` reads the first line, `field` one field line;
/// both return a fault. On `complete`, s.line is the length of the section with its final CR LF.
template <class First, class Field>
head_parser::progress scan_lines(const char* base, std::size_t size, const scan_bounds& most, head_scan& s,
                                 fault& why, First&& first, Field&& field) {
  using progress = head_parser::progress;
  std::uint32_t at = s.at;
  std::uint32_t begin = s.line;
  bool first_done = s.first_done;
  const auto end_with = [&](progress p) {
    s.at = at;
    s.line = begin;
    s.first_done = first_done;
    return p;
  };
  const auto broken = [&](std::uint16_t status, const char* reason) {
    why = {status, reason};
    return end_with(progress::broken);
  };
  for (;;) {
    const std::size_t bound = first_done ? most.bytes - 1 : most.first_line + std::size_t{1};
    const char* stop = base + std::max<std::size_t>(at, std::min(size, bound));
    const char* cr = find_control(base + at, stop);
    at = static_cast<std::uint32_t>(cr - base);
    if (cr == stop) [[unlikely]] {
      if (size < bound) return end_with(progress::more);
      if (first_done) return broken(431, "the header section is too long");
      why = most.long_first_line(base, size);
      return end_with(progress::broken);
    }
    if (*cr != '\r') [[unlikely]]
      return broken(400, *cr == '\n' ? "a line ends with LF alone" : "a control character in the head");
    if (cr + 1 == base + size) [[unlikely]]
      return end_with(progress::more);
    if (cr[1] != '\n') [[unlikely]]
      return broken(400, "a CR without LF");
    const char* line = base + begin;
    begin = at += 2;
    if (!first_done) {
      first_done = true;
      if (fault f = first(std::string_view{line, static_cast<std::size_t>(cr - line)})) [[unlikely]]
        return broken(f.status, f.reason);
    } else if (line == cr) {
      return end_with(progress::complete);
    } else if (s.fields == most.fields) [[unlikely]] {
      return broken(431, "too many header fields");
    } else {
      ++s.fields;
      if (fault f = field(line, cr)) [[unlikely]]
        return broken(f.status, f.reason);
    }
  }
}

}  // namespace catenet::http
