// The decoder: a chain of received bytes in, events out. Pure: no socket, no clock.
//
//   chain ──▶ header ──▶ payload unmasked where it lies ──▶ inflated ──▶ UTF-8 check ──▶ parts gathered ──▶
//   message
//                  └──▶ control frames, between the fragments of a message too
//
// The bytes may come cut anywhere. Payload is not copied, but for two cases: bytes that somebody else can see
// are not ours to unmask in place, and small pieces of a message that is not complete yet are packed
// together, so that a million fragments of one byte do not hold a million blocks.
#pragma once

#include <catenet/slab/chain.hpp>
#include <catenet/ws/close_code.hpp>
#include <catenet/ws/deflate.hpp>
#include <catenet/ws/frame.hpp>
#include <catenet/ws/utf8.hpp>

#include <cstddef>
#include <cstdint>

namespace catenet::ws {

/// What a decoder accepts. Read at every frame, so it must outlive the decoder; shared by many.
struct decoder_limits {
  /// Payload bytes of a message; beyond it 1009, told by the header, before anything is allocated. Of a
  /// compressed one, bytes after inflating; on the wire it may have a seventh more, and 16 bytes a frame.
  std::uint64_t message_bytes_max = std::uint64_t{1} << 20;
  /// Frames of a message; beyond it 1008.
  std::uint32_t fragments_max = 1u << 20;
  /// Frames without payload, but for the last, in a message; beyond it 1008.
  std::uint32_t empty_fragments_max = 64;
  /// True: `message` events, each whole. False: `part` events, as the bytes come.
  bool whole_messages = true;
};

struct event {
  enum class kind : std::uint8_t {
    need_more,  ///< the chain is used up but for the beginning of a header or of a control frame
    message,    ///< a whole message
    part,       ///< some bytes of a message
    ping,
    pong,
    close,    ///< the peer's Close frame; nothing follows
    failure,  ///< the peer broke the protocol or a limit: send Close with `code`; nothing follows
  };
  kind what = kind::need_more;
  bool text = false;   ///< message, part: text, else binary
  bool first = false;  ///< part: the message begins with it
  bool last = false;   ///< part: the message ends with it
  /// Message: so many bytes in front of `bytes` in its block held the frame's header and are its alone.
  std::uint8_t headroom = 0;
  /// close: what the peer said, no_status when it said nothing; failure: what to answer.
  close_code code = close_code::no_status;
  const char* reason = "";  ///< failure: what is wrong, a constant of at most 123 bytes
  chain bytes;              ///< payload; close: the reason, which is UTF-8
};

/// One direction of one connection. Movable; about 120 bytes, needed only while a frame or a message is under
/// way: when idle() it may be thrown away and made anew.
class decoder {
 public:
  /// `limits` must outlive the decoder.
  explicit decoder(const decoder_limits& limits, role self = role::server) : limits_(&limits), self_(self) {}

  /// permessage-deflate was agreed, with or without context take-over for what is received here. `shelf` must
  /// outlive the decoder.
  void use_deflate(deflate_shelf& shelf, bool context_takeover) {
    shelf_ = &shelf;
    context_takeover_ = context_takeover;
  }

  /// The next event of `in`, from which it takes what it uses; call again until need_more. What is left in
  /// `in` then (at most 138 bytes) is to be given again, with more behind it. After close or failure `in` is
  /// thrown away.
  [[nodiscard]] event next(chain& in);

  /// Nothing to remember but what is left in the chain: between two messages, without a context taken over.
  [[nodiscard]] bool idle() const { return !in_frame_ && !in_message_ && !over_ && !inflater_; }
  /// Close or failure was told.
  [[nodiscard]] bool over() const { return over_; }
  /// Between two messages.
  [[nodiscard]] bool between_messages() const { return !in_frame_ && !in_message_; }
  /// Of a context taken over, keeps only the bytes that later messages may refer to: at most 32 KiB.
  void park() {
    if (inflater_ && between_messages()) inflater_->park();
  }
  /// Payload bytes of the data frame under way that have not come.
  [[nodiscard]] std::uint64_t frame_left() const { return frame_left_; }
  /// Bytes held for a message that is not complete.
  [[nodiscard]] std::uint64_t held_bytes() const { return parts_.bytes(); }

 private:
  enum class step : std::uint8_t { ready, starved, told };
  step begin_frame(chain& in, event& out);
  void begin_data(const frame_header& h, event& out);
  step take_part(chain& in, event& out);
  bool inflate(chain& part, bool last, event& out);
  void control(const frame_header& h, chain&& payload, event& out);
  void close(chain&& payload, event& out);
  void fail(event& out, close_code code, const char* reason);
  void gather(chain&& part);
  std::size_t pack(std::span<const std::byte> bytes);

  const decoder_limits* limits_;
  chain parts_;                       // of the message under way (whole_messages)
  std::uint64_t frame_left_ = 0;      // payload bytes of the frame that have not come
  std::uint64_t message_bytes_ = 0;   // payload bytes announced by the message's frames so far
  std::uint64_t inflated_bytes_ = 0;  // what its compressed bytes became
  deflate_shelf* shelf_ = nullptr;    // null: permessage-deflate was not agreed
  std::unique_ptr<inflater> inflater_;
  std::uint32_t fragments_ = 0;
  std::uint32_t empty_fragments_ = 0;
  std::uint32_t room_ = 0;     // free bytes in the last block of parts_ that pack may fill
  mask_key key_{};             // for the next payload byte
  std::uint8_t headroom_ = 0;  // see event
  role self_;
  utf8_check utf8_;
  bool in_frame_ = false;    // within a data frame
  bool fin_ = false;         // of that frame
  bool in_message_ = false;  // a message has begun and its last frame has not ended
  bool text_ = false;        // of that message
  bool compressed_ = false;  // of that message
  bool first_ = false;       // nothing of it was told
  bool context_takeover_ = false;
  bool over_ = false;
};

}  // namespace catenet::ws
