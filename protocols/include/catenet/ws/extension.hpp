// permessage-deflate: what was offered, what is agreed (RFC 7692 §7.1). Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace catenet::ws {

inline constexpr std::uint8_t window_bits_min = 9;  // zlib cannot compress with 8
inline constexpr std::uint8_t window_bits_max = 15;

/// How a route compresses. Context take-over compresses a conversation better and holds its memory: some 300
/// KiB while messages are compressed, 45 KiB for what is decompressed. Without it nothing is held between
/// messages.
struct deflate_options {
  bool enabled = false;
  bool server_context_takeover = false;  ///< for what we send
  bool client_context_takeover = false;  ///< for what we receive
  /// 9..15, below is taken for 9, above for 15: at most so many for what the server sends.
  std::uint8_t server_window_bits = window_bits_max;
  /// The same for what a client sends: asked of clients that let themselves be asked.
  std::uint8_t client_window_bits = window_bits_max;
  std::uint8_t level = 6;         ///< zlib's, 1 fast .. 9 small
  std::uint32_t bytes_min = 256;  ///< a message below is sent as it is
  /// For contexts taken over, on each core. Beyond it messages are compressed without one, and new
  /// connections are agreed without client_context_takeover.
  std::uint64_t memory_max = std::uint64_t{64} << 20;
};

/// What both ends do, once agreed.
struct deflate_agreement {
  bool agreed = false;
  bool server_context_takeover = false;
  bool client_context_takeover = false;
  std::uint8_t server_window_bits = window_bits_max;
  std::uint8_t client_window_bits = window_bits_max;

  /// Value of Sec-WebSocket-Extensions in the server's answer.
  [[nodiscard]] std::string text() const;
  /// Nothing is held between messages, and any window will do: what most connections are.
  [[nodiscard]] bool is_plain() const {
    return agreed && !server_context_takeover && !client_context_takeover &&
           server_window_bits == window_bits_max;
  }

 private:
  friend bool negotiate(std::span<const std::string_view>, const deflate_options&, deflate_agreement&);
  bool say_server_bits_ = false;
  bool say_client_bits_ = false;
};

/// The server's side: takes the first offer that is acceptable, if there is one; an offer with an unknown,
/// repeated or bad parameter is declined (RFC 7692 §7.1). `offers`: the values of all
/// Sec-WebSocket-Extensions fields, in order. False when they are malformed (RFC 6455 §9.1), which fails the
/// handshake.
[[nodiscard]] bool negotiate(std::span<const std::string_view> offers, const deflate_options& options,
                             deflate_agreement& into);

/// The client's side: what we offer, and what the server made of it. Null, or why the connection fails: it
/// answered what we did not offer, or what zlib cannot keep to.
[[nodiscard]] std::string offer_of(const deflate_options& options);
[[nodiscard]] const char* accept_answer(std::string_view answer, const deflate_options& options,
                                        deflate_agreement& into);

}  // namespace catenet::ws
