// What is on its way out of a connection, written piece behind piece into one block: room is looked for once
// a block, not once an answer.
#pragma once

#include <catenet/slab/chain.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace catenet::http {

/// Invariant: begin_ <= at_ <= end_, all null while no room is open.
class gathering {
 public:
  /// Room for at least `most` bytes (not 0) behind the end, null when the slab has none. Where none is open,
  /// as much as `fresh_bytes` is opened at once. What was written there is to be told.
  char* room(std::size_t most, std::size_t fresh_bytes) {
    if (static_cast<std::size_t>(end_ - at_) >= most) [[likely]]
      return at_;
    open_ = all().reserve(std::max(most, fresh_bytes));
    begin_ = at_ = reinterpret_cast<char*>(open_.bytes().data());
    end_ = begin_ + open_.bytes().size();
    return at_;
  }
  void written_to(char* end) { at_ = end; }

  [[nodiscard]] std::uint64_t bytes() const {
    return done_.bytes() + static_cast<std::uint64_t>(at_ - begin_);
  }
  /// All there is, as a chain: to append to, or to take.
  chain& all() {
    if (begin_ != nullptr) open_.commit(static_cast<std::size_t>(at_ - begin_));
    begin_ = at_ = end_ = nullptr;
    return done_;
  }

 private:
  chain done_;
  reservation open_;
  char* begin_ = nullptr;
  char* at_ = nullptr;
  char* end_ = nullptr;
};

}  // namespace catenet::http
