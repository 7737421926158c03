// A cursor: a reading position in a chain that walks over segment borders and changes nothing.
#pragma once

#include <catenet/slab/chain.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace catenet {

/// Valid while the chain it was made from is not changed. Copying it is a mark; assigning the copy back
/// rewinds.
class cursor {
 public:
  cursor() = default;
  explicit cursor(const chain& over) : at_(over.head()), left_(over.bytes()) {}

  /// Bytes from here to the chain's end, and how many were passed.
  [[nodiscard]] std::uint64_t left() const { return left_; }
  [[nodiscard]] std::uint64_t position() const { return position_; }

  /// The contiguous bytes at the position; empty only at the end (or in a file region).
  [[nodiscard]] std::span<const std::byte> piece() const {
    if (at_ == nullptr || at_->kind == segment_kind::file) return {};
    return {at_->data + offset_, at_->length - offset_};
  }

  /// Moves on by n bytes, or to the end when there are fewer; returns how far.
  std::uint64_t skip(std::uint64_t n);

  /// Distance to the next such byte, or to the next CR LF (which may lie over a border); std::nullopt when
  /// there is none. The cursor stays.
  [[nodiscard]] std::optional<std::uint64_t> find(std::byte wanted) const;
  [[nodiscard]] std::optional<std::uint64_t> find_crlf() const;

  /// The place the cursor is at, and back to it. A mark is a copy of the cursor.
  [[nodiscard]] cursor mark() const { return *this; }
  void rewind(const cursor& to) { *this = to; }

  /// Distance to the next place where that text stands (it may lie over borders); std::nullopt when it stands
  /// nowhere.
  [[nodiscard]] std::optional<std::uint64_t> find(std::string_view text) const;
  /// Whether the bytes from here on begin with that text.
  [[nodiscard]] bool starts_with(std::string_view text) const;

  /// Copies out.size() bytes and moves on; false, and nothing moved, when there are fewer.
  bool read(std::span<std::byte> out);

  /// An unsigned integer in the byte order given; std::nullopt when there are not enough bytes.
  template <std::unsigned_integral T>
  std::optional<T> read(std::endian order = std::endian::big) {
    std::byte raw[sizeof(T)];
    if (!read(std::span<std::byte>{raw})) return std::nullopt;
    T value = 0;
    for (std::size_t i = 0; i != sizeof(T); ++i) {
      const std::size_t at = order == std::endian::big ? i : sizeof(T) - 1 - i;
      value = static_cast<T>((sizeof(T) == 1 ? 0 : value << 8) | static_cast<T>(raw[at]));
    }
    return value;
  }

 private:
  segment* at_ = nullptr;
  std::uint32_t offset_ = 0;
  std::uint64_t left_ = 0;
  std::uint64_t position_ = 0;
};

}  // namespace catenet
