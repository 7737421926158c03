// What a web client asks, and how it takes answers apart.
#include "web_peer.hpp"

#include "pattern.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace catenet::test {

namespace {
constexpr std::size_t head_bytes_max = 4096;
constexpr unsigned opcode_binary = 2;
constexpr unsigned opcode_close = 8;
}  // namespace

web_peer::web_peer(ledger& book, const peer_habits& habits, std::uint32_t id, std::uint64_t seed)
    : test_peer(book, habits, id, seed) {
  requests_left_ = static_cast<unsigned>(random_.between(1, habits.requests_max));
  pipelined_ = random_.chance(300);
  upgrading_ = random_.chance(300);
  messages_left_ = upgrading_ ? static_cast<unsigned>(random_.below(habits.requests_max)) : 0;
  aborts_ = random_.chance(habits.aborts);
  vanished_ = !aborts_ && random_.chance(habits.vanishes);
}

void web_peer::connected() {
  if (aborts_ || vanished_) after(random_.below(50000));
  ask();
}

// ---- asking

void web_peer::ask() {
  if (websocket_) {
    while (messages_left_ != 0 && (pipelined_ || expected_.empty())) write_message();
    if (messages_left_ == 0 && !std::exchange(said_end_, true))
      put(frame(opcode_close, true, std::string("\x03\xe8", 2)));
    return;
  }
  while (requests_left_ != 0 && (pipelined_ || expected_.empty())) write_request();
  if (requests_left_ != 0 || !expected_.empty() || said_end_) return;
  if (upgrading_) return upgrade();
  said_end_ = true;
  finish();
}

void web_peer::write_request() {
  --requests_left_;
  const std::uint64_t lot = random_.below(100);
  const std::uint64_t at = random_.below(pattern::period);
  std::uint64_t bytes = size();
  const auto get = [](std::string_view path, std::uint64_t first, std::uint64_t second) {
    return "GET " + std::string(path) + std::to_string(first) + "/" + std::to_string(second) +
           " HTTP/1.1\r\nHost: a\r\n\r\n";
  };
  if (lot < 25) {
    put(get("/make/", at, bytes));
    expected_.push_back({200, at, bytes, {}, "/make"});
  } else if (lot < 45) {
    put(get("/stream/", at, bytes));
    expected_.push_back({200, at, bytes, {}, "/stream"});
  } else if (lot < 55) {
    bytes = std::min(bytes, book_.file_bytes / 2);
    put(get("/file/", at, bytes));
    expected_.push_back({200, at, bytes, {}, "/file"});
  } else if (lot < 85) {
    put(body_request("/echo", at, bytes));
    expected_.push_back({200, at, bytes, {}, "/echo"});
  } else if (lot < 95) {
    put(body_request("/sink", at, bytes));
    expected_.push_back({200, 0, 0, std::to_string(bytes), "/sink"});
  } else {
    put("GET /hold/" + std::to_string(random_.between(1, 100)) + " HTTP/1.1\r\nHost: a\r\n\r\n");
    expected_.push_back({204, 0, 0, {}, "/hold"});
  }
}

// With a length, or in chunks.
std::string web_peer::body_request(std::string_view path, std::uint64_t at, std::uint64_t bytes) {
  std::string text = "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n";
  if (random_.chance(500)) {
    text += "Content-Length: " + std::to_string(bytes) + "\r\n\r\n";
    pattern::append(text, at, bytes);
    return text;
  }
  text += "Transfer-Encoding: chunked\r\n\r\n";
  while (bytes != 0) {
    const std::uint64_t part = random_.between(1, bytes);
    char digits[20];
    text.append(digits, std::to_chars(digits, digits + sizeof digits, part, 16).ptr);
    text += "\r\n";
    pattern::append(text, at, part);
    text += "\r\n";
    at += part;
    bytes -= part;
  }
  return text + "0\r\n\r\n";
}

void web_peer::upgrade() {
  upgrading_ = false;
  put("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
      "13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  expected_.push_back({101, 0, 0, {}, "/ws"});
}

// In one frame or in several.
void web_peer::write_message() {
  --messages_left_;
  const std::uint64_t at = random_.below(pattern::period);
  const std::uint64_t bytes = size();
  expected_.push_back({200, at, bytes, {}, "a message"});
  std::string frames;
  unsigned opcode = opcode_binary;
  for (std::uint64_t done = 0; done != bytes;) {
    const std::uint64_t part = random_.chance(700) ? bytes - done : random_.between(1, bytes - done);
    std::string payload;
    pattern::append(payload, at + done, part);
    done += part;
    frames += frame(std::exchange(opcode, 0u), done == bytes, std::move(payload));
  }
  put(frames);
}

std::string web_peer::frame(unsigned opcode, bool final, std::string payload) {
  std::string bytes(1, static_cast<char>(opcode | (final ? 0x80u : 0u)));
  const std::uint64_t n = payload.size();
  const unsigned extra = n < 126 ? 0 : n < 65536 ? 2 : 8;
  bytes += static_cast<char>(0x80 | (extra == 0 ? n : extra == 2 ? 126 : 127));
  for (unsigned i = extra; i-- != 0;) bytes += static_cast<char>(n >> (8 * i));
  const auto mask = static_cast<std::uint32_t>(random_.next());
  for (unsigned i = 0; i != 4; ++i) bytes += static_cast<char>(mask >> (8 * i));
  for (std::uint64_t i = 0; i != n; ++i)
    payload[i] = static_cast<char>(payload[i] ^ static_cast<char>(mask >> (8 * (i % 4))));
  return bytes + payload;
}

// ---- taking apart

void web_peer::received(std::span<const std::byte> bytes) {
  input_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!input_.empty() && parse()) {
  }
  read_slowly();
  if (!over_) ask();
}

// One element; false when more has to come first.
bool web_peer::parse() {
  if (!book_.world.violation().empty()) return false;
  switch (state_) {
    case state::head:
      return parse_head();
    case state::chunk_head:
    case state::trailer:
      return parse_chunk_head();
    case state::frame:
      return parse_frame();
    case state::body:
    case state::chunk_body:
      return parse_body();
    case state::closed:  // what is left of the Close frame
      input_.clear();
      return false;
  }
  return false;
}

bool web_peer::parse_head() {
  const std::size_t end = input_.find("\r\n\r\n");
  if (end == input_.npos) {
    if (input_.size() > head_bytes_max) wrong("got a head without an end");
    return false;
  }
  const std::string head = input_.substr(0, end + 2);
  input_.erase(0, end + 4);
  unsigned status = 0;
  if (!head.starts_with("HTTP/1.1 ")) wrong("got no status line");
  std::from_chars(head.data() + 9, head.data() + head.size(), status);
  if (expected_.empty()) {
    wrong("got an answer that nobody asked for, " + std::to_string(status));
    return false;
  }
  if (status != expected_.front().status) {
    // 5xx for want of memory and 408, 503 at a stop are answers as well; then the rest is not looked at.
    if (!excused())
      wrong("got status " + std::to_string(status) + " for " + std::to_string(expected_.front().status));
    over_ = true;
    abort();
    return false;
  }
  if (status == 101) {
    websocket_ = true;
    state_ = state::frame;
    expected_.pop_front();
  } else if (head.find("\r\nTransfer-Encoding: chunked\r\n") != head.npos) {
    state_ = state::chunk_head;
  } else if (const std::size_t length = head.find("\r\nContent-Length: "); length != head.npos) {
    std::from_chars(head.data() + length + 18, head.data() + head.size(), left_);
    state_ = state::body;
    if (left_ == 0) answered();
  } else if (status == 204) {
    answered();
  } else {
    wrong("got a head that does not say how long the body is");
  }
  return true;
}

bool web_peer::parse_chunk_head() {
  const std::size_t end = input_.find("\r\n");
  if (end == input_.npos) return false;
  if (end == 0) {  // behind a chunk, or the end of the trailers
    input_.erase(0, 2);
    if (state_ == state::trailer) answered();
    return true;
  }
  if (std::from_chars(input_.data(), input_.data() + end, left_, 16).ptr != input_.data() + end)
    wrong("got a malformed chunk size");
  input_.erase(0, end + 2);
  state_ = left_ == 0 ? state::trailer : state::chunk_body;
  return true;
}

bool web_peer::parse_body() {
  const std::size_t part = std::min<std::uint64_t>(left_, input_.size());
  check(std::string_view(input_).substr(0, part));
  input_.erase(0, part);
  left_ -= part;
  if (left_ != 0) return false;
  if (state_ == state::body)
    answered();
  else
    state_ = websocket_ ? state::frame : state::chunk_head;
  if (websocket_ && last_frame_) answered();
  return true;
}

bool web_peer::parse_frame() {
  if (input_.size() < 2) return false;
  const auto first = static_cast<unsigned char>(input_[0]);
  const auto second = static_cast<unsigned char>(input_[1]);
  const std::size_t extra = second < 126 ? 0 : second == 126 ? 2 : 8;
  if (input_.size() < 2 + extra) return false;
  left_ = extra == 0 ? second : 0;
  for (std::size_t i = 0; i != extra; ++i) left_ = left_ << 8 | static_cast<unsigned char>(input_[2 + i]);
  if ((first & 0x0f) == opcode_close) {
    if (!excused() && (!said_end_ || !expected_.empty())) wrong("got Close too early: " + lacks());
    if (!std::exchange(said_end_, true)) put(frame(opcode_close, true, std::string("\x03\xe8", 2)));
    messages_left_ = 0;
    expected_.clear();
    finish();
    state_ = state::closed;
    return true;
  }
  if ((second & 0x80) != 0) wrong("got a masked frame");
  if ((first & 0x70) != 0) wrong("got a frame with reserved bits");
  if ((first & 0x0f) != (done_ == 0 ? opcode_binary : 0))
    wrong("got a frame of opcode " + std::to_string(first & 0x0f));
  last_frame_ = (first & 0x80) != 0;
  input_.erase(0, 2 + extra);
  state_ = state::chunk_body;
  return true;
}

void web_peer::check(std::string_view part) {
  if (part.empty()) return;
  if (expected_.empty()) return wrong("got bytes that nobody asked for");
  const expectation& e = expected_.front();
  const bool right = e.text.empty() ? done_ + part.size() <= e.bytes && pattern::matches(e.at + done_, part)
                                    : std::string_view(e.text).substr(done_, part.size()) == part;
  if (!right)
    wrong("got a wrong byte in a body, within " + std::to_string(part.size()) + " from " +
          std::to_string(done_) + " on of " + std::to_string(e.bytes) + ", which was asked as " + e.path);
  done_ += part.size();
}

void web_peer::answered() {
  if (expected_.empty()) return;
  const expectation& e = expected_.front();
  if (done_ != (e.text.empty() ? e.bytes : e.text.size()))
    wrong("got a body of " + std::to_string(done_) + " bytes instead of " + std::to_string(e.bytes));
  expected_.pop_front();
  done_ = 0;
  last_frame_ = false;
  state_ = websocket_ ? state::frame : state::head;
}

// ---- ends

void web_peer::expired() {
  if (over_) return;
  if (vanished_) return stall(0);
  over_ = true;
  abort();
}

void web_peer::ended() {
  if (std::exchange(over_, true)) return;
  finish();
  if (excused() || aborts_ || vanished_) return;
  if (!said_end_ || !expected_.empty()) wrong("got FIN, and " + lacks());
}

void web_peer::reset() {
  if (std::exchange(over_, true) || excused() || vanished_) return;
  wrong("was reset, and " + lacks());
}

std::string web_peer::lacks() const {
  return "connection " + std::to_string(id_) + " lacks " + std::to_string(expected_.size()) + " answers (" +
         std::to_string(done_) + " bytes of the first are there), " + std::to_string(requests_left_) +
         " requests and " + std::to_string(messages_left_) + " messages were not made" +
         (websocket_ ? ", on a WebSocket" : "");
}

}  // namespace catenet::test
