// The request line and what stands in it: method, target, version (RFC 9112 §3), and authorities (RFC 3986
// §3.2).
#include <catenet/http/request_head.hpp>

#include "http/chars.hpp"
#include "http/scan.hpp"

#include <arpa/inet.h>

namespace catenet::http {

namespace {

fault read_version(std::string_view text, request_head& head) {
  if (text.size() == 8 && load<std::uint64_t>(text.data()) == load<std::uint64_t>("HTTP/1.1")) [[likely]] {
    head.minor = 1;
    return {};
  }
  if (text.size() != 8 || text.substr(0, 5) != "HTTP/" || text[6] != '.')
    return {400, "no valid HTTP version"};
  const char major = text[5];
  const char minor = text[7];
  if (major < '1' || major > '9' || minor < '0' || minor > '9') return {400, "no valid HTTP version"};
  if (major != '1') return {505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  head.minor = minor == '0' ? 0 : 1;
  return {};
}

void cut_query(std::string_view from, request_head& head) {
  const char* const end = from.data() + from.size();
  const char* const mark = find_byte(from.data(), end, '?');
  head.path = {from.data(), static_cast<std::size_t>(mark - from.data())};
  head.query =
      mark == end ? std::string_view{} : std::string_view{mark + 1, static_cast<std::size_t>(end - mark - 1)};
}

// absolute-form, RFC 9112 §3.2.2: scheme "://" authority path-abempty [ "?" query ]
fault read_absolute(request_head& head) {
  std::string_view rest = head.target;
  const std::size_t scheme = rest.find("://");
  if (scheme == std::string_view::npos) return {400, "the request target has no valid form"};
  const bool secured = equal_ignoring_case(rest.substr(0, scheme), "https");
  if (!secured && !equal_ignoring_case(rest.substr(0, scheme), "http"))
    return {400, "the request target has no valid form"};
  rest.remove_prefix(scheme + 3);
  const std::size_t end = rest.find_first_of("/?");
  head.authority = rest.substr(0, end);
  if (!valid_authority(head.authority, scheme + 3))
    return {400, "the request target's authority is not valid"};
  if (secured)
    return {421, "there is no TLS here, so https is asked for in the wrong place"};  // RFC 9110 §7.4
  cut_query(end == std::string_view::npos ? std::string_view{} : rest.substr(end), head);
  if (head.path.empty()) head.path = head.method == method::options && head.query.empty() ? "*" : "/";
  return {};
}

fault read_target(request_head& head) {
  head.authority = {};
  if (head.target.front() == '/') [[likely]] {
    cut_query(head.target, head);
    return {};
  }
  if (head.target == "*") {
    if (head.method != method::options) return {400, "only OPTIONS may ask for *"};
    head.path = head.target;
    head.query = {};
    return {};
  }
  return read_absolute(head);
}

bool valid_port(std::string_view digits) {
  unsigned port = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return false;
    port = port * 10 + static_cast<unsigned>(c - '0');
    if (port > 65535) return false;
  }
  return true;
}

bool valid_ipv6(std::string_view address) {
  char text[INET6_ADDRSTRLEN];
  if (address.size() >= sizeof text) return false;
  text[address.copy(text, sizeof text - 1)] = '\0';
  in6_addr unused{};
  return ::inet_pton(AF_INET6, text, &unused) == 1;
}

// Behind the characters of a name: percent-encoded bytes and more of them.
const char* skip_escapes(const char* at, const char* end) {
  while (end - at >= 3 && *at == '%' && hex_value(static_cast<unsigned char>(at[1])) >= 0 &&
         hex_value(static_cast<unsigned char>(at[2])) >= 0) {
    at += 3;
    while (at != end && is(*at, char_host)) ++at;
  }
  return at;
}

#ifdef __SSE2__
// Names and IPv4 addresses of at most 16 bytes with maybe a port, looked at in one step. False: not known.
// The 16 bytes up to the end are read, so as many must lie before it.
bool quick_authority(const char* end, std::size_t bytes) {
  const __m128i v = load16(end - 16);
  const __m128i lower = _mm_or_si128(v, fill16(0x20));
  const __m128i letter =
      _mm_and_si128(_mm_cmpgt_epi8(lower, fill16('a' - 1)), _mm_cmplt_epi8(lower, fill16('z' + 1)));
  const __m128i digit = _mm_and_si128(_mm_cmpgt_epi8(v, fill16('0' - 1)), _mm_cmplt_epi8(v, fill16('9' + 1)));
  const __m128i mark = _mm_or_si128(_mm_cmpeq_epi8(v, fill16('-')), _mm_cmpeq_epi8(v, fill16('.')));
  const unsigned window = 0xffffu << (16 - bytes) & 0xffffu;
  const unsigned digits = mask16(digit);
  const unsigned names = mask16(_mm_or_si128(_mm_or_si128(letter, mark), digit));
  const unsigned colon = mask16(_mm_cmpeq_epi8(v, fill16(':'))) & window;
  if (colon == 0) return (names & window) == window;
  const unsigned before = (colon - 1) & window;  // the name, below the first colon
  const unsigned behind = window & ~(before | (colon & (0u - colon)));
  const bool in_range =
      (behind & 0x0fff) == 0 || ((behind & 0x07ff) == 0 && end[-5] < '6');  // at most 4 digits, or 59999
  return before != 0 && (names & before) == before && (digits & behind) == behind && in_range;
}
#endif

}  // namespace

fault read_request_line(std::string_view line, request_head& head) {
  const char* at = line.data();
  const char* const end = at + line.size();
  if (line.size() > 4 && load<std::uint32_t>(at) == load<std::uint32_t>("GET ")) [[likely]] {
    head.method = method::get;
    head.method_name = line.substr(0, 3);
    at += 4;
  } else {
    const char* behind = skip_token(at, end);
    if (behind == at || behind == end || *behind != ' ') return {400, "the request line has no valid method"};
    head.method_name = {at, static_cast<std::size_t>(behind - at)};
    head.method = method_of(head.method_name);
    at = behind + 1;
  }
  const char* behind = skip_target(at, end);
  if (behind == at) return {400, "the request line has no target where one should be"};
  if (behind == end) return {400, "the request line has no HTTP version"};
  if (*behind != ' ') return {400, "the request target has a character that may not stand there"};
  head.target = {at, static_cast<std::size_t>(behind - at)};
  if (fault f = read_version({behind + 1, static_cast<std::size_t>(end - behind - 1)}, head)) return f;
  if (head.method == method::connect) return {501, "CONNECT is not spoken here"};
  if (head.method_name.size() > method_bytes_max) return {501, "the method is not known"};
  return read_target(head);
}

bool valid_authority(std::string_view authority, [[maybe_unused]] std::size_t bytes_before) {
  if (authority.empty()) return false;
#ifdef __SSE2__
  if (authority.size() <= 16 && authority.size() + bytes_before >= 16 &&
      quick_authority(authority.data() + authority.size(), authority.size()))
    return true;
#endif
  if (authority.front() == '[') {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos || !valid_ipv6(authority.substr(1, close - 1))) return false;
    const std::string_view behind = authority.substr(close + 1);
    return behind.empty() || (behind.front() == ':' && valid_port(behind.substr(1)));
  }
  const char* at = authority.data();
  const char* const end = at + authority.size();
  while (at != end && is(*at, char_host)) ++at;
  if (at != end && *at == '%') [[unlikely]]
    at = skip_escapes(at, end);
  if (at == authority.data()) return false;
  return at == end || (*at == ':' && valid_port({at + 1, static_cast<std::size_t>(end - at - 1)}));
}

}  // namespace catenet::http
