// What other threads see of a station: where bells are laid down, and whether the thread sleeps.
#pragma once

#include <catenet/bus/station.hpp>

#include <atomic>
#include <cstdint>

namespace catenet::bus::detail {

struct station_state : std::enable_shared_from_this<station_state> {
  std::atomic<bell*> inbox{nullptr};
  std::atomic<std::uint32_t> asleep{0};  // a futex
  std::atomic<bool> turn_asked{false};   // on a core: a turn is posted already
  std::atomic<bool> poked{false};        // the pool has something for who waits for blocks
  core* on = nullptr;                    // null for a plain thread
  station* owner = nullptr;              // its own thread only; null once it has ended

  /// Any thread. Once the station has ended, the bell is let go unheard.
  void lay_down(bell* b) {
    bell* below = inbox.load(std::memory_order_relaxed);
    do {
      if (below == closed()) {
        const std::shared_ptr<bell> unheard = std::move(b->self_);
        return;
      }
      b->below_ = below;
    } while (!inbox.compare_exchange_weak(below, b, std::memory_order_seq_cst, std::memory_order_relaxed));
    wake();
  }
  void wake();
  void poke() {
    poked.store(true, std::memory_order_seq_cst);
    wake();
  }

  /// The station ends: bells that lie here keep each other alive no longer.
  void close() {
    bell* b = inbox.exchange(closed(), std::memory_order_acq_rel);
    while (b != nullptr) {
      const std::shared_ptr<bell> unheard = std::move(b->self_);
      b = unheard->below_;
    }
  }

 private:
  bell* closed() { return reinterpret_cast<bell*>(this); }  // an address that is no bell's
};

}  // namespace catenet::bus::detail
