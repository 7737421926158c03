// Bodies by length and by chunks (RFC 9112 §6.2, §7.1).
#include <catenet/http/body_decoder.hpp>

#include "http/chars.hpp"

#include <algorithm>

namespace catenet::http {

namespace {
constexpr std::uint8_t size_digits_max = 16;
}

body_decoder body_decoder::of_length(std::uint64_t bytes) {
  body_decoder d;
  d.left_ = bytes;
  d.state_ = bytes == 0 ? state::done : state::length;
  return d;
}

body_decoder body_decoder::of_chunks(std::uint64_t bytes_max) {
  body_decoder d;
  d.bytes_max_ = bytes_max;
  d.state_ = state::size_first;
  d.chunked_ = true;
  return d;
}

body_decoder body_decoder::until_end(std::uint64_t bytes_max) {
  body_decoder d;
  d.bytes_max_ = bytes_max;
  d.left_ = ~std::uint64_t{0};
  d.state_ = state::to_end;
  return d;
}

bool body_decoder::fail(std::uint16_t status, const char* reason) {
  fault_ = {status, reason};
  state_ = state::broken;
  return false;
}

body_decoder::progress body_decoder::next(chain& input, chain& out, const limits& most, std::uint64_t want) {
  const std::uint64_t before = out.bytes();
  for (;;) {
    switch (state_) {
      case state::done:
        return progress::end;
      case state::broken:
        return progress::broken;
      case state::length:
      case state::to_end:
      case state::data: {
        if (input.empty()) return progress::more;
        const std::uint64_t got = out.bytes() - before;
        if (got >= want) return progress::full;
        if (take_data(input, out, want - got) == progress::broken) return progress::broken;
        break;
      }
      case state::trailer_more: {
        if (trailers_ == nullptr) trailers_ = std::make_unique<trailer_parser>();
        const trailer_parser::progress p = trailers_->next(input, most);
        if (p == trailer_parser::progress::more) return progress::more;
        if (p == trailer_parser::progress::broken)
          fail(trailers_->why().status, trailers_->why().reason);
        else
          state_ = state::done;
        break;
      }
      default: {
        if (input.empty()) return progress::more;
        std::size_t used = 0;
        framing(input.front(), used, most);
        input.consume(used);
      }
    }
  }
}

// Moves up to `want` bytes of data over.
body_decoder::progress body_decoder::take_data(chain& input, chain& out, std::uint64_t want) {
  if (state_ == state::to_end && received_ == bytes_max_) {
    fail(413, "the body is too long");
    return progress::broken;
  }
  const std::uint64_t room = state_ == state::to_end ? bytes_max_ - received_ : left_;
  const std::uint64_t part = std::min({room, input.bytes(), want});
  std::optional<chain> data = input.split(part);
  if (!data) {
    fail(503, "no memory for the body");
    return progress::broken;
  }
  out.append(std::move(*data));
  received_ += part;
  if (state_ == state::to_end) return progress::more;
  left_ -= part;
  if (left_ == 0) state_ = state_ == state::length ? state::done : state::data_cr;
  return progress::more;
}

// Reads the bytes between the data: sizes, extensions, line ends. False when they are wrong.
bool body_decoder::framing(std::span<const std::byte> piece, std::size_t& used, const limits& most) {
  for (; used != piece.size(); ++used) {
    const auto c = static_cast<unsigned char>(piece[used]);
    switch (state_) {
      case state::data_cr:
        if (c != '\r') return fail(400, "chunk data is longer than its size");
        state_ = state::data_lf;
        break;
      case state::data_lf:
        if (c != '\n') return fail(400, "chunk data does not end with CR LF");
        state_ = state::size_first;
        break;
      case state::trailer_first:
        if (c != '\r') {
          state_ = state::trailer_more;
          return true;
        }
        state_ = state::trailer_lf;
        break;
      case state::trailer_lf:
        if (c != '\n') return fail(400, "a CR without LF");
        ++used;
        state_ = state::done;
        return true;
      case state::size_lf:
        if (c != '\n') return fail(400, "a chunk size ends with CR alone");
        if (!begin_data()) return false;
        if (state_ == state::data) {
          ++used;
          return true;
        }
        break;
      default:
        if (!size_line(c, most)) return false;
    }
    // What framing may cost: a little, and as much as the data it frames.
    if (++overhead_ > most.chunk_overhead + std::min<std::uint64_t>(received_, ~std::uint64_t{0} >> 1))
      return fail(400, "chunks with more framing than data");
  }
  return true;
}

// One character of "size [; extension] CR".
bool body_decoder::size_line(unsigned char c, const limits& most) {
  switch (state_) {
    case state::size_first:
      left_ = 0;
      digits_ = 0;
      state_ = state::size_more;
      return size_digit(c);
    case state::size_more:
      if (c == '\r') {
        state_ = state::size_lf;
        return true;
      }
      if (c == ';') {
        state_ = state::extension;
        return true;
      }
      return size_digit(c);
    default:
      break;
  }
  const bool complete =
      state_ == state::in_name || state_ == state::in_value || state_ == state::behind_quote;
  if (c == '\r' && complete) {
    state_ = state::size_lf;
    return true;
  }
  if (++extensions_ > most.extension_bytes) return fail(400, "chunk extensions are too long");
  return extension(c);
}

// One character behind the ';' (RFC 9112 §7.1.1):
// *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
bool body_decoder::extension(unsigned char c) {
  const bool space = c == ' ' || c == '\t';
  const bool token = is(static_cast<char>(c), char_token);
  const auto go_to = [&](state next) {
    state_ = next;
    return true;
  };
  switch (state_) {
    case state::extension:
      if (space) return true;
      return token ? go_to(state::in_name) : fail(400, "a chunk extension has no name");
    case state::in_name:
      if (token) return true;
      [[fallthrough]];
    case state::behind_name:
      if (space) return go_to(state::behind_name);
      if (c == '=') return go_to(state::value);
      break;
    case state::value:
      if (space) return true;
      if (c == '"') return go_to(state::in_quotes);
      return token ? go_to(state::in_value) : fail(400, "a chunk extension has no value behind its '='");
    case state::in_value:
      if (token) return true;
      [[fallthrough]];
    case state::behind_quote:
    case state::behind_value:
      if (space) return go_to(state::behind_value);
      break;
    default:
      return quoted(c);
  }
  return c == ';' ? go_to(state::extension) : fail(400, "a chunk extension has what may not stand there");
}

// A quoted value (RFC 9110 §5.6.4) ends with its quote.
bool body_decoder::quoted(unsigned char c) {
  if (c == 0x7f || (c < 0x20 && c != '\t')) return fail(400, "a chunk extension has a control character");
  if (state_ == state::escaped)
    state_ = state::in_quotes;
  else if (c == '"')
    state_ = state::behind_quote;
  else if (c == '\\')
    state_ = state::escaped;
  return true;
}

bool body_decoder::size_digit(unsigned char c) {
  const int value = hex_value(c);
  if (value < 0) return fail(400, "a chunk size is not a hexadecimal number");
  if (++digits_ > size_digits_max || left_ >> 59 != 0) return fail(400, "a chunk size is too long");
  left_ = left_ << 4 | static_cast<unsigned>(value);
  return true;
}

// The size's line is complete.
bool body_decoder::begin_data() {
  if (left_ == 0) {
    state_ = state::trailer_first;
    return true;
  }
  if (left_ > bytes_max_ || received_ > bytes_max_ - left_) return fail(413, "the body is too long");
  state_ = state::data;
  return true;
}

}  // namespace catenet::http
