// Size classes: the few fixed sizes in which the slab rents memory out.
//
// A class is a power of two between 512 bytes and 1 MiB, named by its index in the table, smallest first. The
// table is set once, when the depot is made. Powers of two make every block page-exact (or a whole fraction
// of a page) and let its descriptor be found by shifting its address.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace catenet {

inline constexpr std::size_t operator""_KiB(unsigned long long n) {
  return static_cast<std::size_t>(n) << 10;
}
inline constexpr std::size_t operator""_MiB(unsigned long long n) {
  return static_cast<std::size_t>(n) << 20;
}
inline constexpr std::size_t operator""_GiB(unsigned long long n) {
  return static_cast<std::size_t>(n) << 30;
}

inline constexpr std::size_t size_class_count_max = 8;
inline constexpr std::size_t block_size_min = 512;
inline constexpr std::size_t block_size_max = 1 << 20;

/// Index of a class in the table of its depot.
using size_class = std::uint8_t;
inline constexpr size_class no_size_class = 0xff;

/// The table of block sizes. Invariant: sizes ascend strictly, each a power of two in
/// [block_size_min, block_size_max].
class size_class_table {
 public:
  /// The default: 512 B, 4 KiB, 16 KiB, 64 KiB, 256 KiB, 1 MiB.
  constexpr size_class_table() : size_class_table({512, 4_KiB, 16_KiB, 64_KiB, 256_KiB, 1_MiB}) {}

  /// Sizes in bytes, ascending; what is not a power of two within bounds, or is repeated, or more than
  /// size_class_count_max, is refused by valid().
  constexpr size_class_table(std::initializer_list<std::size_t> sizes) {
    for (std::size_t size : sizes) {
      if (count_ == size_class_count_max || !std::has_single_bit(size) || size < block_size_min ||
          size > block_size_max || (count_ != 0 && size <= this->size(count_ - 1u))) {
        valid_ = false;
        return;
      }
      shift_[count_++] = static_cast<std::uint8_t>(std::countr_zero(size));
    }
    valid_ = count_ != 0;
    for (std::size_t width = 0, c = 0; valid_ && width != fitting_.size(); ++width) {
      while (c + 1 < count_ && shift_[c] < width) ++c;
      fitting_[width] = static_cast<size_class>(c);
    }
  }

  [[nodiscard]] constexpr bool valid() const { return valid_; }
  [[nodiscard]] constexpr std::size_t count() const { return count_; }
  [[nodiscard]] constexpr std::size_t size(std::size_t c) const { return std::size_t{1} << shift_[c]; }
  [[nodiscard]] constexpr std::uint8_t shift(std::size_t c) const { return shift_[c]; }

  /// The smallest class that holds `bytes`, or the largest class when none does.
  [[nodiscard]] constexpr size_class fitting(std::size_t bytes) const {
    const auto width = static_cast<std::size_t>(std::bit_width(bytes - (bytes != 0)));
    return fitting_[width < fitting_.size() ? width : fitting_.size() - 1];
  }

  /// The largest class whose blocks are no bigger than `bytes`, or the smallest class.
  [[nodiscard]] constexpr size_class within(std::size_t bytes) const {
    size_class c = 0;
    while (c + 1u < count_ && size(c + 1u) <= bytes) ++c;
    return c;
  }

 private:
  std::array<std::uint8_t, size_class_count_max> shift_{};
  // By how many bits the last byte's place has; the last entry is for all beyond block_size_max.
  std::array<size_class, std::bit_width(block_size_max) + 1> fitting_{};
  std::uint8_t count_ = 0;
  bool valid_ = false;
};

}  // namespace catenet
