// The HTTP server in the simulation: whatever kernel and network do, each client gets exactly its answers, in
// order.
#include <catenet/engine/log.hpp>

#include "support/http_world.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace catenet::test {
namespace {

// A client that sends requests of known answers, pipelined as its seed says.
class knowing_client final : public simulated_peer {
 public:
  knowing_client(std::uint64_t seed, int requests) : random_(seed), to_send_(requests) {}

  void connected() override { send_some(); }
  void expired() override { send_some(); }
  void received(std::span<const std::byte> bytes) override {
    got_ += as_text(bytes);
    while (take_answer()) {
    }
  }
  void ended() override { over_ = true; }
  void reset() override { over_ = true; }

  [[nodiscard]] bool done() const { return over_ || (to_send_ == 0 && expected_.size() == answered_); }
  [[nodiscard]] std::string problem() const {
    if (!problem_.empty()) return problem_;
    if (to_send_ != 0 || expected_.size() != answered_)
      return std::to_string(answered_) + " of " + std::to_string(expected_.size()) + " answers, " +
             std::to_string(to_send_) + " not sent; left over: " + got_.substr(0, 200);
    return {};
  }

 private:
  void send_some() {
    std::string bytes;
    for (std::uint64_t n = random_.between(1, 20); n != 0 && to_send_ != 0; --n, --to_send_)
      bytes += make_request();
    send(bytes);
    if (to_send_ != 0) after(random_.below(20'000));
  }

  std::string make_request() {
    const auto number = std::to_string(random_.below(60));
    const auto request = [&](const std::string& first, const std::string& rest) {
      return first + " HTTP/1.1\r\nHost: a\r\n" + rest;
    };
    switch (random_.below(10)) {
      case 0:
        return expect("late " + number), request("GET /late/" + number, "\r\n");
      case 1:
        return expect(std::string(random_.below(2) * 70'000 + 7, 'b')),
               request("GET /bytes/" + std::to_string(expected_.back().size()), "\r\n");
      case 2: {
        std::string body;
        for (int i = std::stoi(number); i > 0; --i)
          body += std::string(static_cast<std::size_t>(i) * 100, 'p');
        return expect(body), request("GET /pieces/" + number, "\r\n");
      }
      case 3: {
        const std::string body(random_.below(30'000), 'e');
        return expect(body),
               request("POST /echo", "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
      }
      case 4:
        return expect("ignored"), request("POST /ignore", "Content-Length: 5\r\n\r\n12345");
      case 5: {
        std::string body;
        std::size_t sum = 0;
        for (std::uint64_t n = random_.below(10); n != 0; --n) {
          const std::size_t part = random_.between(1, 5000);
          char size[16];
          std::snprintf(size, sizeof size, "%zx\r\n", part);
          body += size + std::string(part, 'c') + "\r\n";
          sum += part;
        }
        const char* target = random_.chance(500) ? "POST /count" : "POST /slow-reader";
        return expect(std::to_string(sum)),
               request(target, "Transfer-Encoding: chunked\r\n\r\n" + body + "0\r\n\r\n");
      }
      case 6:
        return expect("hello " + number),
               request("GET /hello/" + number,
                       "X-Long: " + std::string(random_.below(6000), 'x') + "\r\n\r\n");
      case 8:
        return expect(std::string(30'000, 'w')), request("POST /both-ways", "Content-Length: 5\r\n\r\n12345");
      case 7:
        return expect("the handler failed\n"), request("GET /throws", "\r\n");
      default:
        return expect("Hello, World!"), request("GET /", "\r\n");
    }
  }
  void expect(std::string body) { expected_.push_back(std::move(body)); }

  // Takes one whole answer off the front of what came, and compares it.
  bool take_answer() {
    const std::size_t head = got_.find("\r\n\r\n");
    if (head == std::string::npos || !problem_.empty()) return false;
    const std::size_t length = got_.find("Content-Length: ");
    std::string body;
    std::size_t end = head + 4;
    if (length < head) {
      const std::size_t bytes = std::stoul(got_.substr(length + 16));
      if (got_.size() - end < bytes) return false;
      body = got_.substr(end, bytes);
      end += bytes;
    } else {
      for (std::size_t bytes = 1; bytes != 0;) {
        const std::size_t line = got_.find("\r\n", end);
        if (line == std::string::npos) return false;
        bytes = std::stoul(got_.substr(end, line - end), nullptr, 16);
        if (got_.size() < line + 2 + bytes + 2) return false;
        body += got_.substr(line + 2, bytes);
        end = line + 2 + bytes + (bytes != 0 ? 2 : 0);
      }
      const std::size_t last = got_.compare(end, 2, "\r\n") == 0 ? end : got_.find("\r\n\r\n", end);
      if (last == std::string::npos) return false;
      end = last == end ? end + 2 : last + 4;
    }
    if (answered_ == expected_.size()) {
      problem_ = "an answer that nobody asked for";
    } else if (expected_[answered_] != body) {
      problem_ = "answer " + std::to_string(answered_) + " is wrong: " + got_.substr(0, 300);
    }
    ++answered_;
    got_.erase(0, end);
    return true;
  }

  seeded_random random_;
  int to_send_;
  std::vector<std::string> expected_;
  std::size_t answered_ = 0;
  std::string got_, problem_;
  bool over_ = false;
};

TEST(http_simulated, every_client_gets_exactly_its_answers) {
  set_log_sink(nullptr);  // a handler fails on purpose
  for (std::uint64_t seed = 1; seed != 60; ++seed) {
    http_world server{{.seed = seed, .accept_fails = 0}};
    std::vector<std::unique_ptr<knowing_client>> clients;
    for (std::uint64_t i = 0; i != 8; ++i) {
      clients.push_back(std::make_unique<knowing_client>(seed * 100 + i, 60));
      server.world.connect(*clients.back(), server.at, i * 1000);
    }
    const bool finished = server.run(
        [&] {
          for (const auto& c : clients)
            if (!c->done()) return false;
          return true;
        },
        2'000'000);
    ASSERT_EQ(server.violation(), "") << "seed " << seed;
    ASSERT_TRUE(finished) << "seed " << seed;
    for (const auto& c : clients) ASSERT_EQ(c->problem(), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace catenet::test
