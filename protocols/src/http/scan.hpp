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

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace catenet::http {

/// One field line without its CR LF; with `into`, adds it to the index.
fault read_field_line(const char* base, const char* line, const char* end, fields* into);

/// The request line without its CR LF; fills in method, target, path, query, authority, version.
fault read_request_line(std::string_view line, request_head& head);

/// What the fields mean together: Host, framing, Connection, Expect, Upgrade. The request line has been read.
fault read_request_fields(request_head& head);

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
