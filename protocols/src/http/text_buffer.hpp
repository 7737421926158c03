// Text that is mostly short: the first bytes in place, what is longer in a string that keeps its memory.
#pragma once

#include "http/put.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace catenet::http {

template <std::size_t Inline>
class text_buffer {
 public:
  void append(std::string_view text) {
    if (text.empty()) return;
    if (overflow_.empty() && text.size() <= Inline - size_) {
      size_ = static_cast<std::size_t>(put(inline_ + size_, text) - inline_);
      return;
    }
    if (overflow_.empty()) overflow_.assign(inline_, size_);
    overflow_.append(text);
    size_ = overflow_.size();
  }
  /// Room for `most` bytes in place, or null: then append() is the way. What was written there is to be told.
  char* room(std::size_t most) {
    return overflow_.empty() && most <= Inline - size_ ? inline_ + size_ : nullptr;
  }
  void written_to(const char* end) { size_ = static_cast<std::size_t>(end - inline_); }

  [[nodiscard]] std::string_view view() const {
    return overflow_.empty() ? std::string_view{inline_, size_} : std::string_view{overflow_};
  }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t heap_bytes() const {
    return overflow_.capacity() > sizeof(std::string) ? overflow_.capacity() : 0;
  }
  void clear() {
    size_ = 0;
    if (overflow_.empty()) [[likely]]
      return;
    if (overflow_.capacity() > keep_max) overflow_ = std::string{};
    overflow_.clear();
  }

 private:
  static constexpr std::size_t keep_max = 16384;

  std::size_t size_ = 0;
  std::string overflow_;
  char inline_[Inline];
};

}  // namespace catenet::http
