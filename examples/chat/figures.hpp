// The engine's figures, as /stats has them, for who wants to watch them: the present ones at once, then new
// ones each second. Who is slow gets the latest only.
#pragma once

#include <catenet/engine/engine.hpp>
#include <catenet/engine/timer.hpp>
#include <catenet/http/server.hpp>
#include <catenet/ws/server.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace catenet::examples {

/// Made before the engine runs; the handlers of its route keep it. One timer on core 0 publishes for all,
/// while anybody listens.
class figures final : public std::enable_shared_from_this<figures>, timer {
 public:
  /// `of` must outlive it.
  explicit figures(http::server& of) : of_(of), cores_(of.net().cores()) {}
  /// What its WebSocket route is made of, beside what `base` says.
  ws::options route(ws::options base);

 private:
  /// The newcomers of one core: the frame that greets them is made once for those of a second.
  struct lobby {
    std::uint32_t listeners = 0;
    std::uint32_t made_ms = 0;
    std::optional<ws::prepared> greeting;  // while there are listeners: it lies in a block of this core
  };

  [[nodiscard]] std::string text() const;
  void came(ws::connection& c);
  void left();
  void expire() override;

  http::server& of_;
  std::vector<lobby> cores_;
  std::atomic<std::uint32_t> listeners_ = 0;  // on all cores
};

}  // namespace catenet::examples
