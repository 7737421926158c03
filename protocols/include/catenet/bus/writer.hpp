// A writer: room for messages in blocks, written in place and handed to a flusher when committed.
//
//   slot s = w.try_reserve(60);   s.bytes() ← …   s.commit();      later: flusher.take() has it
//
// Slots may be committed and cancelled in any order, and on their thread at any time: a message counts from
// its commit, so one that is forgotten holds nobody up, only its block. A message may lie across blocks; a
// block's last byte is used.
//
// A writer has blocks of its own, or shares them with writers on other threads (shared_blocks): then their
// messages lie side by side in few blocks, and leave as few segments.
#pragma once

#include <catenet/bus/flusher.hpp>
#include <catenet/bus/packet.hpp>
#include <catenet/bus/space.hpp>
#include <catenet/bus/station.hpp>
#include <catenet/frame/format.hpp>
#include <catenet/slab/waiter.hpp>

#include <boost/intrusive/list.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace catenet::bus {

class writer;

struct writer_options {
  /// Put before each message; null for messages that tell their own length, or need none.
  const frame::format* format = nullptr;
  std::size_t block_bytes = 64_KiB;
  std::uint64_t message_bytes_max = 16_MiB;
};

/// Blocks that writers on many threads fill together, without a lock. Must outlive its writers.
class shared_blocks {
 public:
  shared_blocks() = default;
  ~shared_blocks();
  shared_blocks(const shared_blocks&) = delete;
  shared_blocks& operator=(const shared_blocks&) = delete;

 private:
  friend class writer;
  std::shared_ptr<detail::space_stock> stock_ = std::make_shared<detail::space_stock>();
  detail::shared_current<detail::space> current_;
};

namespace detail {

// A writer's hold on one space, and what is open in it. The writer's thread only.
struct grip {
  space* in = nullptr;
  std::uint32_t open = 0;    // pieces of slots that were neither committed nor cancelled
  bool left = false;         // the writer has gone on to another space
  bool home = false;         // this is the space's home
  anchor* mapped = nullptr;  // for packets, where it is not
};

struct slot_piece {
  grip* at = nullptr;
  std::uint32_t start = 0;
  std::uint32_t length = 0;
};

}  // namespace detail

/// Room for one message. Cancelled when it ends uncommitted. Used on the writer's thread; must not outlive
/// the writer.
class slot {
 public:
  slot() = default;
  slot(slot&& other) noexcept { take_over(other); }
  slot& operator=(slot&& other) noexcept {
    if (this != &other) {
      cancel();
      take_over(other);
    }
    return *this;
  }
  ~slot() { cancel(); }

  explicit operator bool() const { return of_ != nullptr; }
  /// Bytes of room for the message.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Whether bytes() is all of it.
  [[nodiscard]] bool contiguous() const { return rest_ == nullptr; }
  /// The room, or its first piece when it lies across blocks (possibly empty).
  [[nodiscard]] std::span<std::byte> bytes() const;
  /// Copies to `offset`; offset + from.size() must not exceed size().
  void put(std::uint64_t offset, std::span<const std::byte> from);
  /// Copies behind what write() has written before.
  void write(std::span<const std::byte> from) {
    put(written_, from);
    written_ += from.size();
  }
  void write(std::string_view text) { write(as_bytes(text)); }

  /// Hands the message to the flusher: all of it, or its first `length` bytes. Ends the slot.
  void commit() { commit(size_); }
  void commit(std::uint64_t length);
  /// The same, and the message (without its header) as a packet. std::nullopt when memory for that ran out;
  /// the message is committed all the same.
  std::optional<packet> commit_as_packet() { return commit_as_packet(size_); }
  std::optional<packet> commit_as_packet(std::uint64_t length);
  /// Gives the room back. Ends the slot.
  void cancel();

 private:
  friend class writer;
  using pieces = std::vector<detail::slot_piece>;
  void take_over(slot& other) {
    of_ = std::exchange(other.of_, nullptr);
    first_ = other.first_;
    rest_ = std::move(other.rest_);
    header_ = other.header_;
    size_ = other.size_;
    written_ = other.written_;
  }

  writer* of_ = nullptr;
  detail::slot_piece first_;
  std::unique_ptr<pieces> rest_;
  std::uint32_t header_ = 0;  // bytes before the message, for its header
  std::uint64_t size_ = 0;
  std::uint64_t written_ = 0;
};

/// What co_await writer.reserve(n) waits in. Ending it withdraws the request in O(1).
class [[nodiscard]] pending_slot
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  pending_slot(writer& of, std::uint64_t bytes) : of_(of), bytes_(bytes) {}
  bool await_ready();
  void await_suspend(std::coroutine_handle<> who);
  slot await_resume() { return std::move(got_); }

 private:
  friend class writer;
  writer& of_;
  std::uint64_t bytes_;
  slot got_;
  std::coroutine_handle<> who_;
};

/// Used on one thread, which has a pool; coroutines that wait need its station too. Must end before both, and
/// after its slots. It keeps one block while it is idle.
class writer final : turn_end {
 public:
  explicit writer(flusher& to, writer_options options = {});
  writer(flusher& to, shared_blocks& in, writer_options options = {});
  ~writer();
  writer(const writer&) = delete;
  writer& operator=(const writer&) = delete;

  /// Room for a message of `bytes` bytes. Empty, and nothing taken, when there is no block, when others wait
  /// for one already, when the message is over the limit or longer than the format can tell, or when the
  /// flusher has ended.
  [[nodiscard]] slot try_reserve(std::uint64_t bytes) {
    slot made;
    if (waiting_.empty()) [[likely]]
      make(bytes, made);
    return made;
  }

  /// co_await w.reserve(n): the same, but waits until there are blocks, first come first served. The slot is
  /// empty only when waiting is of no use: the message is over the limit, or the flusher has ended.
  pending_slot reserve(std::uint64_t bytes) { return {*this, bytes}; }

  /// Reserves, copies and commits. False when there is no room now.
  [[nodiscard]] bool write(std::span<const std::byte> message) {
    slot s = try_reserve(message.size());
    if (!s) return false;
    s.write(message);
    s.commit();
    return true;
  }
  [[nodiscard]] bool write(std::string_view text) { return write(as_bytes(text)); }

  /// Tells the flusher now of all that was committed.
  void flush();

  /// How many coroutines wait. O(n).
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  friend class slot;
  friend class pending_slot;

  bool make(std::uint64_t bytes, slot& into);
  bool make_across(std::uint64_t whole, slot& into);
  bool gather_blocks(std::uint64_t bytes);
  [[nodiscard]] std::uint32_t header_bytes(std::uint64_t message_bytes) const;
  [[nodiscard]] std::uint64_t room_here() const;
  detail::slot_piece claim(std::uint64_t most);
  bool go_on();
  bool go_on_shared();
  bool hold_on(detail::space* to);
  void leave();
  void finish_leaving(detail::grip* g);
  void open_piece(const detail::slot_piece& p);
  void close_piece(const detail::slot_piece& p);
  void give_back(const detail::slot_piece& p, std::uint32_t used);
  void committed(std::uint64_t bytes);
  [[nodiscard]] bool impossible(std::uint64_t bytes) const;
  void at_turn_end() override;
  void serve();
  struct need {
    size_class cls;
    bool several;
  };
  [[nodiscard]] need needed() const;
  void ask_for_block();
  void back_off();
  static void block_came(waiter& asked, lease block);
  template <class F>
  static void for_parts(const slot& of, std::uint64_t begin, std::uint64_t end, F&& f);
  static void scatter(const slot& into, std::uint64_t offset, std::span<const std::byte> from);
  void withdraw(slot& s);
  void publish(slot& s, std::uint64_t length);
  static std::optional<packet> packet_of(const slot& s, std::uint64_t length);
  static std::optional<packet> packet_of(detail::grip& g, std::uint32_t start, std::uint32_t length);

  std::shared_ptr<detail::flusher_state> to_;
  std::shared_ptr<detail::writer_log> log_;
  shared_blocks* shared_ = nullptr;
  std::shared_ptr<detail::space_stock> stock_;
  writer_options options_;
  flush_policy policy_;             // 0 replaced by what is never reached
  std::uint32_t fixed_header_ = 0;  // bytes, where every header is as long
  bool varying_header_ = false;
  detail::grip* grip_ = nullptr;  // on the space that is being filled
  std::uint32_t cursor_ = 0;      // handed out of a space of our own; a shared one counts in its word
  std::uint32_t count_ = 0;       // committed since the flusher was told last
  std::uint64_t bytes_ = 0;
  std::size_t owed_ = 0;      // log entries that open pieces and grips may come to need
  std::vector<lease> spare_;  // blocks for the reservation that is being made
  station* station_ = nullptr;
  boost::intrusive::list<pending_slot, boost::intrusive::constant_time_size<false>> waiting_;
  struct request : waiter {
    request(size_class c, writer& w) : waiter(c, priority::in_process, &writer::block_came), by(w) {}
    writer& by;
  };
  std::optional<request> request_;  // for the first who waits
  std::unique_ptr<alarm> retry_;    // while somebody waits
};

}  // namespace catenet::bus
