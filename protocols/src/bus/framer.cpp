// The framer's slow path: what happens at a segment's end.
#include <catenet/bus/framer.hpp>

#include <utility>

namespace catenet::bus {

void framer::feed(chain&& bytes) { frame::gather(rest_, std::move(bytes)); }

// Takes the first segment of the rest for cutting. Without memory for it the slow path goes on to serve.
void framer::anchor_front() {
  if (rest_.empty() || rest_.front().empty()) return;
  auto first = rest_.split(rest_.front().size());
  if (!first) return;  // cannot be: it is at a border
  front_ = detail::make_anchor(std::move(*first));
  if (front_ == nullptr) return rest_.prepend(std::move(*first));
  at_ = front_->bytes.front().data();
  end_ = at_ + front_->bytes.bytes();
}

void framer::forget_front() {
  if (front_ == nullptr) return;
  detail::drop_anchor(std::exchange(front_, nullptr));
  at_ = end_ = nullptr;
}

// Puts what is left of the segment under the knife back before the rest. False when memory ran out.
bool framer::lay_back() {
  if (front_ == nullptr) return true;
  if (const auto left = static_cast<std::uint64_t>(end_ - at_); left != 0) {
    chain& whole = front_->bytes;
    const std::uint64_t done = whole.bytes() - left;
    if (front_->refs == 1) {
      whole.consume(done);
      rest_.prepend(std::move(whole));
    } else {
      auto part = whole.share(done, left);
      if (!part) return false;
      rest_.prepend(std::move(*part));
    }
  }
  forget_front();
  return true;
}

frame::status framer::next_across(packet& message) {
  if (ended_ != frame::status::more) return ended_;
  if (!lay_back()) return frame::status::no_memory;
  const frame::header h = frame::peek(*format_, rest_, limits_);
  missing_ = 0;
  if (frame::is_fatal(h.what)) ended_ = h.what;
  if (h.what != frame::status::frame) return h.what;
  const std::uint64_t whole = h.header_bytes + h.payload_bytes;
  if (rest_.bytes() < whole) {
    missing_ = whole - rest_.bytes();
    return frame::status::more;
  }
  if (rest_.front().size() >= whole) {
    anchor_front();
    if (front_ != nullptr) return next(message);
  }
  auto cut = rest_.split(whole);
  if (!cut) return frame::status::no_memory;
  auto made = packet::from(std::move(*cut));
  if (!made) {
    rest_.prepend(std::move(*cut));
    return frame::status::no_memory;
  }
  made->advance(h.header_bytes);
  message = std::move(*made);
  return frame::status::frame;
}

}  // namespace catenet::bus
