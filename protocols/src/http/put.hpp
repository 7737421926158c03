// Copying text of a length that shows only at run time, mostly short: a few moves instead of a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace catenet::http {

/// Copies; returns the end. What is 4 to 32 bytes long goes as two pieces that may overlap.
inline char* put(char* out, std::string_view text) {
  const auto halves = [&]<class Piece>(Piece first) {
    Piece last;
    std::memcpy(&first, text.data(), sizeof first);
    std::memcpy(&last, text.data() + text.size() - sizeof last, sizeof last);
    std::memcpy(out, &first, sizeof first);
    std::memcpy(out + text.size() - sizeof last, &last, sizeof last);
  };
  struct sixteen {
    std::uint64_t low, high;
  };
  if (text.size() - 8 <= 8)
    halves(std::uint64_t{});
  else if (text.size() - 17 <= 15)
    halves(sixteen{});
  else if (text.size() - 4 <= 3)
    halves(std::uint32_t{});
  else if (!text.empty())
    std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

/// A literal: its size is known.
template <std::size_t N>
char* put(char* out, const char (&text)[N]) {
  std::memcpy(out, text, N - 1);
  return out + N - 1;
}

}  // namespace catenet::http
