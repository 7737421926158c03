// The seam: what a loop asks of the kernel. Behind it stand io_uring, epoll and, for tests, a simulator.
//
// Operations are named by a token that the caller chooses; wait() copies completions out, so handlers run
// after it and there is no recursion. Each operation's end is told exactly once: by the completion whose
// `more` is false.
#pragma once

#include <catenet/engine/error.hpp>
#include <catenet/slab/chain.hpp>
#include <catenet/slab/counter.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace catenet {

/// What a completion is about; part of the token.
enum class operation : std::uint8_t {
  accept,
  receive,
  receive_large,
  poll,
  send,
  writable,
  close,
  wake,
  cancel
};

/// operation (8 bits), generation (24), slot (32).
struct token {
  std::uint64_t value = 0;
  constexpr token() = default;
  constexpr explicit token(std::uint64_t raw) : value(raw) {}
  constexpr token(operation what, std::uint32_t slot, std::uint32_t generation)
      : value(std::uint64_t{static_cast<std::uint8_t>(what)} << 56 |
              std::uint64_t{generation & 0xffffff} << 32 | slot) {}
  [[nodiscard]] operation what() const { return static_cast<operation>(value >> 56); }
  [[nodiscard]] std::uint32_t slot() const { return static_cast<std::uint32_t>(value); }
  [[nodiscard]] std::uint32_t generation() const {
    return static_cast<std::uint32_t>(value >> 32) & 0xffffff;
  }
};

struct completion {
  token about;
  std::int32_t result = 0;  ///< bytes, a descriptor, or -errno
  bool more = false;        ///< the operation goes on
  block* data = nullptr;    ///< receive: a rented block that holds `result` bytes, now the caller's
};

/// Counts since the start, written by the core's thread, readable from any. They outlive the back end.
struct backend_counters {
  counter enters;       ///< system calls of the loop
  counter submissions;  ///< operations handed in
  counter completions;
  counter out_of_blocks;  ///< receives that found no block
};

/// What a back end is made with; both outlive it.
struct backend_context {
  backend_counters& counters;
  int wake_fd;  ///< an eventfd: a write to it ends wait(). Any thread may write, a signal handler too
};

/// Used by the thread of one core only. The thread needs a pool.
class backend {
 public:
  virtual ~backend() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;

  /// Must be called on the core's thread before anything else.
  virtual error start() = 0;

  /// Accepts connections (results are descriptors, close-on-exec) until cancelled or an error (`more` false).
  virtual void accept(int listener, token t) = 0;
  /// Receives until end of stream (result 0), an error, or cancel. -ENOBUFS: no block was free; ask again.
  virtual void receive(int fd, token t) = 0;
  /// Receives once, up to `bytes_max`, into one large block; its token is of operation::receive_large.
  virtual void receive_large(int fd, token t, std::uint64_t bytes_max) = 0;
  /// Completes once when the descriptor is readable, or in error.
  virtual void poll_readable(int fd, token t) = 0;
  virtual void poll_writable(int fd, token t) = 0;
  /// Sends the memory segments at the front of the chain (up to the first file region), all of them unless
  /// the connection fails. The chain must not change until the completion. `more_follows`: another send comes
  /// at once.
  virtual void send(int fd, token t, const chain& bytes, bool more_follows) = 0;
  /// Asks for the end of an operation, whose terminal completion still comes. The cancel itself is not told.
  virtual void cancel(token t) = 0;
  /// Closes a descriptor on which no operation is under way.
  virtual void close(int fd, token t) = 0;

  /// Submits what was asked, waits up to timeout_ms (-1: for ever) for a completion and appends all there
  /// are. Returns early, with nothing, when the core's wake descriptor was written to.
  virtual void wait(std::vector<completion>& into, std::int64_t timeout_ms) = 0;

  /// Makes another core's wait() return, without a system call of its own if this can be. On this core's
  /// thread; how other threads do it is `wake_fd`.
  virtual void wake_peer(backend& other, int wake_fd) = 0;
};

}  // namespace catenet
