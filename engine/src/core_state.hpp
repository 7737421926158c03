// What a core keeps that its public header need not show.
#pragma once

#include <catenet/engine/backend.hpp>
#include <catenet/engine/core.hpp>
#include <catenet/engine/protocol.hpp>
#include <catenet/engine/watch.hpp>
#include <catenet/slab/pool.hpp>
#include <catenet/slab/waiter.hpp>

#include "large_receives.hpp"
#include "mailbox.hpp"
#include "stream_table.hpp"
#include "zero_copy.hpp"

#include <atomic>
#include <memory>
#include <unordered_map>
#include <vector>

namespace catenet {

/// A stream's place among those who wait for a block to receive into.
struct block_wait final : waiter {
  block_wait(size_class c, priority urgency, served then, stream& of) : waiter(c, urgency, then), who(of) {}
  stream& who;
};

/// What a stream needs only while something is unsent or held back; from a free list of its core.
struct stream_traffic {
  chain queue;                         // accepted, not yet handed to the kernel
  chain flight;                        // read by the send that is under way
  chain held;                          // received while reading is paused
  std::unique_ptr<block_wait> hunger;  // while starved
  std::uint64_t expecting = 0;         // body bytes still to come, for reading into large blocks
  std::unique_ptr<endpoint> target;    // while connecting: the kernel may read it
  std::uint64_t progress_mark = 0;     // what the kernel said last of how far the peer has come
  std::uint32_t progress_ms = 0;       // and when that last changed
  int warm_file = -1;                  // this part of a file was read ahead: it is sent without asking again
  std::uint64_t warm_from = 0;
  std::uint64_t warm_to = 0;
  route* way = nullptr;              // where it leads, once a zero-copy send was thought of
  std::int64_t pinned = -1;          // the flight is the zero-copy send of that id
  std::uint32_t offers_refused = 0;  // by a full socket, one behind the other
  std::uint32_t offers_to_skip = 0;  // before it is asked again
  stream_traffic* next = nullptr;
};

struct listening {
  int fd = -1;
  std::unique_ptr<protocol> speaks;
  bool accepting = false;           // an accept is with the kernel
  bool starved = false;             // no descriptors were left
  std::uint32_t complained_ms = 0;  // when that was logged last; 0: never
};

struct core_state {
  explicit core_state(core& of) : streams(of), watches(of) {}

  backend_counters io_counters;
  std::unique_ptr<pool> blocks;
  std::unique_ptr<backend> io;
  stream_table streams;
  watch_set watches;
  std::vector<listening> listeners;
  mailbox mail;
  std::atomic<bool> sleeping{false};

  std::vector<completion> completions;
  std::vector<stream*> dirty;  // something to send, to deliver or to arm at the end of the turn
  std::vector<stream*> ended;  // closed() is owed
  std::unordered_map<stream*, callback<void()>> followed;  // whom else their ends are told to
  large_receives large;                                    // who waits for its turn
  bool told_of_copies = false;                             // that sendfile is refused
  bool blocks_owed = false;  // somebody who waits for a block can be served by another turn
  stream_traffic* free_traffic = nullptr;

  bool draining = false;
  std::uint32_t drain_due_ms = 0;

  // Tries again to accept after descriptors ran out: they may be freed by somebody else in the process.
  struct retry_timer final : timer {
    bool due = false;
    void expire() override { due = true; }
  } accept_retry;

  // Looks after idle memory while a core sleeps, until nothing more goes back.
  struct memory_timer final : timer {
    bool due = false;
    void expire() override { due = true; }
  } memory_look;
  std::uint64_t memory_looked_ms = 0;
  std::size_t memory_committed = 0;  // when it was last looked at
  std::uint32_t memory_still = 0;    // looks since that changed
  bool memory_more = false;          // the last look stopped at its bounds

  // Ends a wait when the time for draining is over.
  struct wake_timer final : timer {
  } drain_wake;

  tier_counters tiers;
  zero_copy_sends zero_copy{tiers};
  counter cold_reads;
  counter connections, accepted, bytes_in, bytes_out, turns, sends, parked;
};

}  // namespace catenet
