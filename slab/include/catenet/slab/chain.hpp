// A chain: a list of segments with a byte count. The only currency between modules.
//
//   chain{bytes} ─▶ [head block 240 B] ─▶ [body block 64 KiB] ─▶ [body block 12 KiB]
//
// Moving, appending and handing over are O(1) and copy nothing. Sharing counts references at home without
// atomics. A chain is used by one thread at a time; it may be moved to another thread (through a mailbox,
// which orders the memory), where it can be read, split, shared and dropped: what belongs to another pool
// travels home by itself.
//
// Errors: what needs a block or a segment fails when the slab is at its capacity or the thread has no pool
// (it is no core's). It then returns false (or an empty result) and leaves the chain as it was.
#pragma once

#include <catenet/slab/lease.hpp>
#include <catenet/slab/pool.hpp>
#include <catenet/slab/segment.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

struct iovec;

namespace catenet {

/// Bytes below which copying into a tail is better than linking (architecture.md, Slab).
inline constexpr std::size_t copy_bytes_max = 512;

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class chain;

/// Room at the end of a chain, to be written and then committed. What is not committed goes back when this
/// ends. The chain must not be touched in between.
class reservation {
 public:
  reservation() = default;
  [[nodiscard]] std::span<std::byte> bytes() const { return room_; }
  explicit operator bool() const { return !room_.empty(); }
  /// Adds the first `written` bytes of the room to the chain and ends the reservation.
  void commit(std::size_t written);

 private:
  friend class chain;
  reservation(chain& into, std::span<std::byte> room) : into_(&into), room_(room) {}
  reservation(chain& into, lease&& fresh) : into_(&into), fresh_(std::move(fresh)), room_(fresh_.bytes()) {}

  chain* into_ = nullptr;
  lease fresh_;
  std::span<std::byte> room_;
};

/// Invariants: bytes() = Σ segment lengths; no segment is empty; tail is the last segment.
class chain {
 public:
  chain() = default;
  chain(chain&& other) noexcept
      : head_(std::exchange(other.head_, nullptr)),
        tail_(std::exchange(other.tail_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  chain& operator=(chain&& other) noexcept {
    if (this != &other) {
      clear();
      head_ = std::exchange(other.head_, nullptr);
      tail_ = std::exchange(other.tail_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  ~chain() {
    if (head_ != nullptr) drop_all(head_);
  }

  /// The first `length` bytes of a leased block, from `offset` on. length must not be 0.
  chain(lease&& from, std::size_t offset, std::size_t length);
  /// A copy of bytes; empty when the slab has no room for all of them, or the thread no pool.
  static chain copy_of(std::span<const std::byte> bytes);
  static chain copy_of(std::string_view text) { return copy_of(as_bytes(text)); }
  /// A copy of what iovecs name.
  static chain copy_of(std::span<const iovec> pieces);
  /// Fresh blocks for `bytes` bytes of whatever content, in a mix of classes that wastes at most a quarter.
  static chain of_size(std::uint64_t bytes);

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] bool empty() const { return bytes_ == 0; }
  explicit operator bool() const { return bytes_ != 0; }
  /// O(segments).
  [[nodiscard]] std::size_t segment_count() const;

  /// Links the other chain's segments behind this one's. O(1).
  void append(chain&& other) {
    if (other.head_ == nullptr) return;
    (head_ == nullptr ? head_ : tail_->next) = other.head_;
    tail_ = std::exchange(other.tail_, nullptr);
    bytes_ += std::exchange(other.bytes_, 0);
    other.head_ = nullptr;
  }
  void prepend(chain&& other);

  /// Copies bytes behind the end: into the last block's free room where nobody else refers to that block,
  /// then into fresh blocks. False, and nothing changed, when the slab has none.
  [[nodiscard]] bool append_copy(std::span<const std::byte> bytes);
  [[nodiscard]] bool append_copy(std::string_view text) { return append_copy(as_bytes(text)); }

  /// Copies bytes before the beginning: into the first block's headroom where nobody else refers to that
  /// block, else into fresh blocks, which keep what they do not need as headroom. False, and nothing changed,
  /// when the slab has none.
  [[nodiscard]] bool prepend_copy(std::span<const std::byte> bytes);
  [[nodiscard]] bool prepend_copy(std::string_view text) { return prepend_copy(as_bytes(text)); }
  /// Bytes that prepend_copy can put before the beginning without a block.
  [[nodiscard]] std::size_t headroom() const;

  /// Makes the first n bytes (at most the largest class) one piece, copying what is not yet; front() has them
  /// then. False, and nothing changed, when there are fewer, a file region is among them, or the slab has no
  /// block.
  [[nodiscard]] bool gather(std::size_t n);

  /// Refers to the text of a string, which it takes over. False, and `text` as it was, when memory ran out.
  [[nodiscard]] bool append_string(std::string&& text);

  /// Refers to memory that lives as long as the process.
  [[nodiscard]] bool append_constant(std::string_view text);

  /// Refers to foreign memory; `release` is called once, on this thread's pool, when the last view of it
  /// ends. On failure (false) it is not called.
  [[nodiscard]] bool append_foreign(void* data, std::size_t size,
                                    void (*release)(void* context, void* data, std::size_t size),
                                    void* context);

  /// Refers to `length` bytes of an open file from `offset` on. With `owned` the descriptor is closed when
  /// the last region that shares it ends (and at once when this fails).
  [[nodiscard]] bool append_file(int fd, std::uint64_t offset, std::uint64_t length, bool owned);

  /// Room for writing behind the end: at least `least` contiguous bytes (at most the largest class), more
  /// when the tail has more. Empty when the slab has no block.
  [[nodiscard]] reservation reserve(std::size_t least);

  /// Lengthens the first segment by the n bytes in front of it in its block. The caller answers for it that
  /// they are in that block and nobody else's: a header that it consumed there, say, where its own is to
  /// stand.
  void grow_front(std::size_t n) {
    head_->data -= n;
    head_->length += static_cast<std::uint32_t>(n);
    bytes_ += n;
  }

  /// Drops the first n bytes (all, when there are fewer).
  void consume(std::uint64_t n);

  /// Cuts off and returns the first n bytes (all, when there are fewer). Shares at most one block.
  /// std::nullopt, and nothing changed, when no segment for that block was to be had.
  [[nodiscard]] std::optional<chain> split(std::uint64_t n);

  /// A second chain that refers to the same bytes; the range is cut to what there is. Not const: bytes of
  /// another pool are put behind a count of this one first. std::nullopt when segments ran out.
  [[nodiscard]] std::optional<chain> share() {
    // One block whose home is here is by far the most common; the rest is out of line.
    if (head_ != nullptr && head_ == tail_)
      if (segment* view = second_view()) [[likely]]
        return std::optional<chain>{chain{view}};
    return share(0, bytes_);
  }
  [[nodiscard]] std::optional<chain> share(std::uint64_t offset, std::uint64_t length) {
    std::optional<chain> twin{std::in_place};
    if (!share_into(*twin, offset, length)) twin.reset();
    return twin;
  }

  /// Copies views that pin much more than they use (less than a quarter of a block) into smaller blocks, for
  /// what outlives the turn. What cannot be copied stays as it is.
  void compact();

  /// The first segment's bytes; empty when the chain is, or begins with a file region.
  [[nodiscard]] std::span<const std::byte> front() const {
    return head_ == nullptr || head_->kind == segment_kind::file
               ? std::span<const std::byte>{}
               : std::span<const std::byte>{head_->data, head_->length};
  }

  /// Copies up to out.size() bytes from `offset` on; returns how many. File regions end it.
  std::size_t copy_to(std::span<std::byte> out, std::uint64_t offset = 0) const;
  [[nodiscard]] std::string to_string() const;

  /// Fills iovecs with the memory from the front on, at most `bytes_max` bytes and up to the first file
  /// region.
  struct exported {
    std::size_t count = 0;
    std::uint64_t bytes = 0;
  };
  exported to_iovecs(std::span<iovec> out, std::uint64_t bytes_max = ~std::uint64_t{0}) const;

  /// Marks every block here as read by a send that is under way, and back. A block so marked is not writable.
  void mark_in_flight(bool on);

  void clear() {
    if (head_ == nullptr) return;
    tail_ = nullptr;
    bytes_ = 0;
    drop_all(std::exchange(head_, nullptr));
  }

  /// First and last segment: for those who build on chains.
  [[nodiscard]] segment* head() const { return head_; }
  [[nodiscard]] segment* tail() const { return tail_; }
  /// Links one segment (length not 0, its reference counted) behind the end.
  void append_segment(segment* s) {
    s->next = nullptr;
    (head_ == nullptr ? head_ : tail_->next) = s;
    tail_ = s;
    bytes_ += s->length;
  }

  /// Iterates the segments' bytes as spans (forward; a file region shows as an empty span).
  class iterator {
   public:
    using value_type = std::span<const std::byte>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::forward_iterator_tag;
    iterator() = default;
    explicit iterator(segment* s) : at_(s) {}
    value_type operator*() const {
      return at_->kind == segment_kind::file ? value_type{} : value_type{at_->data, at_->length};
    }
    iterator& operator++() {
      at_ = at_->next;
      return *this;
    }
    iterator operator++(int) {
      iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const iterator&) const = default;

   private:
    segment* at_ = nullptr;
  };
  [[nodiscard]] iterator begin() const { return iterator{head_}; }
  [[nodiscard]] iterator end() const { return {}; }

  /// Checks the invariants; returns what is broken, or null. For tests.
  [[nodiscard]] const char* validate() const;

 private:
  friend class reservation;
  void grow_tail(std::size_t by);
  void grow_head(std::span<const std::byte> bytes);
  static void drop_all(segment* s) {
    if (pool* p = pool::current(); p != nullptr && s->next == nullptr) [[likely]]
      p->drop(s);
    else
      drop_many(s);
  }
  static void drop_many(segment* s);
  explicit chain(segment* only) : head_(only), tail_(only), bytes_(only->length) {}
  segment* second_view();
  bool share_into(chain& twin, std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] std::size_t tail_room() const;

  segment* head_ = nullptr;
  segment* tail_ = nullptr;
  std::uint64_t bytes_ = 0;
};

// One more segment for the same bytes as the only one; null when that is no block of this pool, or memory ran
// out.
inline segment* chain::second_view() {
  pool* p = pool::current();
  segment* s = head_;
  if (p == nullptr || s->kind != segment_kind::block || s->home != p->id()) return nullptr;
  block* const b = s->blk;
  segment* const view = p->segment_for(b);
  if (view == nullptr) return nullptr;
  ++b->refs;
  if (s->exclusive) s->exclusive = false;  // after the first share a look is cheaper than a store
  view->data = s->data;
  view->length = s->length;
  view->next = nullptr;
  return view;
}

}  // namespace catenet
