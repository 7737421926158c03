// A client of the line server that knows every byte that must arrive.
#pragma once

#include "line_server.hpp"

#include <deque>
#include <string>

namespace catenet::test {

/// How clients of one run behave.
struct peer_habits {
  std::uint64_t body_max = 600000;
  unsigned requests_max = 6;
  unsigned big = 10;       // of 1000 bodies: above 128 KiB
  unsigned aborts = 50;    // of 1000 clients: resets the connection at some moment
  unsigned dies = 30;      // asks the server to reset it
  unsigned vanishes = 10;  // reads nothing any more and says nothing
  unsigned slow = 50;      // of 1000 pieces received: reads nothing for a while
};

class line_peer final : public simulated_peer {
 public:
  line_peer(ledger& book, const peer_habits& habits, std::uint32_t id, std::uint64_t seed);

  void connected() override;
  void received(std::span<const std::byte> bytes) override;
  void ended() override;
  void reset() override;
  void expired() override;

  /// Nothing more is to come, well or badly.
  [[nodiscard]] bool over() const { return over_; }
  /// Does not wait for anything: over() may never be.
  [[nodiscard]] bool vanished() const { return ending_ == ending::vanish; }
  /// What still misses, for the report.
  [[nodiscard]] std::string lacks() const;
  /// The engine was told to stop: answers may end early from now on.
  void server_stops() { excused_ = true; }

 private:
  enum class ending : std::uint8_t { finish, finish_early, bye, die, abort, vanish };
  struct piece {
    std::uint64_t at, left;
  };

  void ask();
  void write_request();
  void put(std::string bytes);
  void say_end();
  void wrong(const std::string& what);
  [[nodiscard]] bool excused() const { return excused_ || book_.excused[id_] != 0; }
  std::uint64_t size();

  ledger& book_;
  const peer_habits& habits_;
  std::uint32_t id_;
  seeded_random random_;
  std::deque<piece> expected_;
  std::uint64_t expected_bytes_ = 0;
  unsigned requests_left_;
  bool pipelined_;
  bool excused_ = false;
  bool said_end_ = false;
  bool over_ = false;
  ending ending_ = ending::finish;
};

}  // namespace catenet::test
