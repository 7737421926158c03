// A client that speaks HTTP, and at the end maybe WebSocket, and knows every byte of every body that must
// arrive.
#pragma once

#include "test_peer.hpp"

#include <deque>
#include <string>

namespace catenet::test {

class web_peer final : public test_peer {
 public:
  web_peer(ledger& book, const peer_habits& habits, std::uint32_t id, std::uint64_t seed);

  void connected() override;
  void received(std::span<const std::byte> bytes) override;
  void ended() override;
  void reset() override;
  void expired() override;
  [[nodiscard]] bool vanished() const override { return vanished_; }
  [[nodiscard]] std::string lacks() const override;

 private:
  // An answer or message to come: so many bytes of the pattern, or this text.
  struct expectation {
    unsigned status = 200;
    std::uint64_t at = 0;
    std::uint64_t bytes = 0;
    std::string text;
    const char* path = "";  // what was asked
  };
  enum class state : std::uint8_t { head, body, chunk_head, chunk_body, trailer, frame, closed };

  void ask();
  void write_request();
  std::string body_request(std::string_view path, std::uint64_t at, std::uint64_t bytes);
  void upgrade();
  void write_message();
  std::string frame(unsigned opcode, bool final, std::string payload);
  bool parse();
  bool parse_head();
  bool parse_chunk_head();
  bool parse_body();
  bool parse_frame();
  void check(std::string_view part);
  void answered();

  std::deque<expectation> expected_;
  std::string input_;
  std::uint64_t left_ = 0;  // of a body, chunk or frame
  std::uint64_t done_ = 0;  // of the expectation
  unsigned requests_left_;
  unsigned messages_left_ = 0;
  state state_ = state::head;
  bool pipelined_;
  bool upgrading_ = false;
  bool websocket_ = false;
  bool last_frame_ = false;  // of a message
  bool said_end_ = false;
  bool aborts_ = false;
  bool vanished_ = false;
};

}  // namespace catenet::test
