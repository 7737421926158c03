// Close codes: why a WebSocket connection ended, and which of them may stand in a Close frame.
#pragma once

#include <cstdint>

namespace catenet::ws {

/// RFC 6455 §7.4.1 and the IANA registry. Any value of 3000–4999 is a code of a library or an application.
enum class close_code : std::uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  no_status = 1005,  ///< never on the wire: a Close frame without a body
  abnormal = 1006,   ///< never on the wire: the connection ended without a Close frame
  invalid_payload = 1007,
  policy_violation = 1008,
  message_too_big = 1009,
  extension_missing = 1010,
  internal_error = 1011,
  service_restart = 1012,
  try_again_later = 1013,
  bad_gateway = 1014,
};

/// Whether the code may stand in a Close frame (RFC 6455 §7.4.2). 1000–2999 belong to the protocol, so what
/// is not assigned there is an error.
[[nodiscard]] constexpr bool may_be_sent(std::uint16_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
[[nodiscard]] constexpr bool may_be_sent(close_code code) {
  return may_be_sent(static_cast<std::uint16_t>(code));
}

}  // namespace catenet::ws
