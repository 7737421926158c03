// Compressing and decompressing messages (RFC 7692 §7.2), chain to chain, with zlib. Pure.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/slab/chain.hpp>
#include <catenet/ws/extension.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace catenet::ws {

/// Decompresses. Used on one thread; some 10 KiB, and 32 KiB more once something was long enough to need a
/// window.
class inflater {
 public:
  inflater();
  ~inflater();
  static constexpr std::uint64_t bytes = 45'000;  ///< about what one takes
  inflater(const inflater&) = delete;
  inflater& operator=(const inflater&) = delete;

  enum class result : std::uint8_t { good, broken, too_big, no_memory };
  /// The next bytes of a compressed message; `last`: they are its end. What they become is put behind `out`,
  /// of which no more than `bytes_max` is made.
  result feed(const chain& in, bool last, std::uint64_t bytes_max, chain& out);
  /// Forgets the messages before: at the end of each one without context take-over.
  void reset();
  /// Between two messages: keeps of the messages before only the bytes that later ones may refer to.
  void park();

 private:
  bool wake();
  result run(std::span<const std::byte> in, std::uint64_t& left, chain& out);
  struct stream_state;
  std::unique_ptr<stream_state> state_;  // null while parked
  chain window_;                         // while parked
};

/// Compresses. Some 260 KiB with the widest window.
class deflater {
 public:
  deflater(std::uint8_t window_bits, std::uint8_t level);
  ~deflater();
  deflater(const deflater&) = delete;
  deflater& operator=(const deflater&) = delete;

  /// A whole message. Empty when memory ran out; then reset() is due.
  [[nodiscard]] chain compress(const chain& message);
  void reset();
  [[nodiscard]] std::uint8_t window_bits() const { return window_bits_; }
  [[nodiscard]] std::uint8_t level() const { return level_; }
  /// Memory of one (zlib's zconf.h, with its default memory level).
  [[nodiscard]] static constexpr std::uint64_t bytes_of(std::uint8_t window_bits) {
    return (std::uint64_t{1} << (window_bits + 2)) + (std::uint64_t{1} << 17) + 6'000;
  }

 private:
  struct stream_state;
  std::unique_ptr<stream_state> state_;
  std::uint8_t window_bits_;
  std::uint8_t level_;
};

/// A core's compressors that are not in use: few, because each is in use only while one message is worked on
/// (or, with context take-over, while a connection is busy).
class deflate_shelf {
 public:
  /// `filled` is called when something is laid on the empty shelf, to have trim() called later.
  explicit deflate_shelf(callback<void()> filled = {}) : filled_(std::move(filled)) {}
  [[nodiscard]] std::unique_ptr<inflater> take_inflater();
  [[nodiscard]] std::unique_ptr<deflater> take_deflater(std::uint8_t window_bits, std::uint8_t level);
  void give(std::unique_ptr<inflater> one);
  void give(std::unique_ptr<deflater> one);
  /// Clears the shelf, unless something came or went since the last call. False while something is on it.
  bool trim();
  [[nodiscard]] bool empty() const { return inflaters_.empty() && deflaters_.empty(); }

 private:
  static constexpr std::size_t kept_max = 2;
  std::vector<std::unique_ptr<inflater>> inflaters_;
  std::vector<std::unique_ptr<deflater>> deflaters_;
  callback<void()> filled_;
  bool used_ = false;  // since the last trim()
};

}  // namespace catenet::ws
