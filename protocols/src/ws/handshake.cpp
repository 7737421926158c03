// The handshake's checks, and the answer to its key.
#include <catenet/http/fields.hpp>
#include <catenet/http/request_head.hpp>
#include <catenet/ws/handshake.hpp>
#include <catenet/ws/options.hpp>

#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace catenet::ws {

namespace {

constexpr std::string_view guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t key_size = 24;  // base64 of 16 bytes
constexpr std::size_t subprotocols_max = 64;

handshake refuse(std::uint16_t status, const char* reason) { return {.status = status, .reason = reason}; }

bool is_base64(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

// Whether it decodes to 16 bytes.
bool is_key(std::string_view key) {
  return key.size() == key_size && key.ends_with("==") &&
         std::ranges::all_of(key.substr(0, key_size - 2), is_base64);
}

bool is_token(std::string_view s) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return !s.empty() && std::ranges::all_of(s, [&](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
  });
}

// The subprotocols offered, over all fields of that name, in order; empty elements are passed over (RFC 9110
// §5.6.1.2). False when one is malformed or stands twice, and when there is none.
bool read_subprotocols(const http::fields& fields, std::vector<std::string_view>& offered) {
  bool named = false;
  for (const http::field f : fields) {
    if (!http::equal_ignoring_case(f.name, "Sec-WebSocket-Protocol")) continue;
    named = true;
    const bool good = http::for_each_element(f.value, [&](std::string_view one) {
      if (one.empty()) return true;
      if (!is_token(one) || offered.size() == subprotocols_max ||
          std::ranges::find(offered, one) != offered.end())
        return false;
      offered.push_back(one);
      return true;
    });
    if (!good) return false;
  }
  return !named || !offered.empty();
}

std::vector<std::string_view> values_of(const http::fields& fields, std::string_view name) {
  std::vector<std::string_view> values;
  for (const http::field f : fields)
    if (http::equal_ignoring_case(f.name, name)) values.push_back(f.value);
  return values;
}

bool is_allowed(const http::fields& fields, std::span<const std::string> origins) {
  if (origins.empty() || fields.count("Origin") == 0) return true;
  if (fields.count("Origin") > 1) return false;
  return std::ranges::any_of(origins, [&](const std::string& one) {
    return http::equal_ignoring_case(one, *fields.find("Origin"));
  });
}

}  // namespace

accept_value accept_of(std::string_view key) {
  const std::string text = std::string(key).append(guid);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash;
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), hash.data(), &size, EVP_sha1(), nullptr) != 1)
    std::abort();  // OpenSSL without SHA-1: nobody could ever connect
  std::array<unsigned char, accept_size + 1> encoded;
  EVP_EncodeBlock(encoded.data(), hash.data(), static_cast<int>(size));
  accept_value accept;
  std::copy_n(encoded.begin(), accept.size(), accept.begin());
  return accept;
}

handshake check_handshake(const http::request_head& head, const options& policy,
                          const deflate_options* deflate) {
  const http::fields& fields = head.fields;
  if (!head.upgrade || !fields.lists("Upgrade", "websocket"))
    return refuse(426, "this is a WebSocket endpoint");
  if (head.method != http::method::get) return refuse(400, "a WebSocket handshake is a GET");
  if (head.has_body()) return refuse(400, "a WebSocket handshake has no body");
  if (fields.count("Sec-WebSocket-Version") != 1 || fields.find("Sec-WebSocket-Version") != "13")
    return refuse(426, "WebSocket version 13 is spoken");
  const std::string_view key = fields.find("Sec-WebSocket-Key").value_or("");
  if (fields.count("Sec-WebSocket-Key") != 1 || !is_key(key))
    return refuse(400, "Sec-WebSocket-Key is not base64 of 16 bytes");
  std::vector<std::string_view> offered;
  if (!read_subprotocols(fields, offered)) return refuse(400, "Sec-WebSocket-Protocol is malformed");
  if (!is_allowed(fields, policy.origins)) return refuse(403, "this Origin is not let in");

  handshake good{.status = 101};
  if (!negotiate(values_of(fields, "Sec-WebSocket-Extensions"),
                 deflate == nullptr ? policy.deflate : *deflate, good.deflate))
    return refuse(400, "Sec-WebSocket-Extensions is malformed");
  good.accept = accept_of(key);
  for (const std::string_view one : offered) {
    const auto spoken = std::ranges::find(policy.subprotocols, one);
    if (spoken == policy.subprotocols.end()) continue;
    good.subprotocol = *spoken;
    break;
  }
  return good;
}

}  // namespace catenet::ws
