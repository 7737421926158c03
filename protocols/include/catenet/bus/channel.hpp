// A channel: a bounded queue of packets to one thread, from one other or from many, with waiting on both
// ends.
//
//   sender ─ send() ─▶ [ ring of send_packets ] ─ receive() ─▶ receiver
//     ▲ waits while it is full                      waits while it is empty ▲
//
// Waking is batched: a receiver that sleeps is rung once however much comes; senders that wait are rung once
// half of the ring is free. A sender that is told `full` holds the packet still: that is the back-pressure.
#pragma once

#include <catenet/bus/handshake.hpp>
#include <catenet/bus/packet.hpp>
#include <catenet/bus/ring.hpp>
#include <catenet/bus/station.hpp>

#include <boost/intrusive/list.hpp>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace catenet::bus {

enum class producers : std::uint8_t { one, many };

/// What became of a push.
enum class push_result : std::uint8_t {
  sent,
  full,    ///< refused this time; the packet stays the caller's
  closed,  ///< refused for good, the packet is the caller's still: the receiver has ended
};

namespace detail {

struct channel_state {
  channel_state(std::size_t capacity, producers who);

  bool push(send_packet& p);
  bool pop(send_packet& p);
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::size_t capacity() const;

  /// After a push: rings the receiver if it sleeps. The fence: either it is seen to sleep, or it sees the
  /// packet.
  void wake_receiver() {
    if (receiver_waits.raised_by_now()) [[unlikely]]
      ring_receiver();
  }
  /// After a pop, which needs no fence: who was missed is seen by the next pop, or by the one that finds
  /// nothing.
  void wake_senders() {
    if (senders_wait.raised()) [[unlikely]]
      ring_senders(false);
  }
  void found_empty() {
    if (senders_wait.raised_by_now()) [[unlikely]]
      ring_senders(false);
  }
  /// Every sender has ended, and nothing is left. The receiver.
  [[nodiscard]] bool ended() const;
  void ring_receiver();
  void ring_senders(bool all);

  std::variant<spsc_ring<send_packet>, mpsc_ring<send_packet>> ring;
  std::atomic<std::uint32_t> senders{1};
  std::atomic<bool> receiver_gone{false};
  alignas(64) wait_flag<> receiver_waits;
  wait_flag<> senders_wait;
  std::mutex mutex;
  std::shared_ptr<bell> receiver_bell;              ///< guarded by mutex
  std::vector<std::shared_ptr<bell>> sender_bells;  ///< of those who wait; guarded by mutex
};

/// A coroutine that waits at an end of a channel, with the packet that it sends or is given. Ending it
/// withdraws it in O(1).
struct channel_waiter
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  std::coroutine_handle<> who;
  send_packet packet;
  bool done = false;  // sent, or received
};

/// What an end of a channel has on the thread where somebody waited: a bell and who waits. First come, first
/// served.
class channel_end {
 public:
  channel_end(channel_state& of, bool sends);
  ~channel_end();
  channel_end(const channel_end&) = delete;
  channel_end& operator=(const channel_end&) = delete;

  /// Puts a coroutine behind those who wait. False when it need not wait after all.
  [[nodiscard]] bool wait(channel_waiter& who);
  [[nodiscard]] bool someone_waits() const { return !waiting_.empty(); }
  /// Asks for a ring when there is room, or a packet. Whoever calls this looks once more before it sleeps.
  void ask();

 private:
  void serve();
  bool attempt(channel_waiter& w);
  bool attempt_or_ask(channel_waiter& w);

  channel_state& state_;
  bool sends_;
  bool serving_ = false;
  std::shared_ptr<bell> ring_;
  boost::intrusive::list<channel_waiter, boost::intrusive::constant_time_size<false>> waiting_;
};

}  // namespace detail

/// The sending end. Used on one thread at a time; may be moved to another while nobody waits on it. The
/// receiver sees the end once the last sender has ended and all is received.
class sender {
 public:
  sender() = default;
  explicit sender(std::shared_ptr<detail::channel_state> state) : state_(std::move(state)) {}
  sender(sender&& other) noexcept = default;
  sender& operator=(sender&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(end_, other.end_);
    return *this;
  }
  ~sender() { close(); }

  explicit operator bool() const { return state_ != nullptr; }
  /// Another sending end for another thread. Only of a channel with many producers.
  [[nodiscard]] sender another() const;

  /// Never waits.
  [[nodiscard]] push_result try_send(send_packet& p) {
    if (state_->receiver_gone.load(std::memory_order_relaxed)) [[unlikely]]
      return push_result::closed;
    if (end_ != nullptr && end_->someone_waits()) return push_result::full;  // they were first
    if (!state_->push(p)) return push_result::full;
    state_->wake_receiver();
    return push_result::sent;
  }

  /// co_await tx.send(p): true once it was sent, false when the receiver has ended. Waits while the channel
  /// is full, first come first served at this end. Needs a station.
  class [[nodiscard]] sending : detail::channel_waiter {
   public:
    sending(sender& by, send_packet&& p) : by_(by) { packet = std::move(p); }
    bool await_ready() {
      const push_result now = by_.try_send(packet);
      done = now == push_result::sent;
      return now != push_result::full;
    }
    bool await_suspend(std::coroutine_handle<> h) {
      who = h;
      return by_.end().wait(*this);
    }
    bool await_resume() const { return done; }

   private:
    sender& by_;
  };
  sending send(send_packet&& p) { return {*this, std::move(p)}; }

  /// For a plain thread: turns its station until the packet was sent, the receiver has ended, or the time is
  /// over.
  push_result send_for(send_packet& p, std::chrono::nanoseconds most);

  void close();

 private:
  detail::channel_end& end();

  std::shared_ptr<detail::channel_state> state_;
  std::unique_ptr<detail::channel_end> end_;  // made when somebody waits for the first time
};

/// The receiving end. Used on one thread at a time; may be moved to another while nobody waits on it.
class receiver {
 public:
  receiver() = default;
  explicit receiver(std::shared_ptr<detail::channel_state> state) : state_(std::move(state)) {}
  receiver(receiver&& other) noexcept = default;
  receiver& operator=(receiver&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(end_, other.end_);
    return *this;
  }
  ~receiver() { close(); }

  explicit operator bool() const { return state_ != nullptr; }
  /// About how many packets wait.
  [[nodiscard]] std::size_t size() const { return state_->size(); }

  /// Never waits. std::nullopt when there is nothing now.
  [[nodiscard]] std::optional<send_packet> try_receive() {
    std::optional<send_packet> got{std::in_place};
    if (state_->pop(*got)) {
      state_->wake_senders();
    } else {
      got.reset();
      state_->found_empty();
    }
    return got;
  }

  /// co_await rx.receive(): the next packet; std::nullopt once every sender has ended and all was received.
  /// Several coroutines are served first come first served. Needs a station.
  class [[nodiscard]] receiving : detail::channel_waiter {
   public:
    explicit receiving(receiver& by) : by_(by) {}
    bool await_ready() {
      if (by_.end_ != nullptr && by_.end_->someone_waits()) return false;  // they were first
      auto got = by_.try_receive();
      done = got.has_value();
      if (done) packet = std::move(*got);
      return done;
    }
    bool await_suspend(std::coroutine_handle<> h) {
      who = h;
      return by_.end().wait(*this);
    }
    std::optional<send_packet> await_resume() {
      return done ? std::optional{std::move(packet)} : std::nullopt;
    }

   private:
    receiver& by_;
  };
  receiving receive() { return receiving{*this}; }

  /// For a plain thread: turns its station until there is a packet (true), every sender has ended and nothing
  /// is left, or the time is over.
  bool wait_for(std::chrono::nanoseconds most);
  /// Every sender has ended, and nothing is left.
  [[nodiscard]] bool ended() const { return state_->ended(); }

  void close();

 private:
  detail::channel_end& end();

  std::shared_ptr<detail::channel_state> state_;
  std::unique_ptr<detail::channel_end> end_;
};

/// A channel for at least `capacity` packets.
[[nodiscard]] std::pair<sender, receiver> make_channel(std::size_t capacity, producers who);

}  // namespace catenet::bus
