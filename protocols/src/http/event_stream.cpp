// Writing server-sent events.
#include <catenet/http/event_stream.hpp>

namespace catenet::http {

namespace {

bool is_one_line(std::string_view text) {
  return text.find_first_of(std::string_view{"\r\n\0", 3}) == text.npos;
}

}  // namespace

event_stream::event_stream(response& rs) : rs_(rs) {
  rs_.type("text/event-stream").header("Cache-Control", "no-store").header("X-Accel-Buffering", "no");
}

std::string event_stream::text_of(std::string_view data, std::string_view name, std::string_view id) {
  std::string text;
  if (!name.empty() && is_one_line(name)) ((text += "event: ") += name) += '\n';
  if (!id.empty() && is_one_line(id)) ((text += "id: ") += id) += '\n';
  for (;;) {
    const std::size_t end = data.find_first_of("\r\n");
    ((text += "data: ") += data.substr(0, end)) += '\n';
    if (end == std::string_view::npos) break;
    data.remove_prefix(end + (data.substr(end, 2) == "\r\n" ? 2 : 1));
  }
  return text += '\n';
}

response::write_awaiter event_stream::send(std::string_view data, std::string_view name,
                                           std::string_view id) {
  return rs_.write(text_of(data, name, id));
}

response::write_awaiter event_stream::retry_after(std::uint32_t ms) {
  return rs_.write("retry: " + std::to_string(ms) + "\n\n");
}

response::write_awaiter event_stream::keep_alive() { return rs_.write(": \n\n"); }

}  // namespace catenet::http
