// Takes the body of a message out of a chain, by its length or its chunks. Bytes of the body are never
// copied: what comes out are the segments that went in, without the framing.
#pragma once

#include <catenet/http/fault.hpp>
#include <catenet/http/head_parser.hpp>
#include <catenet/http/limits.hpp>
#include <catenet/slab/chain.hpp>

#include <cstdint>
#include <memory>

namespace catenet::http {

/// One body. Incremental: input may end anywhere.
class body_decoder {
 public:
  enum class progress : std::uint8_t {
    more,    ///< the input is used up, the body is not complete
    full,    ///< as much came out as was asked for
    end,     ///< the body is complete; the input begins with what follows it
    broken,  ///< why() says what is wrong; what came out before stands
  };

  body_decoder() = default;  ///< no body at all
  /// A body of known length.
  static body_decoder of_length(std::uint64_t bytes);
  /// RFC 9112 §7.1. More than `bytes_max` of data is a 413.
  static body_decoder of_chunks(std::uint64_t bytes_max);
  /// Everything until the connection ends (answers only, RFC 9112 §6.3).
  static body_decoder until_end(std::uint64_t bytes_max);

  /// Appends to `out` up to about `want` bytes of the body (one segment more at most).
  progress next(chain& input, chain& out, const limits& most, std::uint64_t want = ~std::uint64_t{0});

  [[nodiscard]] bool done() const { return state_ == state::done; }
  /// As it was made by default.
  [[nodiscard]] bool unused() const { return state_ == state::done && received_ == 0 && !chunked_; }
  [[nodiscard]] bool is_chunked() const { return chunked_; }
  [[nodiscard]] const fault& why() const { return fault_; }
  /// Bytes of data still to come, as far as they are known: of the body, or of the present chunk.
  [[nodiscard]] std::uint64_t left() const { return left_; }
  [[nodiscard]] std::uint64_t received() const { return received_; }
  /// Null when the body had none.
  [[nodiscard]] const trailer_parser* trailers() const { return trailers_.get(); }
  /// Lifts or lowers the limit on a chunked body.
  void limit(std::uint64_t bytes_max) { bytes_max_ = bytes_max; }

 private:
  enum class state : std::uint8_t {
    done,
    length,        // left_ bytes of the body
    to_end,        // until the connection ends
    size_first,    // the first digit of a chunk's size
    size_more,     // further digits
    extension,     // behind the ';', nothing seen yet
    in_name,       // of one
    behind_name,   // and white space
    value,         // behind the '=', nothing seen yet
    in_value,      // a token
    in_quotes,     // a quoted value
    escaped,       // behind a backslash there
    behind_quote,  // its last
    behind_value,  // and white space
    size_lf,       // the LF of the size's line
    data,          // left_ bytes of the chunk
    data_cr,
    data_lf,
    trailer_first,  // the first byte of the trailer section
    trailer_lf,     // the LF of an empty trailer section
    trailer_more,
    broken,
  };

  progress take_data(chain& input, chain& out, std::uint64_t want);
  bool framing(std::span<const std::byte> piece, std::size_t& used, const limits& most);
  bool size_digit(unsigned char c);
  bool size_line(unsigned char c, const limits& most);
  bool extension(unsigned char c);
  bool quoted(unsigned char c);
  bool begin_data();
  bool fail(std::uint16_t status, const char* reason);

  std::uint64_t left_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t bytes_max_ = ~std::uint64_t{0};
  std::uint64_t overhead_ = 0;    // bytes of framing
  std::uint32_t extensions_ = 0;  // bytes of extensions
  std::uint8_t digits_ = 0;
  state state_ = state::done;
  bool chunked_ = false;
  fault fault_;
  std::unique_ptr<trailer_parser> trailers_;
};

}  // namespace catenet::http
