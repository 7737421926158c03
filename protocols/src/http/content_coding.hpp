// Content codings over chains (RFC 9110 §8.4.1): gzip and brotli outwards, gzip and deflate inwards.
#pragma once

#include <catenet/slab/chain.hpp>

#include <cstdint>
#include <memory>
#include <string_view>

namespace catenet::http {

enum class coding : std::uint8_t { identity, gzip, brotli };

constexpr std::string_view name_of(coding c) {
  return c == coding::gzip ? "gzip" : c == coding::brotli ? "br" : "identity";
}

/// Compresses one body.
class compressor {
 public:
  virtual ~compressor() = default;
  /// Null for identity, and when memory ran out. `level`: 1 quick … 9 small.
  static std::unique_ptr<compressor> make(coding c, int level);

  enum class until : std::uint8_t { more, flush, end };
  /// Takes all of `in` and appends what comes out. `flush`: everything so far can be read at the other end;
  /// `end`: the body is complete. False when memory ran out. `in` has no file regions.
  virtual bool add(const chain& in, chain& out, until how) = 0;
};

/// Expands one body.
class expander {
 public:
  /// For the value of Content-Encoding; null when that is another coding. `bytes_max`: of what comes out.
  static std::unique_ptr<expander> make(std::string_view content_encoding, std::uint64_t bytes_max);
  ~expander();

  enum class progress : std::uint8_t { more, end, too_long, broken };
  /// Takes all of `in` and appends what comes out; stops as soon as that is too long. What follows the end is
  /// broken, unless it is another member of a gzip.
  progress add(const chain& in, chain& out);

 private:
  struct state;
  explicit expander(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

}  // namespace catenet::http
