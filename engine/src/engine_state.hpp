// What an engine keeps that its public header need not show.
#pragma once

#include <catenet/engine/backend.hpp>
#include <catenet/engine/engine.hpp>

#include <atomic>
#include <barrier>
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
  };

  state(const depot_options& slab, unsigned count) : blocks(slab), all_started(count), all_idle(count) {}

  std::unique_ptr<backend> make_backend(backend_context context) const;
  void wake(unsigned index) const;

  depot blocks;
  std::vector<std::unique_ptr<core>> cores;
  std::vector<int> wake_fds;
  std::vector<listener> listeners;
  std::vector<callback<void()>> on_start;
  std::string_view io_name = "none";
  io_choice io = io_choice::automatic;  // what was chosen, once it was
  backend_source* source = nullptr;
  std::uint32_t receive_blocks_max = 0;

  std::atomic<unsigned> stops{0};
  std::barrier<> all_started;
  std::barrier<> all_idle;
  std::mutex failure_mutex;
  error failure;  // the first; guarded by failure_mutex while cores start
  std::atomic<bool> failed{false};
};

}  // namespace catenet
