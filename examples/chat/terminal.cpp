// See terminal.hpp. One ws::client and a watch on standard input, on one core.
#include "chat/terminal.hpp"

#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/watch.hpp>
#include <catenet/ws/client.hpp>
#include <catenet/ws/utf8.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <memory>
#include <string_view>
#include <utility>

namespace catenet::examples {

namespace {

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= ' ') out += c;
  }
  return out + "\"";
}

// What came from elsewhere, for a line on a terminal: control characters (C1 too, and what is no UTF-8) are
// escaped, as they could be commands to it.
std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at != text.size();) {
    std::size_t n = 1;
    while (at + n != text.size() && (static_cast<unsigned char>(text[at + n]) & 0xc0) == 0x80) ++n;
    const std::string_view one = text.substr(at, n);
    const auto first = static_cast<unsigned char>(one[0]);
    const bool c1 = n == 2 && first == 0xc2 && static_cast<unsigned char>(one[1]) < 0xa0;
    if ((first >= ' ' || first == '\t') && first != 0x7f && !c1 && ws::is_utf8(one)) {
      out += one;
    } else {
      for (const char c : one) {
        constexpr std::string_view digits = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(c);
        out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
      }
    }
    at += n;
  }
  return out;
}

class terminal final : watch {
 public:
  explicit terminal(const terminal_options& o) : options_(o) {
    net_.on_start([this] { start(); });
  }
  int run() {
    const error failed = net_.run();
    if (failed) std::fprintf(stderr, "chat: %s\n", failed.text().c_str());
    return failed ? 1 : status_;
  }

 private:
  static engine_options one_core() {
    engine_options e;
    e.cores = 1;
    return e;
  }

  ws::client_options settings() {
    ws::client_options o;
    o.url = options_.url;
    if (!options_.subprotocol.empty()) o.connection.subprotocols = {options_.subprotocol};
    o.connection.deflate.enabled = options_.deflate;
    o.connection.deflate.server_context_takeover = o.connection.deflate.client_context_takeover = true;
    o.connection.max_message = 16_MiB;
    o.connection.max_queued = 64_MiB;
    o.connection.open = [this](ws::connection&) {
      failing_ = false;
      say_what_waits();
    };
    o.connection.writable = [this](ws::connection&) { say_what_waits(); };
    o.connection.message = [](ws::connection&, ws::message m) {
      std::printf("%s\n", printable(m.to_string()).c_str());
      std::fflush(stdout);
    };
    o.connection.close = [this](ws::connection&, ws::close_code code, std::string_view reason) {
      ended(static_cast<unsigned>(code), reason);
    };
    if (options_.reconnect) o.reconnect_first_ms = 200;
    o.failed = [this](std::string_view why) { attempt_failed(why); };
    return o;
  }

  void start() {
    ::fcntl(STDIN_FILENO, F_SETFL, ::fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    if (const error problem = net_.at(0).watches().add(STDIN_FILENO, *this)) {
      complain("standard input", problem.text() + "; use a pipe or a terminal");
      return stop(1);
    }
    client_ = std::make_unique<ws::client>(net_.at(0), settings());
    if (!client_->start()) stop(1);
  }

  static void complain(std::string_view about, std::string_view why) {
    std::fprintf(stderr, "chat: %s: %s\n", printable(about).c_str(), printable(why).c_str());
  }

  // Once there is nothing more to say than what waits, one attempt that fails is the last.
  void attempt_failed(std::string_view why) {
    complain(options_.url, why);
    failing_ = true;
    if (!options_.reconnect || input_ended_) stop(1);
  }

  void ready(bool, bool, bool) override {
    std::array<char, 65536> buffer;
    while (true) {
      const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) {
        unwatch();
        input_ended_ = true;
        break;
      }
      typed_.append(buffer.data(), static_cast<std::size_t>(n));
    }
    take_lines();
    if (input_ended_ && failing_ && lines_.empty()) return stop(1);
    say_what_waits();
  }

  void take_lines() {
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = typed_.find('\n', begin)) != std::string::npos; begin = end + 1)
      take_line(typed_.substr(begin, end - begin));
    typed_.erase(0, begin);
    if (input_ended_ && !typed_.empty()) take_line(std::exchange(typed_, {}));
  }
  // A message of text is UTF-8 (RFC 6455 §5.6).
  void take_line(std::string&& line) {
    if (ws::is_utf8(line)) return lines_.push_back(std::move(line));
    complain("standard input", "a line that is not UTF-8 is left out: " + line.substr(0, 60));
  }

  void say_what_waits() {
    ws::connection* c = client_ ? client_->connected() : nullptr;
    if (c == nullptr) return;
    for (; !lines_.empty(); lines_.pop_front()) {
      const std::string& line = lines_.front();
      const bool plain = options_.name.empty();
      const std::string said =
          plain ? line : "{\"name\":" + json_string(options_.name) + ",\"text\":" + json_string(line) + "}";
      if (c->send(std::string_view{said}) > send_result::queued) return;
    }
    if (input_ended_) client_->stop();
  }

  void ended(unsigned code, std::string_view reason) {
    const bool good = code == 1000 || code == 1005;
    if (!good) std::fprintf(stderr, "chat: closed with %u %s\n", code, printable(reason).c_str());
    if (input_ended_ || !options_.reconnect) stop(good ? 0 : 1);
  }

  void stop(int status) {
    status_ = status;
    net_.stop();
  }

  terminal_options options_;
  engine net_{one_core()};
  std::unique_ptr<ws::client> client_;
  std::string typed_;  // the beginning of a line
  std::deque<std::string> lines_;
  bool input_ended_ = false;
  bool failing_ = false;  // the last attempt to connect came to nothing
  int status_ = 0;
};

}  // namespace

int run_terminal(const terminal_options& options) { return terminal{options}.run(); }

}  // namespace catenet::examples
