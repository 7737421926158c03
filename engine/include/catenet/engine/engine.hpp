// The engine: N cores, their listeners, and starting and stopping them together.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/engine/core.hpp>
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/error.hpp>
#include <catenet/engine/protocol.hpp>
#include <catenet/slab/depot.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace catenet {

/// Whether long sends from memory go by SENDMSG_ZC (io_uring, kernel 6.2).
enum class zero_copy_use : std::uint8_t {
  automatic,  ///< on routes where the kernel does not copy all the same (loopback and veth do), as it was
              ///< seen to be
  never,
  always,  ///< also where it copies: for measuring and tests
};

/// Which back end stands behind the seam.
enum class io_choice : std::uint8_t { automatic, uring, epoll };

/// For engine_options::page_reference_bytes_min: as it is measured on this host, see page_reference.hpp.
inline constexpr std::uint64_t page_reference_measured = 0;
/// Until it has been, and in simulations, which are to run alike everywhere.
inline constexpr std::uint64_t page_reference_usual = 16_KiB;

struct engine_options {
  unsigned cores = 1;  ///< 0 means one for each processor
  io_choice io = io_choice::automatic;
  std::string io_without;  ///< io_uring's features to go without, "bundle,min_wait": see io_features.hpp
  backend_source* source = nullptr;  ///< instead of `io`: see simulation.hpp
  depot_options slab{};

  std::uint32_t park_after_ms = 1000;      ///< a stream quiet for so long is parked on a poll
  std::uint32_t linger_ms = 2000;          ///< after our FIN, how long the peer may take nothing and not end
  std::uint32_t drain_ms = 5000;           ///< after stop(), how long streams may take to finish
  std::uint32_t send_stall_ms = 30000;     ///< a peer that acknowledges nothing for so long is reset
  std::uint64_t high_watermark = 256_KiB;  ///< unsent bytes above which send() says `queued`
  std::uint64_t low_watermark = 64_KiB;    ///< and to which they must fall for writable()
  std::uint64_t send_limit = 64_MiB;       ///< unsent bytes above which send() refuses
  /// A page body's view from so many bytes on is sent by reference.
  std::uint64_t page_reference_bytes_min = page_reference_measured;
  zero_copy_use zero_copy = zero_copy_use::automatic;
  std::uint64_t zero_copy_bytes_min = 64_KiB;  ///< shorter sends are copied: pinning pages costs more
  std::uint64_t zero_copy_pinned_max =
      64_MiB;  ///< of a core, that peers have not acknowledged; above it sends are copied
  std::uint32_t receive_blocks_max = 1024;  ///< most blocks in a core's receive ring; power of two
  bool pace_within_host = false;  ///< leave BBR to pace connections from and to loopback addresses, too
  int listen_backlog = 4096;
  bool handle_signals = true;  ///< SIGINT and SIGTERM stop(), SIGPIPE is ignored, while run() runs
  bool pin_cores = false;      ///< each thread to one processor
};

/// Makes the protocol of a listener for one core; called on that core's thread before it accepts.
using protocol_factory = callback<std::unique_ptr<protocol>(core&)>;

class engine {
 public:
  explicit engine(engine_options options = {});
  ~engine();
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;

  /// Binds and listens now (one socket a core with SO_REUSEPORT; a UNIX socket is shared), accepts once run()
  /// runs. `bound` gets the address, with the port that port 0 became. Before run() only.
  error listen(std::string_view where, protocol_factory make, endpoint* bound = nullptr);

  /// Called on core 0 once every core accepts.
  void on_start(callback<void()> f);

  /// Runs until stop(). Core 0 runs on the calling thread. An error when something could not be started; it
  /// has been logged as well.
  error run();

  /// Stops accepting, drains and ends run(). Any thread, also a signal handler.
  void stop();

  [[nodiscard]] unsigned cores() const;
  [[nodiscard]] core& at(unsigned index);
  [[nodiscard]] const engine_options& options() const { return options_; }
  [[nodiscard]] depot& slab();
  /// "io_uring" or "epoll"; known once on_start() is called.
  [[nodiscard]] std::string_view io_name() const;

  /// Sum over the cores.
  [[nodiscard]] core_statistics statistics() const;

 private:
  friend class core;
  friend class simulation;
  struct state;
  error choose_io();
  [[nodiscard]] bool falls_back() const;
  void fall_back(unsigned index);
  void run_core(unsigned index);
  void set_signals(bool on);
  engine_options options_;
  std::unique_ptr<state> state_;
};

}  // namespace catenet
