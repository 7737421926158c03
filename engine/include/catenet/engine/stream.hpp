// A stream: a connected socket with an outgoing chain. It lives on one core and takes 72 bytes while it is
// idle.
//
//             send(chain) ─▶ queue ─(end of the turn)─▶ flight ─▶ one send to the kernel, whole chain at once
//                                                        │ at its completion every block goes home
//   open ─ close() ─▶ finishing ─ all sent ─▶ lingering (FIN sent, input discarded, timer) ─▶ winding down ─▶
//   gone
//     └─── abort(), reset by the peer, linger time over ────────────────────────────────────────▶ ┘
//   winding down: cancel what the kernel still has, wait for every terminal completion, close the descriptor
//
// A quiet stream is parked: its receive is ended, a one-shot poll stands in its place, and it holds no block.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/engine/handle.hpp>
#include <catenet/engine/tiers.hpp>
#include <catenet/engine/timer.hpp>
#include <catenet/slab/chain.hpp>

#include <cstdint>

namespace catenet {

class core;
class endpoint;
class protocol;
struct completion;
enum class operation : std::uint8_t;
struct stream_traffic;

/// What became of a send.
enum class send_result : std::uint8_t {
  sent,        ///< accepted, and below the high watermark
  queued,      ///< accepted, but more than the high watermark waits: hold back until protocol::writable()
  over_limit,  ///< refused, the chain is as it was: more than the limit waits
  gone,        ///< refused: the stream is closed or closing
};

/// How a stream ended.
struct stream_end {
  /// Why, as an errno; 0: in good order, by close(). ECONNABORTED: abort() was called. ECONNRESET: the
  /// peer's reset. ETIMEDOUT: the peer took nothing for too long. ENODATA: a file was shorter than its
  /// region. Else what the kernel said.
  int error = 0;
  /// Bytes accepted by send() which the kernel is not known to have taken: the last ones, so that a transfer
  /// can be resumed where they begin. What it took may still not have reached the peer.
  std::uint64_t unsent = 0;
};

class stream final : timer {
 public:
  stream() = default;

  /// Queues a chain (memory and file regions); everything queued within one turn of the loop leaves as one
  /// send.
  send_result send(chain&& bytes);
  /// Asks for protocol::writable() as if send() had said `queued`, where something is unsent: for those who
  /// hold more back themselves.
  void want_writable() { flags_ |= flag_above; }
  /// Offers what is queued to the kernel at once, as far as the socket takes it, instead of at the end of the
  /// turn: for those who would drop something because too much waits. True when nothing is unsent any more.
  /// A socket that was full is asked ever more seldom until it has room. Regions of files do not go out here.
  bool offer();
  /// Bytes accepted and not yet taken by the kernel.
  [[nodiscard]] std::uint64_t unsent() const;
  /// In protocol::closed(): how it ended.
  [[nodiscard]] stream_end end() const;

  /// Stops and resumes reading. What the kernel had delivered before the pause took hold is kept and handed
  /// over at resume().
  void pause();
  void resume();
  [[nodiscard]] bool paused() const { return (flags_ & flag_paused) != 0; }

  /// A hint that `bytes` of one body follow: they may be read into large blocks. A lying hint costs nothing:
  /// blocks are taken when bytes come. 0 takes it back.
  void expect(std::uint64_t bytes);

  /// Finishes sending, says FIN, discards what still comes for a while, closes. Further sends are `gone`.
  void close();
  /// Ends the connection now, with a reset.
  void abort();
  /// core::connect() made it, and the connection does not stand yet.
  [[nodiscard]] bool connecting() const { return (flags_ & flag_connecting) != 0; }
  [[nodiscard]] bool closing() const { return (flags_ & (flag_closing | flag_dead)) != 0; }

  /// One deadline a stream: protocol::expired() is called once it passes. Setting a later one costs a store.
  /// It also bounds how long close() may take to send the rest. Once our FIN is out the linger time stands in
  /// its place.
  void set_deadline(std::uint32_t delay_ms);
  void clear_deadline() {
    if ((flags_ & flag_lingering) == 0) flags_ &= ~flag_deadline;
  }

  /// Who is told of this stream, and that one's state for it. A new owner is told, at the end of the turn, of
  /// a FIN that came before, whether the former one was or not.
  [[nodiscard]] protocol* owner_protocol() const { return protocol_; }
  void hand_to(protocol& p, void* session);
  /// Calls f right behind protocol::closed(), whoever owns the stream then: for what lasts as long as the
  /// connection does. One a stream.
  void on_end(callback<void()> f);
  [[nodiscard]] void* session() const { return session_; }
  void set_session(void* s) { session_ = s; }

  [[nodiscard]] core& home() const;
  [[nodiscard]] handle id() const;
  /// Asks the kernel; an empty endpoint when the peer is gone.
  [[nodiscard]] endpoint peer() const;
  [[nodiscard]] endpoint local() const;
  [[nodiscard]] int descriptor() const { return fd_; }

 private:
  friend class core;
  friend class stream_table;

  void expire() override;

  // What the core tells it, once a completion or the end of the turn is there.
  void start(int fd, protocol& p);
  void start_connect(int fd, protocol& p, const endpoint& to, std::uint32_t timeout_ms);
  void on_connect(std::int32_t result);
  void on_receive(const completion& c);
  void on_poll(std::int32_t result);
  void on_send(std::int32_t result);
  void on_writable(std::int32_t result);
  void on_warm(std::int32_t result);
  void on_closed();
  void starve();
  void on_block(lease block);
  void stop_starving();
  void on_cancel_missed();
  void flush();
  void tell_closed();

  void refuse(int code);
  [[nodiscard]] std::uint64_t missing() const;
  [[nodiscard]] bool may_receive() const;
  void arm(bool may_be_large = true);
  std::uint64_t arm_large();
  [[nodiscard]] operation receive_under_way() const;
  void judge_size(std::size_t bytes, bool was_wide);
  void arm_timer();
  void look_within(std::uint32_t delay_ms);
  void start_deadline(std::uint32_t delay_ms);
  [[nodiscard]] std::uint32_t patience_ms() const;
  void wait_parked();
  void stop_receive();
  void deliver(chain&& bytes);
  void end_of_input();
  void start_send();
  [[nodiscard]] std::uint64_t at_once(std::uint64_t bytes) const;
  void send_regions(std::uint64_t memory);
  std::int64_t send_memory(std::uint64_t bytes, bool more_follows);
  [[nodiscard]] std::uint64_t warm_part(int file, std::uint64_t offset, std::uint64_t length);
  void truncated();
  void copy_region(int refusal);
  void took(tier how, std::uint64_t bytes);
  void wait_for_room();
  void sent(bool full = false);
  bool tell_room();
  [[nodiscard]] bool stalled();
  [[nodiscard]] std::uint32_t stall_ms() const;
  void begin_linger();
  void give_up(int code);
  void wind_down(int code);
  void note_end(int code);
  void try_finish();
  stream_traffic& traffic();
  void release_traffic();
  [[nodiscard]] bool at_rest() const;
  [[nodiscard]] bool needs_no_traffic() const;
  [[nodiscard]] bool still_taken();
  void mark_dirty();
  void clear(std::uint32_t flags) { flags_ &= ~flags; }

  enum : std::uint32_t {
    flag_paused = 1 << 0,
    flag_receiving = 1 << 1,   // a receive is with the kernel
    flag_polling = 1 << 2,     // parked: a poll is with the kernel
    flag_sending = 1 << 3,     // a send (or a poll for writing) is with the kernel
    flag_cancelling = 1 << 4,  // the receive or poll was told to end
    flag_ended = 1 << 5,       // the peer's FIN was seen
    flag_closing = 1 << 6,     // close() was called
    flag_lingering = 1 << 7,   // our FIN is out
    flag_dead = 1 << 8,        // nothing more is told; winding down
    flag_untold = 1 << 9,      // closed() is still to be called
    flag_dirty = 1 << 10,      // on the core's list for the end of the turn
    flag_deadline = 1 << 11,
    flag_above = 1 << 12,      // above the high watermark: writable() is owed
    flag_closed_fd = 1 << 13,  // the descriptor's close is with the kernel
    flag_end_held = 1 << 14,   // FIN came while paused: told after what is held
    flag_starved = 1 << 15,    // waits for receive blocks
    flag_large = 1 << 16,      // the receive under way is into a large block
    flag_curious = 1 << 17,    // the next receive is for one block: its bytes may announce a body
    flag_queued = 1 << 18,     // waits for its turn to receive into a large block
    flag_wide = 1 << 19,       // the receive under way is into a wide block
    flag_bulky = 1 << 20,      // much comes at a time: the next receive is into a wide block
    one_full = 1 << 21,        // in a field of two bits: how many receives in a row have filled small blocks
    flag_full = 3 << 21,
    flag_connecting = 1 << 23,  // the connect is with the kernel
    flag_offered = 1 << 24,     // offer() brought something out: writable() may be owed
    flag_followed = 1 << 25,    // somebody is to be told of its end
  };
  // How a dead stream's end is kept in 64 bits: the errno, and below it what was unsent.
  static constexpr unsigned end_code_shift = 56;

  std::uint32_t generation_ = 0;  // in the tail padding of timer
  protocol* protocol_ = nullptr;
  void* session_ = nullptr;
  stream_traffic* traffic_ = nullptr;  // only while something is unsent or held back
  std::int32_t fd_ = -1;
  std::uint32_t active_ms_ = 0;    // when it was last heard of; once dead, half of its end
  std::uint32_t deadline_ms_ = 0;  // and the other half
  std::uint32_t flags_ = 0;
};

}  // namespace catenet
