// What every client of a run has in common.
#pragma once

#include <catenet/engine/simulation.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace catenet::test {

/// What server and clients tell each other behind the network's back.
struct ledger {
  explicit ledger(simulation& s) : world(s) {}
  simulation& world;
  int file = -1;  // holds the pattern, `file_bytes` of it
  std::uint64_t file_bytes = 0;
  std::vector<char> excused;   // by connection: the server had to give it up
  std::uint64_t sessions = 0;  // alive
};

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

class test_peer : public simulated_peer {
 public:
  test_peer(ledger& book, const peer_habits& habits, std::uint32_t id, std::uint64_t seed)
      : book_(book), habits_(habits), id_(id), random_(seed) {}

  /// Nothing more is to come, well or badly.
  [[nodiscard]] bool over() const { return over_; }
  /// Does not wait for anything: over() may never be.
  [[nodiscard]] virtual bool vanished() const { return false; }
  /// What still misses, for the report.
  [[nodiscard]] virtual std::string lacks() const = 0;
  /// From now on the server may end early, as it stops or has no memory. A wrong byte stays wrong.
  void excuse() { excused_ = true; }

 protected:
  void wrong(const std::string& what) { book_.world.violated("client " + std::to_string(id_) + " " + what); }
  [[nodiscard]] bool excused() const { return excused_ || book_.excused[id_] != 0; }

  std::uint64_t size() {
    if (random_.chance(habits_.big))
      return std::min<std::uint64_t>(habits_.body_max, random_.between(128 << 10, 600000));
    const std::uint64_t lot = random_.below(100);
    return std::min<std::uint64_t>(habits_.body_max, random_.between(1, lot < 60   ? 200
                                                                        : lot < 90 ? 4000
                                                                                   : 64 << 10));
  }
  // In one go or in two, so that borders fall everywhere.
  void put(const std::string& bytes) {
    const std::size_t cut = random_.chance(200) ? random_.below(bytes.size()) : 0;
    send(std::string_view(bytes).substr(0, cut));
    send(std::string_view(bytes).substr(cut));
  }
  void read_slowly() {
    if (random_.chance(habits_.slow)) stall(random_.between(1, random_.chance(50) ? 5'000'000 : 100'000));
  }

  ledger& book_;
  const peer_habits& habits_;
  std::uint32_t id_;
  seeded_random random_;
  bool excused_ = false;
  bool over_ = false;
};

}  // namespace catenet::test
