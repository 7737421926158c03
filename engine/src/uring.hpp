// The io_uring back end: one ring, one buffer ring of slab blocks, one enter an iteration.
#pragma once

#include <catenet/engine/backend.hpp>

#include "block_ring.hpp"
#include "registered_memory.hpp"
#include "room_watch.hpp"
#include "uring_tier.hpp"

#include <liburing.h>

#include <memory>
#include <vector>

namespace catenet {

struct uring_options {
  uring_tier tier;
  std::uint32_t receive_blocks_max = 1024;  ///< entries of the receive ring; power of two
  extent_registry* registered = nullptr;    ///< for zero-copy sends; null: they pin their memory each time
};

class uring final : public backend {
 public:
  uring(uring_options options, backend_context context);
  ~uring() override;

  [[nodiscard]] std::string_view name() const override { return "io_uring"; }
  error start() override;
  void accept(int listener, token t) override;
  void connect(int fd, token t, const endpoint& to) override;
  void receive(int fd, token t) override;
  void receive_once(int fd, token t) override;
  void offer(lease block) override;
  void receive_large(int fd, token t, std::uint64_t bytes_max) override;
  void receive_wide(int fd, token t) override;
  void poll_readable(int fd, token t) override;
  void poll_writable(int fd, token t) override;
  void send(int fd, token t, const chain& bytes, bool more_follows) override;
  bool send_zero_copy(int fd, token t, std::uint32_t id, const chain& bytes, bool more_follows) override;
  void cancel(token t) override;
  void close(int fd, token t) override;
  void wait(std::vector<completion>& into, std::int64_t timeout_ms) override;
  void wake_peer(backend& other, int wake_fd) override;
  bool read_ahead(token t, int file, std::uint64_t offset, std::size_t length) override;
  void trim() override;

 private:
  error make_ring();
  void read_wakeups();
  [[nodiscard]] bool has(io_feature f) const { return options_.tier.features.has(f); }

  io_uring_sqe* sqe(token t);
  void receive_block(int fd, token t, std::uint16_t group);
  void submit_early();
  void enter(std::int64_t timeout_ms);
  int enter_for_several(std::int64_t timeout_ms);
  unsigned collect(std::vector<completion>& into);
  void translate(const io_uring_cqe& c, std::vector<completion>& into);
  [[nodiscard]] block_ring& ring_for_large() { return has(io_feature::large) ? large_ : small_; }
  [[nodiscard]] block_ring& ring_for(operation receive);
  bool lend_more(operation receive);
  void renew(block_ring& r, std::uint32_t target);
  void wait_without_the_ring(token t, std::vector<completion>& into);
  void poll_rooms();
  void collect_zero_copy(const io_uring_cqe& c, std::vector<completion>& into);

  uring_options options_;
  io_uring ring_{};
  bool live_ = false;
  bool registered_ = false;    // the ring's descriptor
  bool enter_failed_ = false;  // and that was logged
  int wake_fd_;
  std::uint64_t wake_count_ = 0;  // where the wake descriptor is read to
  block_ring small_;
  block_ring wide_;
  block_ring large_;
  std::uint32_t wide_under_way_ = 0;   // receives, which take a block as bytes come
  std::uint32_t large_under_way_ = 0;  // receives, each of which may hold a block
  std::vector<completion> early_;      // found between two waits: told by the next
  unsigned load_ = 0;                  // completions a turn, of late

  // Message headers and iovecs of this turn's sends: the kernel copies them at submit, so they are reused
  // after it.
  struct message {
    msghdr header;
    std::vector<iovec> parts;
  };
  std::vector<std::unique_ptr<message>> messages_;
  std::size_t messages_used_ = 0;
  msghdr* message_of(const chain& bytes);

  room_watch rooms_;
  bool rooms_polled_ = false;  // our poll of it is under way

  std::vector<token> zero_copy_sends_;  // by id
  registered_memory registered_memory_;

  std::vector<std::byte> scratch_;  // where reading ahead puts what nobody looks at
  backend_counters& counters_;
};

}  // namespace catenet
