// Two connected sockets and what is on its way between them.
#pragma once

#include <catenet/engine/core.hpp>
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/pipe_pool.hpp>
#include <catenet/engine/relay.hpp>
#include <catenet/slab/lease.hpp>

#include <cstdint>

namespace catenet {

/// What the pairs of one core share. Counters: written by the core, read by any thread.
struct relay_core {
  relay_core(core& on, const relay_options& how) : home(on), options(how), pipes(how.pipes) {}

  core& home;
  const relay_options& options;
  pipe_pool pipes;
  tier_counters out;
  counter accepted, pairs, connect_failed, resets, idle_ended, pipe_refused, pipes_open;
  bool told_refusal = false;
  bool splice_refused = false;        // by the kernel, or by what stands before it: it is not asked again
  class relay_pair* first = nullptr;  // all of them, for the end

  /// Counts a server that could not be reached, and tells why, at most once a second.
  void connect_has_failed(const endpoint& to, int code);

 private:
  std::uint32_t told_ms_ = 0;     // when it was told last
  std::uint64_t untold_ = 0;      // failures since
  bool told_connecting_ = false;  // once at least
};

class relay_pair final : timer {
 public:
  /// Takes both descriptors over, and connects `server`, a new socket, to `to`, which outlives the pair.
  /// Deletes itself when it is over.
  static void start(relay_core& of, int client, int server, const endpoint& to);
  /// Ends it now, with a reset.
  void abort();

 private:
  struct side final : watch {
    explicit side(relay_pair& of) : pair(of) {}
    void ready(bool is_readable, bool is_writable, bool failed) override;
    void drain() override {}  // it ends when its peers do
    void abandon() override { pair.abort(); }
    relay_pair& pair;
    int fd = -1;
    bool readable = false;
    bool writable = false;
  };

  // One direction. Invariant: held = bytes in the pipe, or in the block from `at` on; without a carrier it is
  // 0.
  struct flow {
    pipe_pool::pipe pipe;
    lease block;
    std::size_t at = 0;
    std::size_t held = 0;
    bool splicing = false;   // the last pieces were large
    std::uint8_t small = 0;  // small pieces in a row
    bool ended = false;      // the source said so
    bool done = false;       // and that was passed on; or it broke
  };
  enum class outcome : std::uint8_t { wait, more, source_lost, target_lost };

  relay_pair(relay_core& of, int client, int server, const endpoint& to);
  ~relay_pair() override;

  void expire() override;
  void begin();
  void connect();
  void connected();
  void fail_to_connect(int code);
  void pump();
  outcome move(flow& f, side& from, side& to);
  outcome fill(flow& f, side& from);
  outcome drain(flow& f, side& to);
  bool take_pipe(flow& f);
  bool take_block(flow& f);
  void drop_carrier(flow& f, bool emptied);
  bool splice_in(flow& f, int fd, ssize_t& got);
  void judge(flow& f, std::size_t got);
  outcome lose_target(flow& f);
  void finish();

  relay_core& core_;
  const endpoint& to_;
  side client_;
  side server_;
  flow up_;                      // client to server
  flow down_;                    // server to client
  std::uint32_t active_ms_ = 0;  // when something moved last; while connecting: when that began
  bool connecting_ = true;
  bool broken_ = false;   // some end was a reset
  bool starved_ = false;  // waits for a block
  relay_pair* next_ = nullptr;
  relay_pair* prev_ = nullptr;
};

}  // namespace catenet
