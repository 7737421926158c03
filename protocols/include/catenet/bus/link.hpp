// A link: messages to and from another process, over TCP or a UNIX socket, framed.
//
//   try_send(chain) ─▶ queue (framed) ─ once a turn ─▶ stream ─▶ kernel ─▶ peer's framer ─▶ message(packet)
//                      └──── survives ──────┘         └ lost at a disconnect, and counted
//
// The end that dials connects again, with growing pauses, until it is closed. Messages arrive in the order in
// which they were accepted, each once at most: what was handed to a connection is never sent again, as it may
// have arrived. What still waits in the queue then goes to the next connection.
//
// Everything that is accepted is accounted for: offered = sent + dropped + lost + what is unsent now.
#pragma once

#include <catenet/bus/packet.hpp>
#include <catenet/engine/callback.hpp>
#include <catenet/engine/core.hpp>
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/error.hpp>
#include <catenet/frame/format.hpp>
#include <catenet/slab/chain.hpp>

#include <boost/intrusive/list.hpp>

#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

namespace catenet {
class engine;
}

namespace catenet::bus {

/// What happens to a message for which the budget has no room.
enum class overflow : std::uint8_t {
  refuse,       ///< try_send() says `full` and the message stays the caller's; send() waits: back-pressure
  drop_newest,  ///< the message is dropped and counted
  drop_oldest,  ///< those that wait longest, and were not handed to the connection yet, are dropped and
                ///< counted
};

struct link_options {
  const frame::format* format =
      &frame::length_u32;                    ///< both ends have to use the same; must outlive the link
  std::uint64_t message_bytes_max = 16_MiB;  ///< longest message, in both directions
  /// Bytes of frames (header and message) accepted and not yet taken by the kernel; never exceeded.
  std::uint64_t budget_bytes = 16_MiB;
  overflow when_full = overflow::refuse;
  std::uint32_t connect_ms = 10'000;  ///< until a connection stands
  std::uint32_t retry_ms_min = 50;  ///< from a connection's end to the next attempt; doubled at each failure
  std::uint32_t retry_ms_max = 5'000;
};

/// What became of a message that was to be sent.
enum class link_result : std::uint8_t {
  accepted,   ///< counted against the budget until the kernel has taken it
  dropped,    ///< there was no room, and the policy is drop_newest
  full,       ///< there is no room now, or others wait for it: the message is the caller's still
  too_long,   ///< over message_bytes_max, the format or the whole budget: the message is the caller's still
  malformed,  ///< try_send_framed(): not whole frames of the link's format; the chain is the caller's still
  no_memory,  ///< no block or segment for the header: the message is the caller's still
  over,       ///< the link is closed or has ended: the message is the caller's still
};
[[nodiscard]] std::string_view text(link_result r);

/// Counts since the link was made. Messages, and bytes of their frames where nothing else is said.
struct link_statistics {
  std::uint64_t offered_messages = 0, offered_bytes = 0;  ///< accepted, or dropped at once
  std::uint64_t sent_messages = 0, sent_bytes = 0;        ///< taken by the kernel in full
  std::uint64_t dropped_messages = 0, dropped_bytes = 0;  ///< by the policy
  /// Handed to a connection that ended before the kernel was seen to have taken them (so some may have
  /// arrived), or waiting when the link ended. What the kernel had taken and could not deliver nobody knows.
  std::uint64_t lost_messages = 0, lost_bytes = 0;
  std::uint64_t unsent_messages = 0, unsent_bytes = 0;  ///< now
  std::uint64_t unsent_bytes_max = 0;                   ///< the most there ever was; at most the budget
  std::uint64_t refused_messages = 0;                   ///< times that try_send() said `full`
  std::uint64_t received_messages = 0;
  std::uint64_t received_bytes = 0;  ///< without headers
  std::uint64_t cut_bytes = 0;       ///< received, and not delivered when the connection ended
  std::uint64_t connects = 0, connect_failures = 0, disconnects = 0;
};

/// What a link tells, on its core's thread, from the loop. Any may be empty. In each the link may be closed
/// and ended.
struct link_events {
  callback<void(packet&&)> message = {};
  callback<void()> up = {};  ///< a connection stands
  callback<void(const error&)> down =
      {};  ///< it ended, or could not be made; a link that dials will try again
  /// The end of the link, once: an error when the peer sent what is no frame, or (of a link that was
  /// accepted) the connection failed; empty after close(), or when the peer closed.
  callback<void(const error&)> over = {};
};

namespace detail {

/// A coroutine that waits for room.
struct link_waiter
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  std::coroutine_handle<> who;
  chain message;
  link_result result = link_result::full;
};

class link_state;

}  // namespace detail

/// Lives on one core and is used on its thread only; it must end before the engine. Ending it closes the
/// connection: what was handed over is still sent, what waits is dropped, and nothing more is told.
/// Coroutines that wait on it have to end before it, or the link be closed first.
class link {
 public:
  link() = default;
  /// Dials `to`, now and whenever the connection ends, until close().
  link(core& on, const endpoint& to, link_options how, link_events tell);
  explicit link(std::shared_ptr<detail::link_state> state) : state_(std::move(state)) {}
  link(link&& other) noexcept = default;
  link& operator=(link&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~link();

  explicit operator bool() const { return state_ != nullptr; }
  /// Replaces what is told; for a link that was accepted, at once when it is given.
  void set_events(link_events tell);

  /// A message. Its bytes are linked, not copied, from 513 on. Never waits.
  [[nodiscard]] link_result try_send(chain&& message);
  /// Whole frames in the link's format, as a flusher gives them: accepted or refused together, not copied.
  [[nodiscard]] link_result try_send_framed(chain&& frames);

  /// co_await l.send(m): waits while the link is full, first come first served, also while it is not
  /// connected. Ending the coroutine withdraws it in O(1).
  class [[nodiscard]] sending : detail::link_waiter {
   public:
    sending(link& by, chain&& m) : by_(by) { message = std::move(m); }
    bool await_ready() {
      result = by_.try_send(std::move(message));
      return result != link_result::full;
    }
    void await_suspend(std::coroutine_handle<> h) {
      who = h;
      by_.wait(*this);
    }
    link_result await_resume() const { return result; }

   private:
    link& by_;
  };
  sending send(chain&& message) { return {*this, std::move(message)}; }

  /// Stops and resumes delivering, and reading: the peer then fills its own budget.
  void pause();
  void resume();

  /// Sends what was accepted, says FIN and ends; without a connection it ends at once. Nothing more is
  /// accepted.
  void close();

  [[nodiscard]] bool connected() const;
  [[nodiscard]] link_statistics statistics() const;
  /// Who is at the other end; empty while there is no connection.
  [[nodiscard]] endpoint peer() const;

 private:
  void wait(detail::link_waiter& who);
  std::shared_ptr<detail::link_state> state_;
};

/// Listens for links, on every core of an engine, before it runs. `opened` is given each one on its core's
/// thread, keeps it (or it ends) and sets its events; it may be called on several cores at once. A link that
/// was accepted ends with its connection.
error accept_links(engine& net, std::string_view where, link_options how,
                   std::function<void(core&, link&&)> opened, endpoint* bound = nullptr);

}  // namespace catenet::bus
