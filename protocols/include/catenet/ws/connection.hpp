// A WebSocket connection, as handlers see it.
//
// It takes 40 bytes beside its stream; what a message under way or a subscription needs is allocated while it
// lasts.
#pragma once

#include <catenet/engine/stream.hpp>
#include <catenet/slab/chain.hpp>
#include <catenet/ws/close_code.hpp>
#include <catenet/ws/message.hpp>
#include <catenet/ws/remote.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace catenet::ws {

class service;
class local_topics;
struct activity;
struct subscription;

/// Lives on one core and is used on its thread only (remote() for the others), from `open` to the end of
/// `close`.
///
/// Sends say what became of them: sent; queued (accepted, hold back until `writable`); over_limit (refused:
/// more than max_queued bytes would wait, or the slab is full); gone (closed or closing).
class connection {
 public:
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// Copies. Must be UTF-8.
  send_result send(std::string_view text);
  send_result send(const char* text) { return send(std::string_view{text}); }
  /// Copies.
  send_result send(std::span<const std::byte> binary);
  /// Copies nothing but small messages. The lvalue keeps its bytes.
  send_result send(message&& m);
  send_result send(message& m);
  send_result send(prepared& m);

  /// At most 125 bytes are sent. The pong is not told, but counts as a sign of life.
  send_result ping(std::string_view payload = {});

  /// Sends Close, then waits up to close_timeout_ms for the peer's. Nothing more is received or sent,
  /// subscriptions end now; the handler `close` is called once the peer has answered or the time is over.
  /// `code` must be one that may be sent (else 1011 is) or no_status. A reason that is not UTF-8 is left out,
  /// one of more than 123 bytes cut.
  void close(close_code code = close_code::normal, std::string_view reason = {});
  /// Ends the connection with a reset; `close` is told `abnormal`.
  void abort();
  /// False once close() or abort() was called or the end was told.
  [[nodiscard]] bool is_open() const { return (flags_ & (flag_close_sent | flag_finished)) == 0; }

  /// To receive what is published to a topic from now on, on whatever core. Topics have levels, "a/b/c"; a
  /// level '+' stands for any one, a last level '#' for all that follow, and for none. Who subscribed in
  /// several ways that match gets a message once. False when it had subscribed before, memory ran out, or '#'
  /// stands elsewhere than at the end; and for a client's connection.
  bool subscribe(std::string_view topic);
  bool unsubscribe(std::string_view topic);

  /// Sends to every subscriber of the topic on every core, but not to this one. The frame is built once and
  /// shared; messages of one publisher arrive in order (to a slow peer under `conflate`, those of one topic).
  /// Returns how many on this core took it.
  std::size_t publish(std::string_view topic, std::string_view text);
  std::size_t publish(std::string_view topic, message&& m);
  std::size_t publish(std::string_view topic, message& m);
  /// The same, to this one too if it subscribed.
  std::size_t publish_to_all(std::string_view topic, message&& m);
  std::size_t publish_to_all(std::string_view topic, message& m);

  /// Yours.
  void* user = nullptr;

  /// A name of this connection that any thread may use, also after its end.
  [[nodiscard]] ws::remote remote() const;
  [[nodiscard]] stream& socket() const { return *stream_; }
  /// Bytes that the kernel has not taken yet.
  [[nodiscard]] std::uint64_t unsent() const;

 private:
  friend class service;
  friend class local_topics;

  enum : unsigned {
    flag_close_sent = 1 << 0,
    flag_finished = 1 << 1,  // the end was told
    flag_held = 1 << 2,      // reading waits until the peer has taken what is unsent
    flag_deflate = 1 << 3,   // permessage-deflate was agreed
    flag_parking = 1 << 4,   // a deadline runs for what deflate holds
    flag_marked = 1 << 5,    // has the message that is being published
  };

  explicit connection(stream& s) : stream_(&s) {}
  ~connection() = default;
  static void* operator new(std::size_t bytes) noexcept;
  static void operator delete(void* at);

  [[nodiscard]] service& owner() const;
  [[nodiscard]] bool has(unsigned flags) const { return (flags_ & flags) != 0; }
  void set(unsigned flags) { flags_ = static_cast<std::uint8_t>(flags_ | flags); }
  void clear(unsigned flags) { flags_ = static_cast<std::uint8_t>(flags_ & ~flags); }
  [[nodiscard]] bool would_exceed(std::uint64_t bytes) const;
  [[nodiscard]] send_result refusal(std::uint64_t payload_bytes);
  send_result send_copy(std::span<const std::byte> bytes, bool is_text);

  stream* stream_;
  activity* activity_ = nullptr;  // while a message is under way, or a context is taken over
  subscription* subscriptions_ = nullptr;
  std::uint32_t heard_ms_ = 0;     // when anything came last
  std::uint16_t ping_second_ = 0;  // the second (of 1024 ms, wrapping) in which pings_ came
  std::uint8_t pings_ = 0;
  std::uint8_t flags_ = 0;  // of the enum above
};
static_assert(sizeof(connection) == 40, "an idle connection is judged by its bytes");

}  // namespace catenet::ws
