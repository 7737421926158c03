// Who holds what: checks of ownership in builds with CATENET_CHECKS, nothing in others.
//
// Every rent notes where it was asked for and the tag in force; every return likewise. A block that is
// returned twice, or while somebody refers to it, or that makes a move which block_state.hpp does not allow,
// ends the process and names who had it; a depot that ends before its blocks are home lists who has them.
#pragma once

#include <catenet/slab/block.hpp>

#include <cstdint>

#ifdef CATENET_CHECKS
#include <source_location>
#endif

namespace catenet {

#ifdef CATENET_CHECKS

/// Names what the thread is doing, for the notes, while it lives. The text must outlive every block rented
/// under it.
class tag_scope {
 public:
  explicit tag_scope(const char* name) : before_(current_) { current_ = name; }
  ~tag_scope() { current_ = before_; }
  tag_scope(const tag_scope&) = delete;
  tag_scope& operator=(const tag_scope&) = delete;
  static const char* current() { return current_; }

 private:
  static inline constinit thread_local const char* current_ = nullptr;
  const char* before_;
};

/// The place of a call; a default argument of what rents and returns.
using caller = std::source_location;

namespace detail {
void note_rent(block* b, const caller& who);
void note_return(block* b, const caller& who);    // ends the process when nobody holds the block
void check_move(const block& b, block_state to);  // ends the process at a move that is not in the table
void report_holder(const block* b);
}  // namespace detail

#else

class tag_scope {
 public:
  explicit tag_scope(const char*) {}
  static const char* current() { return nullptr; }
};

struct caller {
  static constexpr caller current() { return {}; }
};

namespace detail {
inline void note_rent(block*, const caller&) {}
inline void note_return(block*, const caller&) {}
inline void check_move(const block&, block_state) {}
}  // namespace detail

#endif

namespace detail {
// The only way a block changes its state.
inline void move_block(block& b, block_state to) {
  check_move(b, to);
  b.state = to;
}
}  // namespace detail

/// A block as it was at one moment. live() turns false when it has gone home since, even if it was rented
/// again (told by its generation, which only builds with CATENET_CHECKS count).
struct block_stamp {
  const block* of = nullptr;
  std::uint16_t generation = 0;
  explicit block_stamp(const block* b) : of(b), generation(b->generation) {}
  [[nodiscard]] bool live() const { return of->state >= block_state::rented && of->generation == generation; }
};

}  // namespace catenet
