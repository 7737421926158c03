// A client of the line server that knows every byte that must arrive.
#pragma once

#include "test_peer.hpp"

#include <deque>
#include <string>

namespace catenet::test {

class line_peer final : public test_peer {
 public:
  line_peer(ledger& book, const peer_habits& habits, std::uint32_t id, std::uint64_t seed);

  void connected() override;
  void received(std::span<const std::byte> bytes) override;
  void ended() override;
  void reset() override;
  void expired() override;

  [[nodiscard]] bool vanished() const override { return ending_ == ending::vanish; }
  [[nodiscard]] std::string lacks() const override;

 private:
  enum class ending : std::uint8_t { finish, finish_early, bye, die, abort, vanish };
  struct piece {
    std::uint64_t at, left;
  };

  void ask();
  void write_request();
  void say_end();

  std::deque<piece> expected_;
  unsigned requests_left_;
  bool pipelined_;
  bool said_end_ = false;
  ending ending_ = ending::finish;
};

}  // namespace catenet::test
