// What a handler can say in answer.
#include <catenet/engine/stream.hpp>
#include <catenet/http/response.hpp>

#include "http/exchange.hpp"
#include "http/head_lines.hpp"
#include "http/percent.hpp"
#include "http/sessions.hpp"

#include <algorithm>
#include <cstring>

namespace catenet::http {

namespace {

// A field line, where it may go out.
bool add_line(std::string_view name, std::string_view value, auto& into) {
  if (!valid_field(name, value)) return false;
  into.append(name);
  into.append(": ");
  into.append(value);
  into.append("\r\n");
  return true;
}

// Lengths of the names below: other names need no comparison.
bool is_special(std::size_t name_bytes) {
  return name_bytes == 4 || name_bytes == 8 || (name_bytes >= 10 && name_bytes <= 17);
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool says_framing(std::string_view name) {
  return equal_ignoring_case(name, "content-length") || equal_ignoring_case(name, "transfer-encoding");
}

void begin_body(exchange& x, std::string_view media_type) {
  if (x.status == 0) x.status = 200;
  x.answered = true;
  x.default_type = media_type;
  x.text.clear();
  x.payload.clear();
}

}  // namespace

response& response::status(std::uint32_t code) {
  exchange_.refused = exchange_.refused || code < 200 || code > 999;
  exchange_.status = static_cast<std::uint16_t>(code);
  exchange_.answered = true;
  return *this;
}

std::uint32_t response::status() const { return exchange_.status; }

response& response::header(std::string_view name, std::string_view value) {
  exchange& x = exchange_;
  if (is_special(name.size())) {
    if (equal_ignoring_case(name, "connection")) {
      if (has_element(value, "close")) x.close_after = true;
      if (!has_element(value, "upgrade")) return *this;
      value = "Upgrade";  // goes with Upgrade, beside our own (RFC 9110 §7.8)
    }
    if (says_framing(name)) x.refused = true;
    if (equal_ignoring_case(name, "content-type")) return type(value);
    if (equal_ignoring_case(name, "date")) x.has_date = true;
    if (equal_ignoring_case(name, "location") && !is_ascii(value)) return header(name, encode_8bit(value));
  }
  if (!add_line(name, value, x.fields)) x.refused = true;
  return *this;
}

response& response::type(std::string_view media_type) {
  exchange& x = exchange_;
  if (!valid_value(media_type) || x.has_type) x.refused = true;
  x.has_type = true;
  if (char* at = x.fields.room(media_type.size() + head_lines_bytes_max)) {
    x.fields.written_to(put_type(at, media_type));
  } else {
    x.fields.append("Content-Type: ");
    x.fields.append(media_type);
    x.fields.append("\r\n");
  }
  return *this;
}

response& response::cookie(std::string_view name, std::string_view value, const cookie_options& options) {
  const std::string text = set_cookie_value(name, value, options);
  if (text.empty()) exchange_.refused = true;
  return header("Set-Cookie", text);
}

response& response::close() {
  exchange_.close_after = true;
  return *this;
}

void response::set_text(std::span<const text_part> parts, std::string_view media_type) {
  begin_body(exchange_, media_type);
  for (const text_part& one : parts) exchange_.text.append(one.view());
}

void response::set_text(std::string_view text, std::string_view media_type) {
  begin_body(exchange_, media_type);
  exchange_.text.append(text);
}

void response::html(std::string_view text) { set_text(text, "text/html; charset=utf-8"); }
void response::json(std::string_view text) { set_text(text, "application/json"); }

void response::body(chain&& bytes) {
  begin_body(exchange_, "application/octet-stream");
  exchange_.payload = std::move(bytes);
}

void response::constant(std::string_view bytes) {
  begin_body(exchange_, "application/octet-stream");
  if (!exchange_.payload.append_constant(bytes)) exchange_.refused = true;
}

void response::file(int fd, std::uint64_t offset, std::uint64_t bytes, bool owned) {
  begin_body(exchange_, "application/octet-stream");
  if (!exchange_.payload.append_file(fd, offset, bytes, owned)) exchange_.refused = true;
}

void response::redirect(std::string_view where, std::uint32_t code) {
  status(code).header("Location", where);
  begin_body(exchange_, {});
}

bool response::inform(std::uint32_t code, std::span<const field> lines) {
  std::string text;
  bool good = code > 101 && code < 200;
  for (const field& one : lines)
    good = good && !says_framing(one.name) && add_line(one.name, one.value, text);
  return good && exchange_.home.inform(exchange_, static_cast<std::uint16_t>(code), text);
}

response& response::length(std::uint64_t bytes) {
  exchange_.has_length = true;
  exchange_.length = bytes;
  return *this;
}

response::write_awaiter response::write(chain&& piece) {
  bool waits = false;
  const bool sent = exchange_.home.write(exchange_, std::move(piece), waits);
  return {exchange_, sent, waits};
}

response::write_awaiter response::write(std::string_view piece) {
  chain copy = chain::copy_of(piece);
  if (copy.bytes() != piece.size()) {
    // No memory. What went out already would look whole if it ended in order.
    if (exchange_.piecewise && exchange_.wire != nullptr) exchange_.wire->abort();
    return {exchange_, false, false};
  }
  return write(std::move(copy));
}

void response::write_awaiter::await_suspend(std::coroutine_handle<> who) { of.write_waiter = waiter = who; }
response::write_awaiter::~write_awaiter() {
  if (waiter && of.write_waiter == waiter) of.write_waiter = {};
}
bool response::write_awaiter::await_resume() const { return sent && of.wire != nullptr; }

response& response::trailer(std::string_view name, std::string_view value) {
  exchange& x = exchange_;
  if (!x.trailers) x.trailers = std::make_unique<std::string>();
  if (says_framing(name) || !add_line(name, value, *x.trailers)) x.refused = true;
  return *this;
}

void response::upgrade(std::string_view name, callback<void(stream&, chain&&)> take) {
  header("Upgrade", name);
  exchange_.status = 101;
  exchange_.answered = true;
  exchange_.take_over = std::move(take);
}

bool response::answered() const { return exchange_.answered || exchange_.piecewise; }
std::uint16_t response::code() const { return exchange_.status == 0 ? 200 : exchange_.status; }

}  // namespace catenet::http
