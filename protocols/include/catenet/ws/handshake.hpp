// The opening handshake: a request's head in, the verdict out (RFC 6455 §4.2). Pure.
#pragma once

#include <catenet/ws/extension.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace catenet::http {
struct request_head;
}

namespace catenet::ws {

struct options;

/// Bytes of a Sec-WebSocket-Accept.
inline constexpr std::size_t accept_size = 28;
using accept_value = std::array<char, accept_size>;

/// base64(SHA-1(key + the GUID of RFC 6455 §4.2.2)).
[[nodiscard]] accept_value accept_of(std::string_view key);

struct handshake {
  std::uint16_t status = 0;        ///< 101, or what to answer: 400, 403, 426
  const char* reason = "";         ///< of a refusal, a constant
  accept_value accept{};           ///< with 101
  std::string_view subprotocol{};  ///< with 101: the one chosen, a view into the policy; may be empty
  deflate_agreement deflate{};     ///< with 101
};

/// Looks at the options' subprotocols, origins and deflate. With 426 the answer names Sec-WebSocket-Version:
/// 13 and Upgrade: websocket. A request without Origin comes from no browser, and the Origin policy is no
/// matter for it (RFC 6455 §10.2). Whether the request has a body or is HTTP/1.0 is looked at, too.
/// `deflate` stands in the place of the options' where it is given: when memory is short, say.
[[nodiscard]] handshake check_handshake(const http::request_head& head, const options& policy,
                                        const deflate_options* deflate = nullptr);

}  // namespace catenet::ws
