// An endless pattern of bytes that every side knows, so that any byte lost, doubled or out of place shows.
#pragma once

#include <catenet/engine/simulation.hpp>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace catenet::test {

class pattern {
 public:
  static constexpr std::uint64_t period = 65521;  // a prime: no buffer size divides it

  /// Bytes from place `at` on, as many as lie together, at most `most`.
  static std::string_view piece(std::uint64_t at, std::uint64_t most) {
    return std::string_view(table()).substr(at % period, most);
  }
  static void append(std::string& to, std::uint64_t at, std::uint64_t length) {
    while (length != 0) {
      const std::string_view part = piece(at, length);
      to += part;
      at += part.size();
      length -= part.size();
    }
  }
  static bool matches(std::uint64_t at, std::string_view bytes) {
    while (!bytes.empty()) {
      const std::string_view part = piece(at, bytes.size());
      if (std::memcmp(part.data(), bytes.data(), part.size()) != 0) return false;
      at += part.size();
      bytes.remove_prefix(part.size());
    }
    return true;
  }
  static const std::string& table() {
    static const std::string made = [] {
      seeded_random random(4711);
      std::string bytes(2 * period, '\0');
      for (std::uint64_t i = 0; i != period; ++i)
        bytes[i] = bytes[i + period] = static_cast<char>(random.next());
      return bytes;
    }();
    return made;
  }
};

}  // namespace catenet::test
