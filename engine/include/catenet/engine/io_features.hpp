// What kernels have added to io_uring over time and the engine can do without: each is probed, used where it
// is there, and can be forced off (`--io-without`), so that what an older kernel would get is tested on a
// newer one.
#pragma once

#include <catenet/engine/error.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace catenet {

enum class io_feature : std::uint8_t {
  ring_fd,   ///< the ring's descriptor is registered, so an enter need not look it up (5.18)
  message,   ///< cores wake each other through their rings, not by a write (5.18)
  single,    ///< the kernel knows that one thread submits (6.0)
  defer,     ///< the kernel's part of the work is done when the loop asks for it (6.1, needs `single`)
  large,     ///< a body of known length is received into large blocks (6.0)
  bundle,    ///< one completion for all blocks that a receive filled (6.10)
  zc,        ///< a send can leave the copying out and tell when the memory is free (6.2)
  fixed,     ///< zero-copy sends name registered memory (6.15, needs `zc`)
  min_wait,  ///< a busy loop waits a moment for several completions (6.12)
};

struct io_feature_facts {
  io_feature which;
  std::string_view name;
  std::string_view since;  ///< the kernel that brought it
};
inline constexpr std::array io_features_known{
    io_feature_facts{io_feature::ring_fd, "ring_fd", "5.18"},
    io_feature_facts{io_feature::message, "message", "5.18"},
    io_feature_facts{io_feature::single, "single", "6.0"},
    io_feature_facts{io_feature::defer, "defer", "6.1"},
    io_feature_facts{io_feature::large, "large", "6.0"},
    io_feature_facts{io_feature::bundle, "bundle", "6.10"},
    io_feature_facts{io_feature::zc, "zc", "6.2"},
    io_feature_facts{io_feature::fixed, "fixed", "6.15"},
    io_feature_facts{io_feature::min_wait, "min_wait", "6.12"},
};

/// A set of them.
class io_features {
 public:
  [[nodiscard]] bool has(io_feature f) const { return (bits_ & bit(f)) != 0; }
  void add(io_feature f) { bits_ |= bit(f); }
  void remove(io_feature f) { bits_ &= ~bit(f); }
  [[nodiscard]] bool empty() const { return bits_ == 0; }

  /// Reads names with commas between, as in "bundle,min_wait". An unknown name is an error that lists the
  /// known.
  static error parse(std::string_view names, io_features& into);
  /// The names, with ", " between.
  [[nodiscard]] std::string text() const;

 private:
  static constexpr std::uint32_t bit(io_feature f) { return 1u << static_cast<unsigned>(f); }
  std::uint32_t bits_ = 0;
};

}  // namespace catenet
