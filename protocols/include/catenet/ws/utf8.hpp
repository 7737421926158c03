// A UTF-8 check for text that comes in pieces: it fails at the first byte that no valid text can have there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace catenet::ws {

/// Checks well-formedness as RFC 3629 §4 and Unicode table 3-7 have it: no overlong form, no surrogate,
/// nothing above U+10FFFF. One byte of state, so that a code point may be cut anywhere.
class utf8_check {
 public:
  /// Continues with the next bytes. False at the first bad byte, and from then on.
  bool feed(std::span<const std::byte> bytes);

  /// Whether the text may end here, i.e. not within a code point.
  [[nodiscard]] bool complete() const { return state_ == 0; }

  void reset() { state_ = 0; }

 private:
  std::uint8_t state_ = 0;  // a state of the automaton in utf8.cpp; 0 = between two code points
};

/// The same for a text that is whole.
[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace catenet::ws
