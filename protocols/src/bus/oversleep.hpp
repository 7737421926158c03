// How early a thread has to get up to be on time, learned from how late its sleeps end: a timer, a processor
// that leaves its idle state, and on a virtual machine the host, each add to that.
#pragma once

#include <algorithm>
#include <chrono>

namespace catenet::bus::detail {

/// Follows a sleep that ends later than ever at once, and forgets it over some hundred others, so that it
/// stands near the worst of the last ones. Bounded, since the rest of the time is spent awake.
class oversleep {
 public:
  using nanoseconds = std::chrono::nanoseconds;
  static constexpr nanoseconds least{20'000};
  static constexpr nanoseconds most{150'000};
  static constexpr nanoseconds tolerated{20'000};  ///< an alarm may be as late as this

  /// How long before an alarm a sleep has to end.
  [[nodiscard]] nanoseconds margin() const { return margin_; }
  /// A sleep has ended that much later than it was asked to.
  void note(nanoseconds late) {
    const nanoseconds wanted = std::clamp(late - tolerated, least, most);
    margin_ = wanted > margin_ ? wanted : margin_ - (margin_ - wanted) / forgets_in;
  }

 private:
  static constexpr int forgets_in = 128;
  nanoseconds margin_ = least;
};

}  // namespace catenet::bus::detail
