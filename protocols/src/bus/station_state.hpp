// What other threads see of a station: where bells are laid down, and whether the thread sleeps.
#pragma once

#include <catenet/bus/station.hpp>

#include "bus/oversleep.hpp"

#include <atomic>
#include <cstdint>

namespace catenet::bus::detail {

struct station_state : std::enable_shared_from_this<station_state> {
  letter_box<bell, &bell::below_> inbox;
  sleep_word<> asleep;
  std::atomic<bool> turn_asked{false};  // on a core: a turn is posted already
  std::atomic<bool> poked{false};       // the pool has something for who waits for blocks
  oversleep late;                       // its own thread only
  core* on = nullptr;                   // null for a plain thread
  station* owner = nullptr;             // its own thread only; null once it has ended

  /// Any thread. Once the station has ended, the bell is let go unheard.
  void lay_down(bell* b) {
    if (inbox.push(b))
      wake();
    else
      hush(*b);
  }
  void wake();
  void poke() {
    poked.store(true, std::memory_order_seq_cst);
    wake();
  }

  /// The station ends: bells that lie here keep each other alive no longer.
  void close() { inbox.close(hush); }

 private:
  static void hush(bell& b) { const std::shared_ptr<bell> unheard = std::move(b.self_); }
};

}  // namespace catenet::bus::detail
