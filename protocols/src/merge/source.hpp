// One input of a merger: says when a whole frame is there, and where it lies.
#pragma once

#include <catenet/merge/merger.hpp>
#include <catenet/slab/chain.hpp>

#include <cstdint>
#include <string>

namespace catenet::merge {

class source;

/// Whole frames of one input: first the memory, then so many bytes that are still in its pipe.
struct item {
  chain memory;
  std::uint64_t in_pipe = 0;
  std::uint64_t frames = 0;
  [[nodiscard]] std::uint64_t bytes() const { return memory.bytes() + in_pipe; }
};

/// Who is told, and what sources share.
class source_owner {
 public:
  virtual ~source_owner() = default;
  virtual void on_ready(source& s) = 0;    ///< it may have a frame now
  virtual void on_evicted(source& s) = 0;  ///< reason() says why; the source does nothing any more
  virtual void on_starved(source& s) = 0;  ///< it found no memory, and asks again now; any may be evicted
  [[nodiscard]] virtual std::uint32_t charged_ms()
      const = 0;  ///< a clock that stands while the output is full

  options how;
  int spy_read = -1;  ///< a pipe of our own to look at headers through
  int spy_write = -1;
};

class source final : watch, timer {
 public:
  source(core& on, source_owner& owner, int fd, std::string name, std::uint32_t weight);
  ~source() override;

  error start();

  /// Whole frames of at most `budget` bytes together, or one that is longer. Empty when there is none. What
  /// is in the pipe must be taken before the next call.
  item next(std::uint64_t budget);
  /// Takes bytes that an item left in the pipe into memory, for an output that takes no splice. Empty on an
  /// error.
  chain read_out(std::uint64_t bytes);

  [[nodiscard]] bool over() const { return over_; }  ///< ended or evicted, and nothing is left
  /// Bytes of an unfinished frame that are in memory, when nothing whole is before it.
  [[nodiscard]] std::uint64_t holds_back() const;
  /// Gives up what it has and closes the descriptor. Not while the output has bytes left in its pipe.
  void evict(std::string why);
  /// The merger is over, be this at its end or not: gives back memory and descriptor.
  void let_go();
  [[nodiscard]] int descriptor() const { return fd_; }
  [[nodiscard]] const std::string& reason() const { return reason_; }

  const std::string name;
  const std::uint32_t weight;
  // The scheduler's.
  std::uint64_t served = 0;  // what it had of the output so far, for its weight
  std::size_t order = 0;     // among the inputs
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
  bool queued = false;

 private:
  enum class kind : std::uint8_t { pipe, socket, file, other };       // file: a regular one
  enum class got : std::uint8_t { something, nothing, end, failed };  // failed: errno says why

  void ready(bool readable, bool writable, bool failed) override;
  void expire() override;
  void drain() override {}  // its owner ends it

  bool look();  // whether a whole frame is at the front, after doing what can be done for it
  bool look_into_pipe();
  bool parse_gathered();
  got gather(std::uint64_t wanted);
  got peek(frame::header& h);
  got read_into(reservation room, std::uint64_t most);
  void wait_for_rest();
  void end_of_input();
  void close();
  [[nodiscard]] std::uint64_t present() const;
  [[nodiscard]] bool has_writer() const;
  [[nodiscard]] bool can_read() const;
  void make_room(std::uint64_t frame_bytes);

  // Armed while there was no memory; a timer of its own, which what arrives does not put off.
  struct hunger final : timer {
    explicit hunger(source& whose) : of(whose) {}
    void expire() override { of.owner_.on_starved(of); }
    source& of;
  };
  void wait_for_memory();

  core& core_;
  source_owner& owner_;
  int fd_;
  kind kind_ = kind::other;
  chain gathered_;                 // taken from the input, not yet put out
  std::uint64_t whole_ = 0;        // bytes of whole frames at its front
  std::uint64_t front_total_ = 0;  // bytes of the unfinished frame behind them; 0: its header is not complete
  std::uint64_t in_pipe_ = 0;      // bytes of the front frame that lie in the pipe, all of them there
  std::uint64_t capacity_ = 0;     // of the pipe, as far as was asked
  std::uint64_t seen_ = 0;  // present() when it was looked at last, for a frame that is awaited in the pipe
  bool awaiting_ = false;   // an unfinished frame stays in the pipe until it is whole
  bool overdue_ = false;    // and did not complete in time
  bool gathering_ = false;  // the unfinished frame is taken into memory: it did not complete in the pipe
  bool timed_ = false;      // the unfinished frame's clock runs
  std::uint32_t since_ms_ = 0;
  hunger hunger_{*this};
  bool over_ = false;
  std::string reason_;
};

}  // namespace catenet::merge
