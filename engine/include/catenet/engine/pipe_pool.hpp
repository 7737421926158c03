// A pool of pipes: what splice needs between two descriptors. A pipe is rented for as long as bytes are in
// it, so a few serve many relays, and comes back empty or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace catenet {

struct pipe_pool_options {
  std::uint32_t pipes_max = 512;  ///< most at one time; two descriptors each
  std::uint32_t idle_max = 64;    ///< kept open unused
  std::size_t pipe_bytes =
      256 << 10;  ///< asked of the kernel; a pipe smaller than a quarter of it is not used
};

/// One thread's. Must outlive what it rented out.
class pipe_pool {
 public:
  struct pipe {
    int read = -1;
    int write = -1;
    explicit operator bool() const { return read >= 0; }
  };

  explicit pipe_pool(pipe_pool_options options = {}) : options_(options) {}
  ~pipe_pool();
  pipe_pool(const pipe_pool&) = delete;
  pipe_pool& operator=(const pipe_pool&) = delete;

  /// An empty pipe, both ends non-blocking; none when the most are rented, descriptors ran out, or the kernel
  /// gives this user only small ones by now (fs.pipe-user-pages-soft: about 1000 of 64 KiB).
  pipe rent();
  /// Takes a pipe back; `emptied` says that nothing is inside. With bytes inside it is closed.
  void give(pipe p, bool emptied);

  [[nodiscard]] std::uint32_t open() const { return open_; }
  [[nodiscard]] std::uint32_t rented() const { return open_ - static_cast<std::uint32_t>(idle_.size()); }
  [[nodiscard]] int refusal() const {
    return refusal_;
  }  ///< errno of the last rent() that failed; ENFILE: too small

 private:
  void discard(pipe p);

  pipe_pool_options options_;
  std::vector<pipe> idle_;
  std::uint32_t open_ = 0;
  int refusal_ = 0;
};

}  // namespace catenet
