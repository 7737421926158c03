// See terminal.hpp. One ws::client and a watch on standard input, on one core.
#include "chat/terminal.hpp"

#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/watch.hpp>
#include <catenet/ws/client.hpp>

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

  void start() {
    ws::client_options o;
    o.url = options_.url;
    if (!options_.subprotocol.empty()) o.connection.subprotocols = {options_.subprotocol};
    o.connection.deflate.enabled = options_.deflate;
    o.connection.deflate.server_context_takeover = o.connection.deflate.client_context_takeover = true;
    o.connection.max_message = 16_MiB;
    o.connection.max_queued = 64_MiB;
    o.connection.open = [this](ws::connection&) { say_what_waits(); };
    o.connection.message = [](ws::connection&, ws::message m) {
      std::printf("%s\n", m.to_string().c_str());
      std::fflush(stdout);
    };
    o.connection.close = [this](ws::connection&, ws::close_code code, std::string_view reason) {
      ended(static_cast<unsigned>(code), reason);
    };
    if (options_.reconnect) o.reconnect_first_ms = 200;
    o.failed = [this](std::string_view why) {
      std::fprintf(stderr, "chat: %s: %.*s\n", options_.url.c_str(), static_cast<int>(why.size()),
                   why.data());
      if (!options_.reconnect) stop(1);
    };
    client_ = std::make_unique<ws::client>(net_.at(0), std::move(o));
    if (!client_->start()) return stop(1);
    ::fcntl(STDIN_FILENO, F_SETFL, ::fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    if (const error failed = net_.at(0).watches().add(STDIN_FILENO, *this)) {
      std::fprintf(stderr, "chat: standard input: %s; use a pipe or a terminal\n", failed.text().c_str());
      stop(1);
    }
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
    for (std::size_t end = 0; (end = typed_.find('\n')) != std::string::npos; typed_.erase(0, end + 1))
      lines_.push_back(typed_.substr(0, end));
    say_what_waits();
  }

  void say_what_waits() {
    ws::connection* c = client_->connected();
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
    if (!good)
      std::fprintf(stderr, "chat: closed with %u %.*s\n", code, static_cast<int>(reason.size()),
                   reason.data());
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
  int status_ = 0;
};

}  // namespace

int run_terminal(const terminal_options& options) { return terminal{options}.run(); }

}  // namespace catenet::examples
