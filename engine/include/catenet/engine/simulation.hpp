// A simulated kernel and network, so that a whole server runs in one thread, in virtual time, by one seed:
// what comes late, short, out of order or not at all is drawn from it, and a run that fails can be run again
// exactly.
//
//   peers (yours) ─ bytes, FIN, reset ─▶ wires ─▶ sockets ─▶ simulated back ends ─▶ the engine's cores,
//   stepped in
//         ◀────────────── pieces, late ───────────────────── any order, each with its pool
//
// Library catenet::simulation, for tests. Everything here is used on one thread.
#pragma once

#include <catenet/engine/backend.hpp>
#include <catenet/engine/callback.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace catenet {

class engine;
struct engine_options;

/// Numbers that follow from a seed alone, on every machine (xoshiro256**).
class seeded_random {
 public:
  explicit seeded_random(std::uint64_t seed);
  std::uint64_t next();
  std::uint64_t below(std::uint64_t n) { return n >> 32 == 0 ? (next() >> 32) * n >> 32 : next() % n; }
  /// From least to most, both included.
  std::uint64_t between(std::uint64_t least, std::uint64_t most) { return least + below(most - least + 1); }
  bool chance(unsigned per_mille) { return per_mille != 0 && below(1000) < per_mille; }

 private:
  std::array<std::uint64_t, 4> state_;
};

/// How unkind kernel and network are. Chances are of 1000.
struct simulation_options {
  std::uint64_t seed = 1;
  unsigned short_receive = 200;     ///< a receive gets less than there is
  unsigned receive_ends = 10;       ///< a receive that could go on is ended with its data
  unsigned no_block = 10;           ///< a receive is told that there is no block
  unsigned split_send = 200;        ///< a send goes on later, though there is room
  unsigned short_send = 20;         ///< a send ends before all is sent
  unsigned late = 150;              ///< an operation is looked at in a later turn
  unsigned held_back = 150;         ///< what ended is told in a later turn
  unsigned accept_fails = 5;        ///< no descriptor, no memory, or the peer is gone
  unsigned split_on_wire = 300;     ///< bytes arrive in two pieces
  unsigned cancel_misses = 20;      ///< a cancel finds nothing, and has to be said again
  unsigned spurious_wake = 20;      ///< a wait returns with nothing
  unsigned zero_copy_copies = 300;  ///< a zero-copy send's notification says that the kernel copied
  unsigned no_memory = 0;           ///< an allocation of the slab fails: a segment, or a batch of blocks
  std::uint32_t latency_us_max = 2000;
  std::uint32_t zero_copy_late_us_max =
      20'000;  ///< how long after a zero-copy send its notification comes; 0: there are no such sends
  std::uint32_t oversleep_us_max = 500;  ///< how late a core, woken or timed out, begins its turn
  std::size_t socket_buffer = 64 << 10;  ///< bytes a socket holds, in each direction
  std::uint32_t descriptors_max = 100000;
};

class simulation;

/// The other end of a connection. Derive from it; it must live until it was told the end or a reset, or the
/// simulation has ended. Calls come from simulation::step(), never from within a call that it makes itself.
class simulated_peer {
 public:
  virtual ~simulated_peer() = default;
  virtual void connected() {}
  virtual void received(std::span<const std::byte> bytes) = 0;
  virtual void ended() {}    ///< the server said FIN, after its last byte
  virtual void reset() {}    ///< the connection was reset, or refused; nothing follows
  virtual void expired() {}  ///< the delay set by after() is over

  void send(std::string_view bytes);
  void finish();  ///< FIN behind what was sent
  void abort();   ///< resets the connection: what is on the wire may be lost. Nothing is told any more
  void stall(std::uint64_t us);  ///< takes nothing for so long; for ever, when that is 0
  void after(std::uint64_t us);  ///< calls expired() then; a later call replaces an earlier one

  [[nodiscard]] simulation& home() const { return *home_; }
  /// Sent, and not yet taken by the server.
  [[nodiscard]] std::uint64_t unsent() const;

 private:
  friend class simulation;
  friend struct simulated_network;
  simulation* home_ = nullptr;
  std::uint32_t link_ = ~0u;
  std::uint64_t timer_ = 0;  // the latest after(), so that an earlier one is known to be stale
};

/// Give it to the engine as engine_options::source, then start(), connect(), step(). It must outlive the
/// engine.
class simulation final : public backend_source {
 public:
  explicit simulation(simulation_options options);
  ~simulation() override;
  simulation(const simulation&) = delete;
  simulation& operator=(const simulation&) = delete;

  /// What an engine in this simulation is made with: one core, its network, 64 MiB of blocks, no signals.
  [[nodiscard]] engine_options settings();

  /// In place of engine::run(): starts every core, then calls what on_start() was given.
  error start(engine& net);

  /// After a delay, the peer connects to where the engine listens.
  void connect(simulated_peer& peer, const endpoint& to, std::uint64_t delay_us = 0);

  /// Where the engine may connect to: for each connection, `make` gives the peer that answers, or null when
  /// it is refused.
  void answer(const endpoint& at, callback<simulated_peer*()> make);

  /// Does the next thing that is due, and moves time on to it. False when nothing will ever be due.
  bool step();

  /// After engine::stop(): whether every core has finished. Then release() takes them down.
  [[nodiscard]] bool finished() const;
  void release();

  /// Takes all but about `left` bytes of the slab's blocks for a while, as other users of memory would.
  void starve(std::size_t left, std::uint64_t us);

  /// Counts every block of the slab by its state and holds that against what pools and depot say; what is
  /// wrong is violation() then. `all_home`: nothing may be out.
  void audit(bool all_home);

  [[nodiscard]] std::uint64_t now_us() const;
  [[nodiscard]] seeded_random& random();
  /// The first thing that an engine must not do, and did; empty while there is none.
  [[nodiscard]] const std::string& violation() const;
  /// Reports one from a test's own model.
  void violated(std::string what);
  /// Turns of cores so far.
  [[nodiscard]] std::uint64_t turns() const;

  std::unique_ptr<backend> make(backend_context context) override;
  error listen(endpoint& where, unsigned count, std::vector<int>& into) override;
  void wake(unsigned core) override;

 private:
  friend class simulated_peer;
  struct state;
  void turn(unsigned core);
  void enter(unsigned core);
  void leave();
  std::unique_ptr<state> state_;
};

}  // namespace catenet
