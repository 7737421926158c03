// Remote: a chain on its way to other cores.
//
//   one receiver:    remote{std::move(c)} ──mailbox──▶ take()            a move: no atomic read-modify-write
//   many receivers:  remote r{…}; r.share() for each  ──▶ take() each    the first share makes a common count
//
// A shared one lies behind a count that all cores share; what take() gives a core is counted there without
// atomics again, and only the core's last view touches the common count. The core that made it may end
// before.
#pragma once

#include <catenet/slab/atomic.hpp>
#include <catenet/slab/chain.hpp>

#include <cstdint>
#include <optional>
#include <utility>

namespace catenet {

namespace detail {
struct common_chain {
  chain bytes;
  atomic<std::uint32_t> refs{1};
};
void drop_common(common_chain* c);
}  // namespace detail

/// Move-only, and moved between threads by whatever orders the memory (a mailbox). Nothing else crosses
/// cores.
class remote {
 public:
  remote() = default;
  explicit remote(chain&& c) : own_(std::move(c)) {}
  remote(remote&& other) noexcept
      : own_(std::move(other.own_)), common_(std::exchange(other.common_, nullptr)) {}
  remote& operator=(remote&& other) noexcept {
    if (this != &other) {
      reset();
      own_ = std::move(other.own_);
      common_ = std::exchange(other.common_, nullptr);
    }
    return *this;
  }
  ~remote() { reset(); }

  [[nodiscard]] std::uint64_t bytes() const {
    return common_ == nullptr ? own_.bytes() : common_->bytes.bytes();
  }
  explicit operator bool() const { return bytes() != 0; }

  /// Another one of the same bytes, for another receiver. One atomic read-modify-write. On any thread that
  /// holds this. std::nullopt, and this as it was, when memory ran out.
  [[nodiscard]] std::optional<remote> share();

  /// The chain, for the thread that calls, and this is empty afterwards. Without a share() it is the very
  /// chain that was put in; else views of it, read-only. std::nullopt, and this as it was, when memory ran
  /// out. The thread needs a pool.
  [[nodiscard]] std::optional<chain> take();

  void reset() {
    own_.clear();
    if (common_ != nullptr) detail::drop_common(std::exchange(common_, nullptr));
  }

 private:
  bool view_common(chain& views);
  static segment* view_memory(const segment& of, foreign_memory& holder, pool& p);
  static segment* view_file(const segment& of, foreign_memory& holder, pool& p);

  chain own_;
  detail::common_chain* common_ = nullptr;
};

}  // namespace catenet
