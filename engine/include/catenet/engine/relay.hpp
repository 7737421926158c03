// A relay: each connection that is accepted is joined to one that is made, and bytes go both ways until both
// ends said so.
//
//   client ──▶ pipe (rented while bytes are in it) ──▶ server        splice: no byte is in our memory
//          ──▶ block (the same)                    ──▶               copy: small pieces, or no pipe was to be
//          had
//
// Half-close is kept: an end of one direction is passed on when all before it is. A reset is passed on as a
// reset.
#pragma once

#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/error.hpp>
#include <catenet/engine/pipe_pool.hpp>
#include <catenet/engine/tiers.hpp>

#include <cstdint>
#include <memory>
#include <string_view>

namespace catenet {

class engine;

enum class relay_mode : std::uint8_t {
  automatic,  ///< large pieces are spliced, small ones copied, each direction by what it saw last
  splice,     ///< spliced while there are pipes
  copy,
};

struct relay_options {
  relay_mode mode = relay_mode::automatic;
  std::uint32_t idle_ms = 300'000;          ///< a pair in which nothing moves for so long is reset; 0: never
  std::uint32_t connect_ms = 10'000;        ///< how long connecting may take
  std::uint32_t pairs_max = 10'000;         ///< of a core; above it nothing is accepted
  std::size_t splice_bytes_min = 16 << 10;  ///< automatic: pieces from this size on are spliced
  pipe_pool_options pipes = {};             ///< of a core
};

struct relay_statistics {
  std::uint64_t accepted = 0;
  std::uint64_t pairs = 0;  ///< open now
  std::uint64_t connect_failed = 0;
  std::uint64_t resets = 0;  ///< pairs that ended by a reset
  std::uint64_t idle_ended = 0;
  std::uint64_t pipe_refused = 0;  ///< times that blocks stood in because there was no pipe
  std::uint64_t pipes = 0;         ///< open now
  tier_totals out{};               ///< copied and spliced bytes, also counted in the cores' tiers
};

/// Must live while its engine runs. Everything it needs (descriptors, pipes, blocks) is given back when the
/// engine stops, pairs that are still busy then have the engine's drain time.
class relay {
 public:
  explicit relay(engine& of, relay_options options = {});
  ~relay();
  relay(const relay&) = delete;
  relay& operator=(const relay&) = delete;

  /// Listens at `where`, and joins what connects there to `to`. Before the engine runs. `bound` gets the
  /// address, with the port that port 0 became.
  error listen(std::string_view where, std::string_view to, endpoint* bound = nullptr);

  /// Any thread.
  [[nodiscard]] relay_statistics statistics() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace catenet
