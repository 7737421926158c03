// The simulated back end of one core: what io_uring promises, and nothing beyond it. Operations go on when
// the core has a turn, each with what chance leaves it of bytes, blocks and time.
#pragma once

#include "network.hpp"

#include <span>
#include <vector>

namespace catenet {

class simulated final : public backend {
 public:
  simulated(simulated_network& network, backend_context context);
  ~simulated() override;

  [[nodiscard]] std::string_view name() const override { return "simulated"; }
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

  int open_socket(const endpoint& to, bool pace_within_host) override;
  void shut_down(int fd, bool both) override;
  void reset(int fd) override;
  std::uint64_t progress_mark(int fd) override;
  std::int64_t send_file(int fd, int file, std::uint64_t offset, std::size_t length) override;
  std::int64_t send_now(int fd, const chain& bytes, std::uint64_t bytes_max, bool more_follows) override;
  bool read_ahead(token t, int file, std::uint64_t offset, std::size_t length) override;
  std::int32_t peek(int fd) override;
  void close_now(int fd) override;
  endpoint address_of(int fd, bool peer) override;
  clock_reading clock() override;

  // The network has news.
  void look_at(link& l);
  void look_at_listeners();

 private:
  // Memory that a zero-copy send read and the peer has yet to acknowledge: it must stay as it is until the
  // notification, which has nothing to do with the connection any more.
  struct held_memory {
    std::uint32_t id;
    std::uint64_t due_us;
    std::uint64_t checksum;
    bool copied;
    std::vector<sent_piece> pieces;
  };

  // A cancel that missed and was told so: by the end of the turn it must have been asked again, unless what
  // it was for has ended.
  struct told_miss {
    std::uint32_t link;
    std::uint32_t read;
    std::uint32_t cancels;
  };

  void note_misses(std::span<const completion> told);
  void check_misses();
  link* begin_reading(int fd, token t);
  link* begin_writing(int fd, token t);
  link* use(int fd, token t);
  void tell(token t, std::int32_t result, bool more = false, block* data = nullptr);
  void end_reader(link& l, std::int32_t result, block* data = nullptr);
  void end_large(link& l, std::int32_t result);
  void end_writer(link& l, std::int32_t result);
  void serve(link& l);
  void serve_reader(link& l);
  void serve_receive(link& l);
  void serve_large(link& l);
  void serve_writer(link& l);
  void end_zero_copy(link& l, std::int32_t result);
  void notify();
  void copy_out(link& l, std::size_t n);
  void serve_listener(simulated_listener& s);
  void accept_one(simulated_listener& s);
  block* rent(size_class c);
  [[nodiscard]] std::size_t room(const link& l) const;
  std::size_t room_now(link& l, std::size_t wanted);

  simulated_network& net_;
  backend_counters& counters_;
  unsigned core_;
  bool listeners_queued_ = false;
  std::vector<std::uint32_t> queue_;  // links to look at
  std::vector<std::uint32_t> serving_;
  std::vector<std::uint32_t> by_slot_;  // links by their tokens' slot
  std::vector<completion> done_;
  std::vector<lease> offered_;
  std::vector<held_memory> held_;
  std::vector<told_miss> misses_;
  size_class small_ = 0;
  size_class wide_ = 0;
  size_class large_ = 0;
};

}  // namespace catenet
