// Walking over the segments of a chain.
#include <catenet/slab/cursor.hpp>

#include <algorithm>
#include <cstring>

namespace catenet {

std::uint64_t cursor::skip(std::uint64_t n) {
  n = std::min(n, left_);
  left_ -= n;
  position_ += n;
  std::uint64_t to_go = n + offset_;
  while (at_ != nullptr && to_go >= at_->length) {
    to_go -= at_->length;
    at_ = at_->next;
  }
  offset_ = static_cast<std::uint32_t>(to_go);
  return n;
}

std::optional<std::uint64_t> cursor::find(std::byte wanted) const {
  std::uint64_t distance = 0;
  cursor c = *this;
  for (auto part = c.piece(); !part.empty(); part = c.piece()) {
    if (const void* hit = std::memchr(part.data(), static_cast<int>(wanted), part.size()))
      return distance + static_cast<std::uint64_t>(static_cast<const std::byte*>(hit) - part.data());
    distance += part.size();
    c.skip(part.size());
  }
  return std::nullopt;
}

std::optional<std::uint64_t> cursor::find_crlf() const {
  cursor c = *this;
  while (const auto to_cr = c.find(std::byte{'\r'})) {
    c.skip(*to_cr);
    cursor behind = c;
    behind.skip(1);
    if (const auto part = behind.piece(); !part.empty() && part[0] == std::byte{'\n'})
      return c.position() - position_;
    c = behind;
  }
  return std::nullopt;
}

bool cursor::starts_with(std::string_view text) const {
  if (text.size() > left_) return false;
  cursor c = *this;
  while (!text.empty()) {
    const auto part = c.piece();
    if (part.empty()) return false;
    const std::size_t n = std::min(part.size(), text.size());
    if (std::memcmp(part.data(), text.data(), n) != 0) return false;
    text.remove_prefix(n);
    c.skip(n);
  }
  return true;
}

std::optional<std::uint64_t> cursor::find(std::string_view text) const {
  if (text.empty()) return 0;
  cursor c = *this;
  while (const auto to_first = c.find(static_cast<std::byte>(text[0]))) {
    c.skip(*to_first);
    if (c.starts_with(text)) return c.position() - position_;
    c.skip(1);
  }
  return std::nullopt;
}

bool cursor::read(std::span<std::byte> out) {
  if (out.size() > left_) return false;
  cursor c = *this;
  for (std::size_t done = 0; done != out.size();) {
    const auto part = c.piece();
    if (part.empty()) return false;
    const std::size_t take = std::min(part.size(), out.size() - done);
    std::memcpy(out.data() + done, part.data(), take);
    done += take;
    c.skip(take);
  }
  *this = c;
  return true;
}

}  // namespace catenet
