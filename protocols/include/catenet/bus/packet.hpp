// A packet: a cheap handle to a message, read-only. Cloning counts without atomics; nothing is copied.
//
//   packet ──▶ block                 bytes of one block whose home is this thread: the common case
//   packet ──▶ anchor ──▶ chain      bytes that came from another thread, or that lie across blocks
//
// A packet stays on the thread that made it. To cross, send() turns it into a send_packet, which may be moved
// to any thread, and receive() turns that back; one that is dropped on its way releases itself.
#pragma once

#include <catenet/slab/chain.hpp>

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace catenet::bus {

class packet;

namespace detail {

// What packets of one thread refer to together when it is not one block of that thread. Counted there only.
struct anchor {
  std::uint32_t refs = 1;
  chain bytes;
};
anchor* make_anchor(chain&& bytes);  // from mimalloc; null, and the chain unchanged, when memory ran out
void end_anchor(anchor* a);

inline void drop_anchor(anchor* a) {
  if (--a->refs == 0) end_anchor(a);
}

}  // namespace detail

/// A packet between threads. May be moved to and dropped on any thread, also one that has no pool.
class send_packet {
 public:
  send_packet() = default;
  /// A whole chain as a message, wherever its blocks are from.
  explicit send_packet(chain&& bytes) : bytes_(std::move(bytes)) {}

  [[nodiscard]] std::uint64_t size() const { return bytes_.bytes(); }

  /// The message for this thread, which needs a pool. std::nullopt, and this unchanged, when memory ran out.
  [[nodiscard]] std::optional<packet> receive() &&;
  /// The same as a chain.
  [[nodiscard]] chain take() && { return std::move(bytes_); }

 private:
  chain bytes_;
};

/// Move-only; copies are asked for by name. Every operation needs the pool of the thread that made the packet
/// to be the current one.
class packet {
 public:
  packet() = default;
  packet(packet&& other) noexcept
      : owner_(std::exchange(other.owner_, 0)),
        data_(other.data_),
        length_(std::exchange(other.length_, 0)) {}
  packet& operator=(packet&& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(data_, other.data_);
    std::swap(length_, other.length_);
    return *this;
  }
  ~packet() { drop(); }

  /// A message of its own block(s). std::nullopt when the slab or memory ran out.
  static std::optional<packet> copy_of(std::span<const std::byte> bytes);
  static std::optional<packet> copy_of(std::string_view text) { return copy_of(as_bytes(text)); }
  /// A chain as a message. std::nullopt, and the chain unchanged, when memory ran out.
  static std::optional<packet> from(chain&& bytes);

  [[nodiscard]] std::uint64_t size() const { return length_; }
  [[nodiscard]] bool empty() const { return length_ == 0; }
  /// Whether bytes() is all of it.
  [[nodiscard]] bool contiguous() const { return (owner_ & tag_mask) != tag_spanning; }
  /// The message, or its first piece when it lies across blocks.
  [[nodiscard]] std::span<const std::byte> bytes() const {
    if (contiguous()) [[likely]]
      return {data_, length_};
    return first_piece();
  }
  /// Copies up to out.size() bytes from `offset` on; returns how many.
  std::size_t copy_to(std::span<std::byte> out, std::uint64_t offset = 0) const;
  [[nodiscard]] std::string to_string() const;

  /// Another handle to the same bytes. One increment.
  [[nodiscard]] packet clone() const {
    packet twin;
    twin.owner_ = owner_;
    twin.data_ = data_;
    twin.length_ = length_;
    twin.count();
    return twin;
  }

  /// Drops the first n bytes (all, when there are fewer).
  void advance(std::uint64_t n);
  /// A handle to part of it; the range is cut to what there is.
  [[nodiscard]] packet slice(std::uint64_t offset, std::uint64_t length) const;
  /// Cuts off and returns the first n bytes (all, when there are fewer).
  [[nodiscard]] packet split(std::uint64_t n);
  /// Packets of the lengths given, in order. std::nullopt, and this unchanged, when they are not size()
  /// together.
  template <std::size_t N>
  [[nodiscard]] std::optional<std::array<packet, N>> shatter(const std::array<std::uint64_t, N>& lengths) && {
    std::optional<std::array<packet, N>> parts{std::in_place};
    if (!shatter(lengths, *parts)) parts.reset();
    return parts;
  }
  /// n packets, as equal as can be: the first size() % n are a byte longer. n must not be 0.
  [[nodiscard]] std::vector<packet> shatter(std::size_t n) &&;

  /// One packet of all of them in order. Neighbours in one block join for nothing; else one small object and
  /// a view for each are made. std::nullopt, and the parts unchanged, when memory ran out.
  [[nodiscard]] static std::optional<packet> join(std::span<packet> parts);

  /// The bytes in a chain, for a stream. std::nullopt, and this unchanged, when memory ran out.
  [[nodiscard]] std::optional<chain> to_chain() &&;
  /// For another thread. No atomic operation. std::nullopt, and this unchanged, when memory ran out.
  [[nodiscard]] std::optional<send_packet> send() &&;

  /// Copies the bytes into a smaller block when they pin much more than they use (less than a quarter of it):
  /// for what is kept for long. When that is not possible it stays as it is.
  void compact();

  /// For those who build packets: `length` bytes at `data` in a block of this thread's pool, one reference of
  /// which becomes the packet's; or in an anchor's one segment.
  static packet adopt(block* from, const std::byte* data, std::uint64_t length) {
    return packet{reinterpret_cast<std::uintptr_t>(from), data, length};
  }
  static packet adopt(detail::anchor* from, const std::byte* data, std::uint64_t length) {
    return packet{reinterpret_cast<std::uintptr_t>(from) | tag_anchor, data, length};
  }

 private:
  static constexpr std::uintptr_t tag_mask = 3;
  static constexpr std::uintptr_t tag_anchor = 1;    // bytes in one segment of the anchor's chain
  static constexpr std::uintptr_t tag_spanning = 2;  // an offset in the anchor's chain

  packet(std::uintptr_t owner, const std::byte* data, std::uint64_t length)
      : owner_(owner), data_(data), length_(length) {}

  [[nodiscard]] block* in_block() const { return reinterpret_cast<block*>(owner_); }
  [[nodiscard]] detail::anchor* in_anchor() const {
    return reinterpret_cast<detail::anchor*>(owner_ & ~tag_mask);
  }
  void count() {
    if (owner_ == 0) return;
    if ((owner_ & tag_mask) == 0) [[likely]]
      ++in_block()->refs;
    else
      ++in_anchor()->refs;
  }
  void drop() {
    if (owner_ == 0) return;
    if ((owner_ & tag_mask) != 0) [[unlikely]]
      return detail::drop_anchor(in_anchor());
    block* b = in_block();
    if (--b->refs == 0) pool::current()->give(b);
  }
  [[nodiscard]] std::span<const std::byte> first_piece() const;
  [[nodiscard]] std::uint64_t offset_in_anchor() const;
  bool shatter(std::span<const std::uint64_t> lengths, std::span<packet> into);
  [[nodiscard]] bool holds(std::uint64_t length) const;
  void settle_on_piece();

  std::uintptr_t owner_ = 0;  // block* or anchor*, with a tag; 0 when empty
  union {
    const std::byte* data_ = nullptr;
    std::uint64_t offset_;  // spanning
  };
  std::uint64_t length_ = 0;
};
static_assert(sizeof(packet) == 24);

}  // namespace catenet::bus
