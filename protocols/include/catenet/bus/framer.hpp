// Turns received bytes into packets without copying, also where a frame lies across blocks.
//
//   feed(chain) ─▶ [block: m1 m2 m3 m4-][-m4 m5 …]  ─▶ next(): m1, m2, m3 share one anchor; m4 is made of two
//   views
#pragma once

#include <catenet/bus/packet.hpp>
#include <catenet/frame/decoder.hpp>

#include <cstddef>
#include <cstdint>

namespace catenet::bus {

/// One a stream; stays on the thread that feeds it. The format must outlive it.
class framer {
 public:
  explicit framer(const frame::format& how, frame::limits within = {}) : format_(&how), limits_(within) {}
  framer(const framer&) = delete;
  framer& operator=(const framer&) = delete;
  ~framer() { forget_front(); }

  /// Takes what came in, in any pieces.
  void feed(chain&& bytes);

  /// The next message, on status::frame only. After a fatal status every further call says the same.
  [[nodiscard]] frame::status next(packet& message) {
    const auto here = static_cast<std::size_t>(end_ - at_);
    if (here != 0) [[likely]] {
      const frame::header h = format_->parse({at_, here});
      if (h.what == frame::status::frame && h.payload_bytes <= limits_.payload_bytes_max &&
          h.payload_bytes <= here - h.header_bytes) [[likely]] {
        ++front_->refs;
        message = packet::adopt(front_, at_ + h.header_bytes, h.payload_bytes);
        at_ += h.header_bytes + h.payload_bytes;
        return frame::status::frame;
      }
    }
    return next_across(message);
  }

  /// Bytes that are here and not cut yet. 0 after next() said `more`: a clean place for the stream to end.
  [[nodiscard]] std::uint64_t buffered() const {
    return static_cast<std::uint64_t>(end_ - at_) + rest_.bytes();
  }
  /// Bytes that the unfinished message at the front still lacks, as far as is known: a hint for
  /// stream::expect().
  [[nodiscard]] std::uint64_t missing() const { return missing_; }

 private:
  frame::status next_across(packet& message);
  bool lay_back();
  void anchor_front();
  void forget_front();

  const frame::format* format_;
  frame::limits limits_;
  detail::anchor* front_ = nullptr;  // the segment that is being cut: [at_, end_) of it is left
  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
  chain rest_;  // what comes behind it
  std::uint64_t missing_ = 0;
  frame::status ended_ = frame::status::more;  // the fatal status, once there was one
};

}  // namespace catenet::bus
