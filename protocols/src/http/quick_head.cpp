// Request heads as nearly all are, read in one go. What is unusual in any way is left to the steps of
// scan.hpp, which say what is wrong with it, if anything: so the rules are theirs, and here are only
// shortcuts.
#include "http/chars.hpp"
#include "http/scan.hpp"

namespace catenet::http {

#ifdef __SSE2__

namespace {

// "\r\n" at a place of which as many bytes may be read.
bool is_line_end(const char* at) { return load<std::uint16_t>(at) == load<std::uint16_t>("\r\n"); }

// 16 bytes at a time; the last ones, where less are left, as the end of 16.
class window {
 public:
  window(const char* at, const char* end)
      : known_(end - at >= 16 ? 0 : static_cast<unsigned>(16 - (end - at))) {
    bytes = load16(at - known_);
  }
  // Bit i: byte i from `at` on.
  [[nodiscard]] unsigned mask(__m128i found) const { return mask16(found) >> known_; }
  __m128i bytes;

 private:
  unsigned known_;
};

__m128i controls(__m128i v) {
  const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, fill16(0x1f)), v);
  return _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, fill16('\t')), low),
                      _mm_cmpeq_epi8(v, fill16(0x7f)));
}

// Letters, digits and '-'.
__m128i name_bytes(__m128i v) {
  const __m128i lower = _mm_or_si128(v, fill16(0x20));
  const __m128i letter =
      _mm_and_si128(_mm_cmpgt_epi8(lower, fill16('a' - 1)), _mm_cmplt_epi8(lower, fill16('z' + 1)));
  const __m128i digit = _mm_and_si128(_mm_cmpgt_epi8(v, fill16('0' - 1)), _mm_cmplt_epi8(v, fill16('9' + 1)));
  return _mm_or_si128(_mm_or_si128(letter, digit), _mm_cmpeq_epi8(v, fill16('-')));
}

// Where a name ends, from `at` on.
const char* name_end(const char* at, const char* end) {
  for (; at < end; at += 16) {
    const window w{at, end};
    const unsigned others = ~w.mask(name_bytes(w.bytes)) & 0xffffu;
    if (others != 0) return first16(at, others);
  }
  return end;
}

// The CR of the line end that is the first control character from `at` on, or null.
const char* line_end(const char* at, const char* end) {
  for (; at < end; at += 16) {
    const window w{at, end};
    const unsigned found = w.mask(controls(w.bytes));
    if (found == 0) continue;
    at = first16(at, found);
    return end - at >= 2 && is_line_end(at) ? at : nullptr;
  }
  return nullptr;
}

// "GET /path?query HTTP/1.1"; the CR behind it, or null.
const char* read_get(const char* at, const char* end, request_head& head) {
  constexpr std::string_view version = " HTTP/1.1\r\n";
  if (load<std::uint32_t>(at) != load<std::uint32_t>("GET ") || at[4] != '/') return nullptr;
  const char* const target = at + 4;
  const char* const behind = skip_target(target, end);
  if (end - behind < static_cast<std::ptrdiff_t>(version.size()) ||
      load<std::uint64_t>(behind) != load<std::uint64_t>(version.data()) ||
      load<std::uint32_t>(behind + 7) != load<std::uint32_t>(version.data() + 7))
    return nullptr;
  head.target = {target, static_cast<std::size_t>(behind - target)};
  const char* const mark = find_byte(target, behind, '?');
  head.method = method::get;
  head.method_name = {at, 3};
  head.path = {target, static_cast<std::size_t>(mark - target)};
  head.query = {};
  if (mark != behind) head.query = {mark + 1, static_cast<std::size_t>(behind - mark - 1)};
  head.authority = {};
  head.minor = 1;
  return behind + version.size() - 2;
}

const char* read_first_line(const char* at, const char* end, request_head& head) {
  if (const char* const cr = read_get(at, end, head)) [[likely]]
    return cr;
  const char* const cr = line_end(at, end);
  return cr != nullptr && !read_request_line({at, static_cast<std::size_t>(cr - at)}, head) ? cr : nullptr;
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

}  // namespace

bool read_quickly(const char* base, std::size_t size, const limits& most, request_head& head) {
  const char* const end = base + std::min<std::size_t>(size, most.head_bytes);
  if (end - base < 16) return false;  // the least that may be loaded
  const char* cr = read_first_line(base, end, head);
  if (cr == nullptr || static_cast<std::size_t>(cr - base) > most.request_line) return false;
  request_meaning meaning;
  for (;;) {
    const char* const name = cr + 2;
    if (end - name < 2) return false;
    if (is_line_end(name)) break;
    const char* const colon = name_end(name, end);
    if (colon == name || end - colon < 3 || *colon != ':') return false;
    const char* const value = colon + (colon[1] == ' ' ? 2 : 1);
    cr = line_end(value, end);
    if (cr == nullptr || is_blank(*value) || is_blank(cr[-1]) || head.fields.size() == most.fields)
      return false;
    const std::string_view name_text{name, static_cast<std::size_t>(colon - name)};
    const std::string_view value_text{value, static_cast<std::size_t>(cr - value)};
    head.fields.add(name_text, value_text);
    meaning.add(name_text, value_text);
  }
  head.bytes = static_cast<std::uint32_t>(cr + 4 - base);
  return !meaning.tell(head);
}

#else

bool read_quickly(const char*, std::size_t, const limits&, request_head&) { return false; }

#endif

}  // namespace catenet::http
