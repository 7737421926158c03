// See ws_peer.hpp.
#include "ws_peer.hpp"

#include "support/chosen_io.hpp"
#include "support/eventually.hpp"
#include "ws/service.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <future>

namespace catenet::ws::testing {

engine_options server::without_signals(engine_options e) {
  e.handle_signals = false;
  e.slab.capacity = 512_MiB;
  e.slab.huge_pages = false;
  test::choose_io(e);
  return e;
}

server::server(options o, engine_options e) : net_(without_signals(e)), hub_(net_) {
  auto shared = std::make_shared<const options>(std::move(o));
  endpoint bound;
  const error failed = net_.listen(
      "127.0.0.1:0", [shared, this](core& c) { return std::make_unique<service>(c, shared, hub_); }, &bound);
  EXPECT_FALSE(failed) << failed.text();
  port_ = bound.port();
  std::promise<void> started;
  net_.on_start([&] { started.set_value(); });
  thread_ = std::thread([this] {
    const error ended = net_.run();
    EXPECT_FALSE(ended) << ended.text();
  });
  started.get_future().wait();
}

void server::stop() {
  if (!thread_.joinable()) return;
  net_.stop();
  thread_.join();
}

server::~server() {
  stop();
  EXPECT_EQ(hub_.statistics().connections, 0u);
  for (const class_statistics& c : net_.slab().statistics().classes)
    EXPECT_EQ(c.rented + c.lent, 0u) << "blocks of " << c.size << " bytes did not come home";
}

bool server::eventually(const std::function<bool()>& holds) { return test::eventually(holds); }

peer::peer(std::uint16_t port, int receive_buffer) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer != 0) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&where), sizeof where), 0);
}

peer::~peer() {
  if (fd_ >= 0) close(fd_);
}

void peer::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool peer::fill(std::size_t bytes, int wait_ms, const char*& why) {
  while (in_.size() < bytes) {
    pollfd p{fd_, POLLIN, 0};
    if (poll(&p, 1, wait_ms) == 0) {
      why = "silence";
      return false;
    }
    char buffer[65536];
    const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
    if (n <= 0) {
      why = n == 0 ? "end" : "reset";
      return false;
    }
    in_.append(buffer, static_cast<std::size_t>(n));
  }
  return true;
}

std::string peer::head() {
  const char* why = "";
  std::size_t end = 0;
  while ((end = in_.find("\r\n\r\n")) == std::string::npos)
    if (!fill(in_.size() + 1, 5000, why)) return std::exchange(in_, {});
  std::string head = in_.substr(0, end + 4);
  in_.erase(0, end + 4);
  return head;
}

std::string peer::next(int wait_ms) {
  const char* why = "";
  const auto byte = [this](std::size_t i) {
    return static_cast<std::uint64_t>(static_cast<unsigned char>(in_[i]));
  };
  if (!fill(2, wait_ms, why)) return why;
  EXPECT_LT(byte(1), 128u) << "a server must not mask";
  std::size_t head = 2;
  std::uint64_t length = byte(1);
  if (length >= 126) {
    head += length == 126 ? 2 : 8;
    if (!fill(head, wait_ms, why)) return why;
    length = 0;
    for (std::size_t i = 2; i != head; ++i) length = length << 8 | byte(i);
  }
  if (!fill(head + length, wait_ms, why)) return why;
  constexpr char digits[] = "0123456789abcdef";
  const std::string told = {digits[byte(0) >> 4], digits[byte(0) & 15], ' '};
  std::string frame = told + in_.substr(head, length);
  in_.erase(0, head + length);
  return frame;
}

std::vector<std::string> peer::rest() {
  std::vector<std::string> frames;
  do frames.push_back(next());
  while (frames.back() != "end" && frames.back() != "reset" && frames.back() != "silence");
  return frames;
}

void peer::end_sending() { shutdown(fd_, SHUT_WR); }

void peer::reset() {
  const linger now{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(std::exchange(fd_, -1));
}

}  // namespace catenet::ws::testing
