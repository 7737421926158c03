// The encoder: writes an answer's head, and the framing of chunks, as bytes. Pure: nothing is sent here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace catenet::http {

/// How the end of an answer's body is told (RFC 9112 §6).
enum class framing : std::uint8_t {
  none,    ///< no body and no Content-Length: 1xx, 204, 304
  length,  ///< Content-Length
  chunks,  ///< Transfer-Encoding: chunked
  close,   ///< the connection's end (HTTP/1.0)
};

/// What the field Connection says.
enum class persistence : std::uint8_t { implied, keep_alive, close, upgrade };

struct response_head {
  std::uint16_t status = 200;
  http::framing framing = framing::length;
  http::persistence persistence = persistence::implied;
  std::uint64_t length = 0;  ///< with framing::length
  std::string_view date;     ///< 29 bytes (http_date), or empty: then there is no Date
  std::string_view server;   ///< of the field Server, or empty
  std::string_view type;     ///< of the content, or empty
  std::string_view fields;   ///< whole lines, each checked and ended by CR LF
  std::string_view opening;  ///< status line, Date and Server as write_opening() wrote them once, or empty
};

/// Most bytes that write_head() writes.
std::size_t head_size_max(const response_head& head);
/// Writes status line, fields and the empty line; returns the end.
char* write_head(char* out, const response_head& head);
/// Writes the status line, Date and Server only, which are the same in many answers; returns the end.
char* write_opening(char* out, const response_head& head);

/// A name that is a token and a value without control characters (RFC 9110 §5.5): nothing that could end a
/// line.
bool valid_field(std::string_view name, std::string_view value);
bool valid_value(std::string_view value);

/// Most bytes of a chunk's size line.
inline constexpr std::size_t chunk_line_max = 18;
/// "1f4\r\n"
char* write_chunk_line(char* out, std::uint64_t bytes);

/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 §5.6.7): 29 bytes.
inline constexpr std::size_t http_date_bytes = 29;
void write_http_date(char* out, std::int64_t unix_seconds);

/// Decimal digits; returns the end. At most 20.
char* write_decimal(char* out, std::uint64_t value);

}  // namespace catenet::http
