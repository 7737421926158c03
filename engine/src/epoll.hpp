// The epoll back end, for where io_uring is refused: one epoll instance a core, one edge-triggered
// registration a descriptor for its whole life, so that arming, pausing and parking are no system calls.
//
//   edge ─▶ entry.readable ─▶ ready list ─▶ recvmsg into rented blocks until the socket is empty
//        └▶ entry.busy: the send that met a full socket goes on
//
// Sends are tried at once and nearly always end at once; what they told waits in `done_` for the next wait().
#pragma once

#include <catenet/engine/backend.hpp>

#include "file_reader.hpp"

#include <sys/epoll.h>

#include <array>
#include <memory>
#include <vector>

namespace catenet {

class epoll final : public backend {
 public:
  explicit epoll(backend_context context);
  ~epoll() override;

  [[nodiscard]] std::string_view name() const override { return "epoll"; }
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
  void cancel(token t) override;
  void close(int fd, token t) override;
  void wait(std::vector<completion>& into, std::int64_t timeout_ms) override;
  void wake_peer(backend& other, int wake_fd) override;
  bool read_ahead(token t, int file, std::uint64_t offset, std::size_t length) override;

 private:
  // What only a descriptor at work needs; from a free list, so the entry of a quiet one stays small.
  struct busy {
    token writer;                 // the send, poll for writing or connect under way; 0 = none
    const segment* at = nullptr;  // the send's position
    std::uint64_t sent = 0;
    std::uint32_t offset = 0;  // in `at`
    bool more_follows = false;
    block* large = nullptr;  // a large receive's block, taken when its first bytes came
    std::uint64_t large_max = 0;
    std::uint64_t large_filled = 0;
    busy* next = nullptr;
  };
  // A descriptor, by its tokens' slot.
  struct entry {
    token reader;  // the receive or poll under way; 0 = none
    busy* work = nullptr;
    int fd = -1;
    std::uint32_t generation : 24 = 0;
    std::uint32_t readable : 1 = 0;  // not known to be empty
    std::uint32_t ended : 1 = 0;     // an end or error was signalled: only a read that says so is the last
    std::uint32_t listed : 1 = 0;    // in ready_
    std::uint32_t once : 1 = 0;      // the receive ends with its first block
  };
  struct listener {
    token t;  // 0 = not accepting
    int fd = -1;
    bool ready = false;
  };

  entry& at(std::uint32_t slot) { return entries_[slot / entries_per_piece][slot % entries_per_piece]; }
  entry* enter(int fd, token t);
  entry* find(token t);
  busy& work_of(entry& e);
  void release(entry& e);
  void finish_reader(entry& e, std::int32_t result, block* data = nullptr);
  void finish_writer(entry& e, std::int32_t result);
  void tell(token t, std::int32_t result, bool more = false, block* data = nullptr);
  void list(entry& e);
  void wait_for_events(std::int64_t timeout_ms);
  void on_event(const epoll_event& event);
  void accept_some(listener& l);
  void stop_accepting(listener& l, std::int32_t result);
  void serve_ready();
  void begin_receive(int fd, token t, bool once);
  void read(entry& e);
  bool read_once(entry& e, std::size_t blocks);
  void read_large(entry& e);
  void read_wide(entry& e);
  void end_large(entry& e, std::int32_t result);
  void look_at_connect(entry& e);
  void write(entry& e);
  bool stock(std::size_t blocks);

  static constexpr std::size_t blocks_per_read = 16;
  static constexpr std::size_t entries_per_piece = 512;

  backend_counters& counters_;
  int wake_fd_;
  int epoll_fd_ = -1;
  bool skipped_ = false;  // the last wait() had enough to tell without asking the kernel
  // By slot, in pieces: a table that moves when it grows leaves its former sizes behind.
  std::vector<std::unique_ptr<entry[]>> entries_;
  std::vector<listener> listeners_;   // by slot
  std::vector<std::uint32_t> ready_;  // slots that may have something to read, and were asked to
  std::vector<std::uint32_t> serving_;
  std::vector<completion> done_;
  std::vector<epoll_event> events_;
  std::array<block*, blocks_per_read> stock_{};  // rented blocks for the reads to come, marked as lent
  std::size_t stocked_ = 0;
  busy* free_work_ = nullptr;
  size_class small_ = 0;
  size_class wide_ = 0;
  size_class large_ = 0;
  file_reader files_;
};

}  // namespace catenet
