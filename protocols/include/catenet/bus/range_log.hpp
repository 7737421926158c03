// A writer's log: which ranges of which spaces it has committed, in the order of the commits. One thread
// writes, another reads at any time, without the writer's help.
//
//   chunk:  [space A 0…5400][space B 0…64][space B 128…900 ◀ still growing]      published = 3
//
// A commit that follows on the one before only moves that range's end: writing in order costs one entry a
// block. Every append after the first is a plain store; nothing is a read-modify-write.
#pragma once

#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>

namespace catenet::bus::detail {

/// A template over the atomic, so that the interleaving checker can run it, over what a range lies in, and
/// over who allocates chunks: Memory::allocate(bytes) (null when memory ran out) and Memory::release(at).
template <class Space, class Memory, template <class> class Atomic = std::atomic, std::size_t PerChunk = 40>
class range_log {
 public:
  /// What the reader is told: bytes [start, end) of a space. `more`: the message goes on in the next piece,
  /// which is there too. With `left`, the writer will not use the space again and passes its hold on.
  struct piece {
    Space* in = nullptr;
    std::uint32_t start = 0;
    std::uint32_t end = 0;
    bool more = false;
    bool left = false;
  };

  range_log() = default;
  range_log(const range_log&) = delete;
  range_log& operator=(const range_log&) = delete;
  ~range_log() {
    while (head_ != nullptr) {
      chunk* next = head_->next;
      Memory::release(head_);
      head_ = next;
    }
  }

  // ---- the writer's side

  /// Makes room for so many entries ahead of need. False when memory ran out.
  bool make_room(std::size_t entries) {
    while (room_ < entries) {
      void* memory = Memory::allocate(sizeof(chunk));
      if (memory == nullptr) return false;
      auto* made = new (memory) chunk;
      if (last_ == nullptr) {
        tail_ = made;
        head_ = made;  // the reader looks at it only after the first entry was published
      } else {
        last_->next = made;
      }
      last_ = made;
      room_ += PerChunk;
    }
    return true;
  }
  [[nodiscard]] std::size_t room() const { return room_; }

  /// One message, or the last piece of one: grows the last range where it follows on. There must be room.
  void commit(Space* in, std::uint32_t start, std::uint32_t end) {
    if (growing_ != nullptr && growing_->in == in && grown_to_ == start) {
      growing_->end.store(end, std::memory_order_release);
      grown_to_ = end;
      return;
    }
    append({in, start, end, false, false});
    publish();
  }
  /// An entry of its own, not seen before publish().
  void append(const piece& p) {
    if (at_ == PerChunk) {
      tail_ = tail_->next;
      at_ = 0;
    }
    assert(room_ != 0);
    --room_;
    entry& e = tail_->entries[at_++];
    e.in = p.in;
    e.start = p.start;
    e.more = p.more;
    e.left = p.left;
    e.end.store(p.end, std::memory_order_relaxed);
    growing_ = p.left ? nullptr : &e;
    grown_to_ = p.end;
    ++written_;
  }
  void publish() { published_.store(written_, std::memory_order_release); }

  // ---- the reader's side

  /// How far the log reaches now; what peek() is given.
  [[nodiscard]] std::uint64_t reach() const { return published_.load(std::memory_order_acquire); }

  /// The next piece below `reach` that was not taken yet; false when there is none. It stays the next.
  bool peek(piece& next, std::uint64_t reach) {
    while (read_ < reach) {
      if (read_at_ == PerChunk) {
        chunk* done = head_;
        head_ = head_->next;
        Memory::release(done);
        read_at_ = 0;
      }
      const entry& e = head_->entries[read_at_];
      if (!begun_) taken_to_ = e.start;
      begun_ = true;
      const std::uint32_t end = e.end.load(std::memory_order_acquire);
      if (e.left || taken_to_ < end) {
        next = {e.in, taken_to_, end, e.more, e.left};
        return true;
      }
      if (read_ + 1 == reach) return false;  // the last one may still grow
      step();
    }
    return false;
  }
  /// Takes what peek() showed.
  void pop(const piece& shown) {
    if (shown.left)
      step();
    else
      taken_to_ = shown.end;
  }

 private:
  struct entry {
    Space* in;
    std::uint32_t start;
    bool more;
    bool left;
    Atomic<std::uint32_t> end{0};
  };
  struct chunk {
    std::array<entry, PerChunk> entries{};
    chunk* next = nullptr;
  };

  void step() {
    ++read_;
    ++read_at_;
    begun_ = false;
  }

  // The writer's line.
  alignas(64) chunk* tail_ = nullptr;
  chunk* last_ = nullptr;
  entry* growing_ = nullptr;
  std::uint32_t grown_to_ = 0;
  std::uint32_t at_ = 0;
  std::size_t room_ = 0;
  std::uint64_t written_ = 0;
  Atomic<std::uint64_t> published_{0};
  // The reader's line; head_ is handed over by the first publish().
  alignas(64) chunk* head_ = nullptr;
  std::uint32_t read_at_ = 0;
  std::uint32_t taken_to_ = 0;
  std::uint64_t read_ = 0;
  bool begun_ = false;
};

}  // namespace catenet::bus::detail
