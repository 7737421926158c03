// Percent-encoding (RFC 3986 §2.1): paths are decoded once, and bytes above 127 encoded.
#pragma once

#include <string>
#include <string_view>

namespace catenet::http {

/// Stands for an encoded '/', which must not be taken for a border of segments. It cannot be in a decoded
/// path otherwise: control characters are refused.
inline constexpr char encoded_slash = '\x01';

/// Decodes into `into`, whose memory does not move while it is filled. False when an escape is malformed or
/// stands for a control character (NUL, CR, LF, …).
bool decode_path(std::string_view path, std::string& into);

/// Bytes above 127, which no URI has (RFC 3986 §2), become escapes; all others stay.
std::string encode_8bit(std::string_view text);

}  // namespace catenet::http
