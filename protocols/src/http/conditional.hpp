// Conditional and range requests (RFC 9110 §13, §14): pure, from fields to decisions.
#pragma once

#include <catenet/http/fields.hpp>
#include <catenet/http/method.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace catenet::http {

/// What is known of what would be sent.
struct validators {
  std::string_view etag;        ///< with its quotes; strong
  std::int64_t modified_s = 0;  ///< seconds since 1970
};

/// 0: go on; 304 or 412: the answer (RFC 9110 §13.2.2).
std::uint16_t check_preconditions(const fields& f, method m, const validators& of);

struct byte_range {
  std::uint64_t first = 0;
  std::uint64_t bytes = 0;
};

/// The ranges to send. Few, in the order asked for, inside the content, and not overlapping: a request for
/// more than that is answered as if it had not asked for ranges, so that no answer is much larger than the
/// content.
class range_set {
 public:
  static constexpr std::size_t ranges_max = 8;
  enum class verdict : std::uint8_t {
    whole,          ///< none asked for, malformed, too many, overlapping: the whole content
    parts,          ///< parts() says which
    unsatisfiable,  ///< 416
  };
  /// `value` is that of the field Range.
  verdict read(std::string_view value, std::uint64_t size);
  [[nodiscard]] std::span<const byte_range> parts() const { return {parts_.data(), count_}; }

 private:
  bool add(std::string_view one, std::uint64_t size);

  std::array<byte_range, ranges_max> parts_{};
  std::size_t count_ = 0;
};

/// Whether a Range is to be looked at: there is no If-Range, or it names what would be sent (RFC 9110
/// §13.1.5).
bool range_applies(const fields& f, const validators& of);

/// Seconds since 1970 of any of the three forms (RFC 9110 §5.6.7); std::nullopt when it is none of them.
std::optional<std::int64_t> read_http_date(std::string_view text);

/// How much a client wants a content coding, in thousandths; 0: not at all, or less than none, which it named
/// as "identity" (RFC 9110 §12.5.3).
unsigned coding_weight(const fields& f, std::string_view coding);

}  // namespace catenet::http
