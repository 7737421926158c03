// A flusher: gathers what its writers have committed, on whatever threads they are, into chains that are
// ready for one vectored send or for local delivery.
//
//   writer ─ commits ─▶ log ─┐
//   writer ─ commits ─▶ log ─┼─ dirty ones, taken with one exchange ─▶ take() ─▶ chain
//   writer ─ commits ─▶ log ─┘
//
// A writer's messages leave in the order in which it committed them. Ranges of several writers that lie side
// by side in one block leave as one segment.
#pragma once

#include <catenet/bus/dirty_list.hpp>
#include <catenet/bus/range_log.hpp>
#include <catenet/bus/space.hpp>
#include <catenet/bus/station.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace catenet::bus {

/// When a writer tells its flusher that there is something to take. Whatever comes first counts; 0 and false
/// mean never. Each limit is one writer's.
struct flush_policy {
  std::uint64_t bytes = 64_KiB;
  std::uint32_t count = 1000;          ///< messages
  std::chrono::microseconds after{0};  ///< since the first message that was not taken
  bool end_of_turn = true;             ///< of the writer's station, where it has one
};

namespace detail {

struct log_memory {
  static void* allocate(std::size_t bytes);
  static void release(void* at);
};
using log = range_log<space, log_memory>;

/// A writer's side of a flusher. Shared by both; ends with the later of them.
struct writer_log : std::enable_shared_from_this<writer_log> {
  writer_log() = default;
  writer_log(const writer_log&) = delete;
  writer_log& operator=(const writer_log&) = delete;
  ~writer_log();
  log entries;
  std::atomic<bool> queued{false};  ///< on the dirty list
  std::atomic<bool> closed{false};  ///< the writer has ended
  writer_log* below = nullptr;      ///< on the dirty list
  void keep() { self = shared_from_this(); }
  std::shared_ptr<writer_log> let_go() { return std::move(self); }
  std::shared_ptr<writer_log> self;  ///< keeps it while it is there
  // The flusher's own, during a take():
  log::piece next;          ///< the next piece to be taken
  std::uint64_t reach = 0;  ///< how far this take() goes
  bool busy = false;        ///< in its list
};

struct flusher_state {
  explicit flusher_state(flush_policy how) : policy(how) {}
  ~flusher_state() { forget_dirty(); }
  const flush_policy policy;
  std::shared_ptr<bell> wake;  ///< null without a station
  dirty_list<writer_log> dirty;
  std::atomic<bool> hurry{false};   ///< take now, do not wait for the time
  std::atomic<bool> demand{false};  ///< look at every writer
  std::atomic<bool> ended{false};
  /// When the first message that was not taken was committed, on the alarms' clock; 0: none, or not known.
  std::atomic<std::int64_t> first_ns{0};
  std::mutex mutex;
  std::vector<std::shared_ptr<writer_log>> writers;  ///< guarded by mutex

  /// On the writer's thread: puts the log on the dirty list unless it is there. `now`: the flusher is not to
  /// wait.
  void mark(writer_log& which, bool now);
  void note_first();
  void forget_dirty();
  void wake_up() {
    if (wake) wake->ring();
  }
};

}  // namespace detail

/// Used on one thread, which has a pool; request() on any. Writers may be made and ended on any thread at any
/// time while it lives. What was committed and not taken when it ends is dropped.
class flusher {
 public:
  using sink = callback<void(chain&&)>;

  /// Without a station: take() is called when the program sees fit.
  explicit flusher(flush_policy policy = {});
  /// On a station: `deliver` is called there, with all there is, as the policy or a request says.
  flusher(station& at, flush_policy policy, sink deliver);
  ~flusher();
  flusher(const flusher&) = delete;
  flusher& operator=(const flusher&) = delete;

  /// Everything that the writers who are due have committed; after request(), what all have. Messages are
  /// never cut in two. Should memory run out, what could not be told stays for the next call.
  [[nodiscard]] chain take();

  /// Asks for a flush of everything that was committed before this call. Any thread. With a station it is
  /// delivered there soon, without it by the next take().
  void request();

  [[nodiscard]] const flush_policy& policy() const { return state_->policy; }
  /// For writers.
  [[nodiscard]] const std::shared_ptr<detail::flusher_state>& state() const { return state_; }

 private:
  struct run {
    detail::space* in = nullptr;
    std::uint32_t start = 0;
    std::uint32_t end = 0;
  };

  void collect();
  void add(std::shared_ptr<detail::writer_log> log);
  bool drain();
  bool refresh();
  bool find_next(detail::writer_log& log);
  bool emit_message(detail::writer_log& from);
  detail::writer_log* choose();
  bool close_run();
  void let_go_of_views();
  void forget_ended();
  void on_bell();
  void deliver();

  std::shared_ptr<detail::flusher_state> state_;
  sink sink_;
  std::unique_ptr<alarm> timer_;
  std::vector<std::shared_ptr<detail::writer_log>> busy_;  // in the order in which they became dirty
  std::vector<detail::writer_log*> ended_;  // closed, and taken in full once this take() is through
  std::vector<detail::space*> seen_;        // spaces with a view in `seen`
  detail::writer_log* midway_ = nullptr;    // whose message is half told, memory having run out
  run run_;                                 // what the next segment will name
  chain out_;
};

}  // namespace catenet::bus
