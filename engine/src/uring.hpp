// The io_uring back end: one ring, one buffer ring of slab blocks, one enter an iteration.
#pragma once

#include <catenet/engine/backend.hpp>

#include <liburing.h>

#include <memory>
#include <vector>

namespace catenet {

struct uring_options {
  std::uint32_t receive_blocks_max = 1024;  ///< entries of the receive ring; power of two
};

/// Whether this kernel and sandbox let us use io_uring at all; the error says who refuses it and what to do.
error probe_uring();

class uring final : public backend {
 public:
  uring(uring_options options, backend_context context);
  ~uring() override;

  [[nodiscard]] std::string_view name() const override { return "io_uring"; }
  error start() override;
  void accept(int listener, token t) override;
  void connect(int fd, token t, const endpoint& to) override;
  void receive(int fd, token t) override;
  void offer(lease block) override;
  void receive_large(int fd, token t, std::uint64_t bytes_max) override;
  void poll_readable(int fd, token t) override;
  void poll_writable(int fd, token t) override;
  void send(int fd, token t, const chain& bytes, bool more_follows) override;
  void cancel(token t) override;
  void close(int fd, token t) override;
  void wait(std::vector<completion>& into, std::int64_t timeout_ms) override;
  void wake_peer(backend& other, int wake_fd) override;
  bool read_ahead(token t, int file, std::uint64_t offset, std::size_t length) override;

 private:
  // A group of blocks that the kernel picks from when data comes.
  struct block_ring {
    io_uring_buf_ring* entries = nullptr;
    std::vector<block*> lent;         // by buffer id; null = not with the kernel
    std::vector<std::uint16_t> idle;  // buffer ids without a block
    std::uint32_t target = 0;         // blocks that should be with the kernel
    std::uint32_t taken_in_turn = 0;
    size_class cls = 0;
    std::uint16_t group = 0;
  };

  error make_ring();
  error make_block_ring(block_ring& r, std::uint16_t group, std::uint32_t entries, std::size_t block_bytes);
  void free_block_ring(block_ring& r);
  void fill(block_ring& r);
  void lend(block_ring& r, block* b, int place);
  block* take(block_ring& r, std::uint16_t id);
  void read_wakeups();

  io_uring_sqe* sqe(token t);
  void submit_early();
  void enter(std::int64_t timeout_ms);
  void collect(std::vector<completion>& into);
  completion translate(const io_uring_cqe& c);

  uring_options options_;
  io_uring ring_{};
  bool live_ = false;
  bool ring_messages_ = true;
  int wake_fd_;
  std::uint64_t wake_count_ = 0;  // where the wake descriptor is read to
  block_ring small_;
  block_ring large_;

  // Message headers and iovecs of this turn's sends: the kernel copies them at submit, so they are reused
  // after it.
  struct message {
    msghdr header;
    std::vector<iovec> parts;
  };
  std::vector<std::unique_ptr<message>> messages_;
  std::size_t messages_used_ = 0;

  std::vector<std::byte> scratch_;  // where reading ahead puts what nobody looks at
  backend_counters& counters_;
};

}  // namespace catenet
