// The output of a merger: takes one item at a time and puts all of it out.
#pragma once

#include "source.hpp"

#include <cstdint>

namespace catenet::merge {

class sink final : watch {
 public:
  /// Is told when there is room again.
  class owner {
   public:
    virtual ~owner() = default;
    virtual void on_room() = 0;
    virtual void on_abandoned() = 0;  ///< the engine's stop waits no longer for room
  };

  sink(core& on, owner& who) : core_(on), owner_(who) {}
  ~sink() override;

  /// Takes the descriptor over.
  error open(int fd);
  void stop() { unwatch(); }  ///< tells nothing more
  /// What was taken will never be out: it failed.
  void give_up();
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  ///< put out so far

  [[nodiscard]] bool idle() const { return memory_.empty() && left_in_pipe_ == 0; }
  /// Only while idle. `from` has the item's bytes that are in a pipe.
  void take(item&& frames, source& from);

  enum class result : std::uint8_t { done, full, failed };
  /// Goes on with what was taken.
  result put();
  [[nodiscard]] const error& failure() const { return failure_; }

  tier_counters out;

 private:
  void ready(bool readable, bool writable, bool failed) override;
  void drain() override {}  // its owner ends it
  void abandon() override {
    unwatch();
    owner_.on_abandoned();
  }
  ssize_t write_memory();
  result fail(int code);
  bool make_own(int fd);

  core& core_;
  owner& owner_;
  int fd_ = -1;
  bool socket_ = false;
  bool spliceable_ = true;
  int restore_flags_ = -1;  // of a descriptor that others have too
  chain memory_;
  source* from_ = nullptr;
  std::uint64_t left_in_pipe_ = 0;
  std::uint64_t bytes_ = 0;
  error failure_;
};

}  // namespace catenet::merge
