// What an engine keeps that its public header need not show.
#pragma once

#include <catenet/engine/backend.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/slab/registry.hpp>

#include "sockets.hpp"
#include "uring_tier.hpp"

#include <atomic>
#include <barrier>
#include <csignal>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace catenet {

struct engine::state {
  struct listener {
    endpoint where;
    std::vector<int> descriptors;  // one a core; -1 once the core has taken it over
    protocol_factory make;
    std::unique_ptr<socket_file> file;  // null with a source: its listeners have none
  };

  state(const depot_options& slab, unsigned count) : blocks(slab), all_started(count), all_idle(count) {}

  /// The first failure is kept. From any core's thread while they start.
  void fail(error why);
  void go_without_threads(std::size_t count, int why);
  std::unique_ptr<backend> make_backend(backend_context context) const;
  void wake(unsigned index) const;
  /// Removes the files of UNIX sockets, once. To be called while they are still listened on: later, another
  /// server may have taken the path.
  void remove_socket_files();

  depot blocks;
  std::unique_ptr<extent_registry> registered;  // when zero-copy sends may name registered memory
  std::vector<std::unique_ptr<core>> cores;
  std::vector<int> wake_fds;
  std::vector<listener> listeners;
  std::vector<callback<void()>> on_start;
  std::string_view io_name = "none";
  io_choice io = io_choice::automatic;  // what was chosen, once it was
  uring_tier tier;                      // and with which features
  backend_source* source = nullptr;
  std::uint32_t receive_blocks_max = 0;

  struct sigaction actions_before[3]{};  // of SIGINT, SIGTERM, SIGPIPE
  std::atomic<unsigned> stops{0};
  std::barrier<> all_started;
  std::barrier<> all_idle;
  std::mutex failure_mutex;
  error failure;  // the first; guarded by failure_mutex while cores start
  std::atomic<bool> failed{false};
  std::atomic<bool> threads_missing{false};
};

}  // namespace catenet
