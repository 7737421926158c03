// The seam: what a loop asks of the kernel. Behind it stand io_uring, epoll and, for tests, a simulator.
//
// Operations are named by a token that the caller chooses; wait() copies completions out, so handlers run
// after it and there is no recursion. Each operation's end is told exactly once: by the completion whose
// `more` is false.
#pragma once

#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/error.hpp>
#include <catenet/slab/chain.hpp>
#include <catenet/slab/counter.hpp>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace catenet {

/// What a completion is about; part of the token.
enum class operation : std::uint8_t {
  accept,
  connect,
  receive,
  receive_large,
  receive_wide,
  poll,
  send,
  released,  ///< memory that a zero-copy send read is free again; the slot is the send's id
  writable,
  warm,   ///< reading ahead in a file
  watch,  ///< a poll of the core's watches
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
  counter out_of_blocks;     ///< receives that found no block
  counter registered_sends;  ///< zero-copy sends from registered memory
};

/// What a back end is made with; both outlive it.
struct backend_context {
  backend_counters& counters;
  int wake_fd;    ///< an eventfd: a write to it ends wait(). Any thread may write, a signal handler too
  unsigned core;  ///< whose back end it is
};

/// Time as the loop sees it; asked once a turn.
struct clock_reading {
  std::uint64_t steady_ms = 0;
  std::int64_t unix_seconds = 0;
};

/// Used by the thread of one core only. The thread needs a pool.
///
/// Tokens: all operations on one connected descriptor carry the same slot and generation, and no other live
/// descriptor does; a generation is never 0. An accept's slot names its listener. Of each kind, one operation
/// at a time is under way on a descriptor; receives of all three sizes and a poll for reading are one kind, a
/// send and a poll for writing another.
class backend {
 public:
  virtual ~backend() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;

  /// Must be called on the core's thread before anything else.
  virtual error start() = 0;

  /// Accepts connections (results are descriptors, close-on-exec) until cancelled or an error (`more` false).
  virtual void accept(int listener, token t) = 0;
  /// Connects a socket of open_socket() to an address that stays where it is until the completion: 0 or
  /// -errno.
  virtual void connect(int fd, token t, const endpoint& to) = 0;
  /// Receives until end of stream (result 0), an error, or cancel. -ENOBUFS: no block was free; ask again.
  virtual void receive(int fd, token t) = 0;
  /// Receives one block and ends: for who will know by its bytes how to go on. Also of operation::receive.
  virtual void receive_once(int fd, token t) = 0;
  /// A rented block of the size that receive() uses (4 KiB), which the loop has waited for after a receive
  /// found none: it stands ready for the next. What is not needed goes back to the pool.
  virtual void offer(lease block) = 0;
  /// Receives once, up to `bytes_max`, into one large block; its token is of operation::receive_large.
  virtual void receive_large(int fd, token t, std::uint64_t bytes_max) = 0;
  /// Receives once, what there is, into one block of 64 KiB; its token is of operation::receive_wide.
  virtual void receive_wide(int fd, token t) = 0;
  /// Completes once when the descriptor is readable, or in error.
  virtual void poll_readable(int fd, token t) = 0;
  virtual void poll_writable(int fd, token t) = 0;
  /// Sends the memory segments at the front of the chain (up to the first file region), all of them, or fewer
  /// (-EAGAIN: none) when the socket is full: then room is to be waited for. The chain must not change until
  /// the completion. `more_follows`: another send comes at once.
  virtual void send(int fd, token t, const chain& bytes, bool more_follows) = 0;
  /// Like send(), for an id that the caller chooses: the device reads the memory itself where the route
  /// allows. Besides the send's own completion there is always one, later, of token{operation::released, id,
  /// 0}: until then the memory must stay as it is. Its result is 1 if the kernel copied after all, 0 if not,
  /// or -errno when nothing was sent. False: there is no such send, and nothing was begun.
  virtual bool send_zero_copy(int fd, token t, std::uint32_t id, const chain& bytes, bool more_follows);
  /// Asks for the end of an operation, whose terminal completion still comes. A cancel that found nothing to
  /// end may be told by a completion of operation::cancel with the token's slot and generation (0: an
  /// accept): if that operation is still under way, it has to be asked for again. Else the cancel itself is
  /// not told.
  virtual void cancel(token t) = 0;
  /// Closes a descriptor on which no operation is under way.
  virtual void close(int fd, token t) = 0;

  /// Submits what was asked, waits up to timeout_ms (-1: for ever) for a completion and appends all there
  /// are. Returns early, with nothing, when the core's wake descriptor was written to.
  virtual void wait(std::vector<completion>& into, std::int64_t timeout_ms) = 0;

  /// Makes another core's wait() return, without a system call of its own if this can be. On this core's
  /// thread; how other threads do it is `wake_fd`.
  virtual void wake_peer(backend& other, int wake_fd) = 0;

  /// Gives back what receives had ready for a load that is over. For as long as may_trim(), the core calls it
  /// a few times a second.
  virtual void trim() {}
  [[nodiscard]] bool may_trim() const { return may_trim_; }

  // ---- What is asked of a socket at once, and the clock. These ask the kernel; a simulated descriptor never
  // gets there.

  /// A socket to connect to that address with, or -errno. `pace_within_host`: see engine_options.
  virtual int open_socket(const endpoint& to, bool pace_within_host);
  /// Says FIN; with `both`, ends receiving as well, and with it whatever is under way.
  virtual void shut_down(int fd, bool both);
  /// Breaks the connection off with a reset, at once and without a FIN that a peer could take for a proper
  /// end. What is under way on it ends.
  virtual void reset(int fd);
  /// Ends the connection when what was sent is not acknowledged for so long (TCP_USER_TIMEOUT, tcp(7)).
  virtual void limit_unacknowledged(int fd, std::uint32_t time_ms);
  /// A mark that changes when the peer has taken bytes.
  virtual std::uint64_t progress_mark(int fd);
  /// Sends part of a file as far as the socket takes it at once: bytes, 0 at the end of the file, -EAGAIN
  /// when the socket is full, or -errno.
  virtual std::int64_t send_file(int fd, int file, std::uint64_t offset, std::size_t length);
  /// Sends the chain's first `bytes_max` bytes, which are memory, as far as the socket takes them at once:
  /// bytes, -EAGAIN, or -errno.
  virtual std::int64_t send_now(int fd, const chain& bytes, std::uint64_t bytes_max, bool more_follows);
  /// Reads part of a file into the page cache and completes with how many bytes there were, or -errno. False
  /// when this back end cannot do that beside the loop: then the kernel was asked to read ahead, and nothing
  /// completes.
  virtual bool read_ahead(token t, int file, std::uint64_t offset, std::size_t length);
  /// What a receive would find: 1 when there are bytes, 0 at the end of the stream, -EAGAIN when there is
  /// nothing yet, or -errno.
  virtual std::int32_t peek(int fd);
  /// Closes a descriptor that no operation was ever asked of, or a listener whose accept has ended.
  virtual void close_now(int fd);
  /// The address of this end or the other; empty when it is gone.
  virtual endpoint address_of(int fd, bool peer);
  virtual clock_reading clock();

 protected:
  bool may_trim_ = false;
};

/// Where an engine gets its back ends and listeners from when not from the kernel. Outlives the engine.
class backend_source {
 public:
  virtual ~backend_source() = default;
  virtual std::unique_ptr<backend> make(backend_context context) = 0;
  /// Makes `count` listeners for one address, one a core; port 0 becomes a free one.
  virtual error listen(endpoint& where, unsigned count, std::vector<int>& into) = 0;
  /// Ends the wait of a core; from any thread.
  virtual void wake(unsigned core) = 0;
};

}  // namespace catenet
