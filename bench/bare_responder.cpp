// The yardstick: about the least that a server on io_uring can do. One thread; multishot accept and multishot
// receive into one ring of provided buffers; it counts "\r\n\r\n" and sends a fixed answer once for each, all
// that are owed in one send. It parses nothing, has no timers and no limits. A server that also does its work
// cannot be expected to need less.
//
// It is honest where a shortcut would flatter it: a head may come in pieces, one send is in flight a
// connection and the next one starts when that has completed, so a client that does not read is not sent to
// for ever.
//
// With --close it answers one head and closes: one receive, and a send linked to the close.
// IORING_OP_SHUTDOWN is not used: the kernel hands it to a worker thread (io_uring/net.c sets
// REQ_F_FORCE_ASYNC), which costs more than all the rest, and the worker looks the descriptor up when it
// runs, by which time the number may be another connection's.

#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct options {
  int port = 0;
  std::size_t body_bytes = 13;
  std::size_t answer_bytes = 0;  // 0: as short as the body allows
  bool close = false;
  bool direct = false;
};

[[noreturn]] void fail(const std::string& tried, int error) {
  const char* name = strerrorname_np(error);
  throw std::runtime_error(tried + " failed: " + (name ? name : "?") + " (" + std::strerror(error) + ")");
}

// ---- the answer ----

constexpr std::string_view greeting = "Hello, World!";
constexpr std::string_view padding_name = "X-Padding: ";

std::string make_answer(const options& how) {
  std::string body(how.body_bytes, 'x');
  if (body.size() == greeting.size()) body = greeting;
  std::string head =
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\n";
  if (how.close) head += "Connection: close\r\n";
  const std::size_t least = head.size() + 2 + body.size();
  const std::size_t padding_least = padding_name.size() + 2;
  if (how.answer_bytes >= least + padding_least)
    head += std::string(padding_name) + std::string(how.answer_bytes - least - padding_least, 'x') + "\r\n";
  else if (how.answer_bytes > least)
    std::fprintf(stderr, "note: the answer has %zu bytes; padding it takes %zu more\n", least, padding_least);
  return head + "\r\n" + body;
}

/// As many copies of the answer, one behind the other, as are ever sent at once.
class answers {
 public:
  explicit answers(const options& how) {
    constexpr std::size_t at_once_max = 64;               // more than anyone pipelines
    constexpr std::size_t bytes_at_once_max = 64 * 1024;  // but a large body is sent alone
    const std::string one = make_answer(how);
    one_bytes_ = one.size();
    at_once_ = std::clamp<std::size_t>(bytes_at_once_max / one.size(), 1, at_once_max);
    for (std::size_t i = 0; i < at_once_; ++i) bytes_ += one;
  }

  std::string_view first(std::size_t owed) const {
    return {bytes_.data(), std::min(owed, at_once_) * one_bytes_};
  }
  std::size_t count(std::size_t bytes) const { return bytes / one_bytes_; }

 private:
  std::string bytes_;
  std::size_t one_bytes_ = 0;
  std::size_t at_once_ = 0;
};

// ---- request heads ----

constexpr std::string_view head_end = "\r\n\r\n";

/// Counts the ends of heads in `bytes`; `matched` is how much of an end the bytes before them had.
std::uint32_t count_heads(std::string_view bytes, std::uint8_t& matched) {
  std::uint32_t heads = 0;
  const auto step = [&](char letter) {
    matched = letter == head_end[matched] ? static_cast<std::uint8_t>(matched + 1)
              : letter == head_end[0]     ? 1
                                          : 0;
    if (matched == head_end.size()) matched = 0, ++heads;
  };
  while (matched != 0 && !bytes.empty()) {
    step(bytes.front());
    bytes.remove_prefix(1);
  }
  while (const void* found = ::memmem(bytes.data(), bytes.size(), head_end.data(), head_end.size())) {
    ++heads;
    bytes.remove_prefix(static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data()) +
                        head_end.size());
  }
  for (char letter : bytes.substr(bytes.size() - std::min<std::size_t>(bytes.size(), head_end.size() - 1)))
    step(letter);
  return heads;
}

// ---- the responder ----

class responder {
 public:
  explicit responder(const options& how) : how_(how), answers_(how), connections_(connections_max) {}

  void run() {
    set_up_ring();
    set_up_buffers();
    listen();
    prepare_accept();
    for (;;) {
      const int error = io_uring_submit_and_wait(&ring_, 1);
      if (error < 0 && error != -EINTR) fail("waiting for completions (io_uring_enter)", -error);
      reap();
    }
  }

 private:
  enum class operation : std::uint8_t { accept, receive, send, close };

  struct connection {
    std::uint32_t owed = 0;    // answers not sent yet
    std::uint8_t matched = 0;  // of "\r\n\r\n"
    bool sending = false;
    bool receiving = false;
    bool broken = false;  // closed as soon as neither is under way
  };

  static constexpr std::size_t connections_max = 65536;
  static constexpr unsigned submissions_max = 4096;
  static constexpr unsigned completions_max = 16384;
  static constexpr unsigned direct_max = 16384;
  static constexpr unsigned buffers = 1024;
  static constexpr unsigned buffer_bytes = 4096;
  static constexpr int buffer_group = 0;

  void set_up_ring() {
    io_uring_params parameters{};
    // one thread submits (6.0), completions wait for its enter (6.1), no interrupt for them (5.19), all
    // submissions are tried even if one is refused (5.18)
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
                       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
    parameters.cq_entries = completions_max;
    int error = io_uring_queue_init_params(submissions_max, &ring_, &parameters);
    if (error != 0) fail("setting up an io_uring", -error);
    error = io_uring_register_ring_fd(&ring_);
    if (error < 0) fail("registering the ring's descriptor", -error);
    if (!how_.direct) return;
    error = io_uring_register_files_sparse(&ring_, direct_max);
    if (error != 0) fail("registering a table of direct descriptors", -error);
  }

  void set_up_buffers() {
    const std::size_t ring_bytes = buffers * sizeof(io_uring_buf);
    void* memory = ::mmap(nullptr, ring_bytes + std::size_t{buffers} * buffer_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) fail("allocating receive buffers (mmap)", errno);
    buffer_ring_ = static_cast<io_uring_buf_ring*>(memory);
    buffer_memory_ = static_cast<char*>(memory) + ring_bytes;
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(buffer_ring_);
    registration.ring_entries = buffers;
    registration.bgid = buffer_group;
    const int error = io_uring_register_buf_ring(&ring_, &registration, 0);
    if (error != 0) fail("registering the ring of receive buffers", -error);
    io_uring_buf_ring_init(buffer_ring_);
    for (unsigned i = 0; i < buffers; ++i) give_back(i);
    publish_buffers();
  }

  void listen() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener_ < 0) fail("making a socket", errno);
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::setsockopt(listener_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted sockets inherit it
    sockaddr_in address{};
    socklen_t size = sizeof address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(how_.port));
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0)
      fail("binding to 127.0.0.1:" + std::to_string(how_.port), errno);
    if (::listen(listener_, 4096) != 0) fail("listening (listen)", errno);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    std::printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
  }

  // -- submissions --

  io_uring_sqe* submission() {
    while (true) {
      if (io_uring_sqe* entry = io_uring_get_sqe(&ring_)) return entry;
      const int error = io_uring_submit(&ring_);  // the queue is full: let the kernel take it
      if (error < 0) fail("submitting (io_uring_enter)", -error);
    }
  }

  void tag(io_uring_sqe* entry, operation what, unsigned index) const {
    io_uring_sqe_set_data64(entry, std::uint64_t{index} << 8 | static_cast<std::uint8_t>(what));
    if (how_.direct && what != operation::accept && what != operation::close)
      entry->flags |= IOSQE_FIXED_FILE;
  }

  void prepare_accept() {
    io_uring_sqe* entry = submission();
    if (how_.direct)
      io_uring_prep_multishot_accept_direct(entry, listener_, nullptr, nullptr, 0);
    else
      io_uring_prep_multishot_accept(entry, listener_, nullptr, nullptr, SOCK_CLOEXEC);
    tag(entry, operation::accept, 0);
  }

  void prepare_receive(unsigned index) {
    io_uring_sqe* entry = submission();
    if (how_.close)
      io_uring_prep_recv(entry, static_cast<int>(index), nullptr, 0, 0);
    else
      io_uring_prep_recv_multishot(entry, static_cast<int>(index), nullptr, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = buffer_group;
    tag(entry, operation::receive, index);
    connections_[index].receiving = true;
  }

  void prepare_send(unsigned index) {
    connection& one = connections_[index];
    const std::string_view bytes = answers_.first(one.owed);
    io_uring_sqe* entry = submission();
    io_uring_prep_send(entry, static_cast<int>(index), bytes.data(), bytes.size(),
                       MSG_WAITALL | MSG_NOSIGNAL);
    tag(entry, operation::send, index);
    one.owed -= static_cast<std::uint32_t>(answers_.count(bytes.size()));
    one.sending = true;
    if (!how_.close) return;
    entry->flags |= IOSQE_IO_LINK;
    prepare_close(index);
  }

  void close_if_quiet(unsigned index) {
    connection& one = connections_[index];
    if (!one.broken || one.sending || one.receiving) return;
    one = {};
    prepare_close(index);
  }

  void prepare_close(unsigned index) {
    io_uring_sqe* entry = submission();
    if (how_.direct)
      io_uring_prep_close_direct(entry, index);
    else
      io_uring_prep_close(entry, static_cast<int>(index));
    tag(entry, operation::close, index);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  }

  // -- completions --

  void reap() {
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_cqe* completion = nullptr;
    io_uring_for_each_cqe(&ring_, head, completion) {
      ++seen;
      handle(*completion);
    }
    io_uring_cq_advance(&ring_, seen);
    publish_buffers();
  }

  void handle(const io_uring_cqe& completion) {
    const auto index = static_cast<unsigned>(completion.user_data >> 8);
    switch (static_cast<operation>(completion.user_data & 0xff)) {
      case operation::accept:
        return accepted(completion);
      case operation::receive:
        return received(completion, index);
      case operation::send:
        return sent(completion, index);
      case operation::close:  // only a failure gets here: the send before it failed, so closing is still to
                              // be done
        if (completion.res == -ECANCELED) prepare_close(index);
        return;
    }
  }

  void accepted(const io_uring_cqe& completion) {
    if (!(completion.flags & IORING_CQE_F_MORE)) prepare_accept();
    if (completion.res < 0) return;  // no descriptor left, or the peer has gone already
    const auto index = static_cast<unsigned>(completion.res);
    connections_.at(index) = {};
    prepare_receive(index);
  }

  void received(const io_uring_cqe& completion, unsigned index) {
    connection& one = connections_[index];
    one.receiving = (completion.flags & IORING_CQE_F_MORE) != 0;
    if (completion.res > 0) {
      const unsigned buffer = completion.flags >> IORING_CQE_BUFFER_SHIFT;
      one.owed += count_heads(
          {buffer_memory_ + std::size_t{buffer} * buffer_bytes, static_cast<std::size_t>(completion.res)},
          one.matched);
      give_back(buffer);
      if (one.owed != 0 && !one.sending && !one.broken) prepare_send(index);
      if (how_.close && one.sending) return;  // the close follows the send
    } else if (completion.res != -ENOBUFS) {
      one.broken = true;  // end of stream, or an error
    }
    if (one.broken) return close_if_quiet(index);
    if (!one.receiving) prepare_receive(index);
  }

  void sent(const io_uring_cqe& completion, unsigned index) {
    connection& one = connections_[index];
    one.sending = false;
    if (how_.close) return;
    // MSG_WAITALL sends all or fails; after a failure the receive ends by itself, as the peer is gone
    if (completion.res <= 0) one.broken = true;
    if (one.broken) return close_if_quiet(index);
    if (one.owed != 0) prepare_send(index);
  }

  void give_back(unsigned buffer) {
    io_uring_buf_ring_add(buffer_ring_, buffer_memory_ + std::size_t{buffer} * buffer_bytes, buffer_bytes,
                          static_cast<unsigned short>(buffer), io_uring_buf_ring_mask(buffers),
                          static_cast<int>(unpublished_++));
  }

  void publish_buffers() {
    io_uring_buf_ring_advance(buffer_ring_, static_cast<int>(unpublished_));
    unpublished_ = 0;
  }

  options how_;
  answers answers_;
  std::vector<connection> connections_;  // by descriptor
  io_uring ring_{};
  io_uring_buf_ring* buffer_ring_ = nullptr;
  char* buffer_memory_ = nullptr;
  unsigned unpublished_ = 0;  // buffers given back since the last iteration
  int listener_ = -1;
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"About the least an io_uring server can do: a fixed answer for each request head"};
  options how;
  app.add_option("--port", how.port, "port on 127.0.0.1 (0: any free one)");
  app.add_option("--body-bytes", how.body_bytes, "length of the answer's body")->capture_default_str();
  app.add_option("--answer-bytes", how.answer_bytes,
                 "length of the whole answer, filled up with a header, to match another server's");
  app.add_flag("--close", how.close, "answer once, with Connection: close, and close");
  app.add_flag("--direct", how.direct, "use direct descriptors instead of a place in the process's table");
  CLI11_PARSE(app, argc, argv);
  try {
    responder(how).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bare_responder: %s\n", error.what());
    return 1;
  }
}
