// The answer to a request, as a handler gives it: all at once, or piece by piece.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/http/cookie.hpp>
#include <catenet/http/fields.hpp>
#include <catenet/slab/chain.hpp>

#include <charconv>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace catenet {
class stream;
}

namespace catenet::http {

struct exchange;

/// A piece of text or a number, for response::text().
class text_part {
 public:
  text_part(std::string_view text) : text_(text) {}
  text_part(const char* text) : text_(text) {}
  text_part(const std::string& text) : text_(text) {}
  template <std::integral T>
  requires(!std::same_as<T, bool> && !std::same_as<T, char>) text_part(T value)
      : size_(std::to_chars(digits_, digits_ + sizeof digits_, value).ptr - digits_) {}
  [[nodiscard]] std::string_view view() const {
    return size_ == 0 ? text_ : std::string_view{digits_, static_cast<std::size_t>(size_)};
  }

 private:
  std::string_view text_;
  std::ptrdiff_t size_ = 0;
  char digits_[24];
};

/// Used by the handler of its request only, on its core. What is not sent yet leaves when the handler returns
/// (or its task ends). A handler that answers nothing, or throws, is answered for with 500.
class response {
 public:
  response(const response&) = delete;
  response& operator=(const response&) = delete;

  /// 100..999; 200 when never called.
  response& status(std::uint32_t code);
  [[nodiscard]] std::uint32_t status() const;
  /// Adds a field. A name that is no token, or a value with CR, LF, NUL or another control character, is
  /// refused: the answer becomes a 500. So are Content-Length and Transfer-Encoding, which say how the body
  /// is framed: length() does that. "Connection: close" is close().
  response& header(std::string_view name, std::string_view value);
  /// Content-Type, once.
  response& type(std::string_view media_type);
  /// Set-Cookie; refused as header() refuses.
  response& cookie(std::string_view name, std::string_view value, const cookie_options& options = {});
  /// The connection ends after this answer.
  response& close();

  /// The body is these texts and numbers, one after the other; text/plain unless type() said something else.
  template <class... Parts>
  void text(const Parts&... parts) {
    constexpr std::string_view media_type = "text/plain; charset=utf-8";
    if constexpr (sizeof...(Parts) == 1 && (std::is_convertible_v<const Parts&, std::string_view> && ...)) {
      set_text((std::string_view{parts}, ...), media_type);
    } else {
      const text_part all[] = {text_part{parts}..., text_part{std::string_view{}}};
      set_text(all, media_type);
    }
  }
  void html(std::string_view text);
  void json(std::string_view text);
  /// The body is a chain; file regions may be in it. Nothing is copied.
  void body(chain&& bytes);
  /// The body is memory that lives as long as the process. Nothing is copied.
  void constant(std::string_view bytes);
  /// The body is part of an open file; with `owned` the descriptor is closed when it was sent.
  void file(int fd, std::uint64_t offset, std::uint64_t bytes, bool owned);
  /// 302 Found (or another 3xx) to `where`.
  void redirect(std::string_view where, std::uint32_t code = 302);

  /// Sends an informational answer (102 … 199) with these fields at once, ahead of the answer proper, which
  /// has nothing of it. False when it was not sent: the answer has begun, nobody is there, the client speaks
  /// HTTP/1.0 (RFC 9110 §15.2), or a field may not go out.
  bool inform(std::uint32_t code, std::span<const field> lines);

  /// The body that write() gives piece by piece will have this many bytes; without it, it goes in chunks (to
  /// HTTP/1.0: until the connection ends). Writing more is cut off, writing less ends the connection.
  response& length(std::uint64_t bytes);
  struct write_awaiter {
    write_awaiter(exchange& x, bool was_sent, bool has_to_wait) : of(x), sent(was_sent), waits(has_to_wait) {}
    ~write_awaiter();  // a coroutine that ends while it waits is not resumed
    write_awaiter(const write_awaiter&) = delete;
    write_awaiter& operator=(const write_awaiter&) = delete;
    exchange& of;
    bool sent;   // false: nobody is there any more
    bool waits;  // above the high watermark
    std::coroutine_handle<> waiter{};
    bool await_ready() const { return !waits; }
    void await_suspend(std::coroutine_handle<> who);
    bool await_resume() const;
  };
  /// Sends a piece of the body (the head goes first). co_await it: it waits while too much is unsent. False
  /// when the connection has ended; there is no use in writing on then.
  write_awaiter write(chain&& piece);
  write_awaiter write(std::string_view piece);
  /// A trailer of a body in chunks, sent after its last chunk. Refused as header() refuses.
  response& trailer(std::string_view name, std::string_view value);

  /// Hands the connection over to another protocol: sends 101 with the fields set so far, and Upgrade:
  /// `name`, then calls take(stream, bytes that came behind the request) once. A request other than GET, with
  /// a body, or of HTTP/1.0 gets 400.
  void upgrade(std::string_view name, callback<void(stream&, chain&&)> take);

  /// True when there is something to answer with.
  [[nodiscard]] bool answered() const;
  [[nodiscard]] std::uint16_t code() const;

 private:
  friend struct exchange;
  explicit response(exchange& of) : exchange_(of) {}
  void set_text(std::string_view text, std::string_view media_type);
  void set_text(std::span<const text_part> parts, std::string_view media_type);
  exchange& exchange_;
};

}  // namespace catenet::http
