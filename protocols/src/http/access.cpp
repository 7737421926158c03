// The line of an access log.
#include <catenet/engine/endpoint.hpp>
#include <catenet/http/access.hpp>
#include <catenet/http/request_head.hpp>

#include <ctime>

namespace catenet::http {

namespace {

void append_escaped(std::string& line, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
      line += "\\x";
      line += digits[byte >> 4];
      line += digits[byte & 15];
    } else {
      line += c;
    }
  }
}

void append_field(std::string& line, const request& rq, std::string_view name) {
  line += " \"";
  append_escaped(line, rq.header(name).value_or("-"));
  line += '"';
}

}  // namespace

std::string combined_log_line(const access& a) {
  std::string line = a.rq.client_address();
  if (line.empty()) line = "-";
  const std::time_t now = a.unix_seconds;
  std::tm parts{};
  gmtime_r(&now, &parts);
  char time[40];
  std::strftime(time, sizeof time, " - - [%d/%b/%Y:%H:%M:%S +0000] \"", &parts);
  line += time;
  append_escaped(line, a.rq.method_name());
  line += ' ';
  append_escaped(line, a.rq.target());
  line += a.rq.minor_version() == 0 ? " HTTP/1.0\" " : " HTTP/1.1\" ";
  line += std::to_string(a.status);
  line += ' ';
  line += std::to_string(a.bytes);
  append_field(line, a.rq, "Referer");
  append_field(line, a.rq, "User-Agent");
  line += ' ';
  line += std::to_string(a.took_ms);
  return line += "ms";
}

}  // namespace catenet::http
