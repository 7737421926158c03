#include "support/http_test_server.hpp"

#include <catenet/engine/endpoint.hpp>
#include <catenet/http/request_head.hpp>

#include "support/chosen_io.hpp"
#include "support/eventually.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <stdexcept>

namespace catenet::test {

http_test_server::http_test_server(const std::function<void(http::server&)>& routes, settings of) {
  of.engine.cores = of.cores;
  of.engine.handle_signals = false;
  choose_io(of.engine);
  net_ = std::make_unique<engine>(of.engine);
  web_ = std::make_unique<http::server>(*net_, of.http);
  routes(*web_);
  endpoint bound;
  if (const error e = web_->listen("127.0.0.1:0", &bound)) throw std::runtime_error(e.text());
  port_ = bound.port();
  std::promise<void> started;
  net_->on_start([&] { started.set_value(); });
  thread_ = std::thread([this, &started] {
    if (const error e = net_->run())
      started.set_exception(std::make_exception_ptr(std::runtime_error(e.text())));
  });
  try {
    started.get_future().get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

http_test_server::~http_test_server() { stop(); }

void http_test_server::stop() {
  if (!thread_.joinable()) return;
  net_->stop();
  thread_.join();
}

std::string http_test_server::wait_until_idle() {
  std::string left;
  eventually([&] {
    left.clear();
    if (const auto n = net_->statistics().connections; n != 0) left += std::to_string(n) + " connections ";
    if (const auto n = web_->statistics().busy; n != 0) left += std::to_string(n) + " sessions ";
    for (const class_statistics& c : net_->slab().statistics().classes)
      if (c.rented != 0) left += std::to_string(c.rented) + " blocks of " + std::to_string(c.size) + " ";
    return left.empty();
  });
  return left;
}

namespace {

// A directory with one file to be had, and more beside it that is not, for as long as the program runs.
class table_files {
 public:
  table_files() {
    std::string name = (std::filesystem::temp_directory_path() / "catenet-table-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    base_ = name;
    std::filesystem::create_directory(base_ / "root");
    std::ofstream{base_ / "root" / "ten"} << "0123456789";
    std::ofstream{base_ / "secret"} << "outside";
    std::filesystem::create_symlink("../secret", base_ / "root" / "link-out");
  }
  ~table_files() {
    std::error_code ignored;
    std::filesystem::remove_all(base_, ignored);
  }
  table_files(const table_files&) = delete;
  table_files& operator=(const table_files&) = delete;
  [[nodiscard]] std::string root() const { return base_ / "root"; }

 private:
  std::filesystem::path base_;
};

void add_bad_fields(http::server& web) {
  web.get("/bad/value", [](http::request&, http::response& rs) { rs.header("A", "b\r\nC: d").text("x"); });
  web.get("/bad/name", [](http::request&, http::response& rs) { rs.header("A: b\r\nC", "d").text("x"); });
  web.get("/bad/nul", [](http::request&, http::response& rs) {
    rs.header("A", std::string_view{"b\0c", 3}).text("x");
  });
  web.get("/bad/framing",
          [](http::request&, http::response& rs) { rs.header("Content-Length", "3").text("x"); });
}

}  // namespace

void add_table_routes(http::server& web) {
  static const table_files files;
  web.files("/files", files.root(), {.hot_bytes_max = 0});  // nothing is to be left when all is idle
  add_bad_fields(web);
  web.post("/expand",
           [](http::request& rq, http::response& rs) -> task<> { rs.text(co_await rq.body().text(1 << 20)); },
           {.expand_max = 10'000});
  const auto up = [](http::request& rq, http::response& rs) {
    if (!rq.head().upgrade) return rs.text("no upgrade");
    rs.upgrade("nothing", [](stream&, chain&&) {});
  };
  web.get("/up", up).post("/up", up);
  web.get("/", [](http::request&, http::response& rs) { rs.text("Hello, World!"); });
  web.get("/hello/{name}",
          [](http::request& rq, http::response& rs) { rs.text("hello ", rq.param("name")); });
  web.post("/echo", [](http::request& rq, http::response& rs) -> task<> {
    rs.body(co_await rq.body().collect(1 << 20));
  });
}

std::optional<std::string> http_answer::field(std::string_view name) const {
  for (std::size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
    const std::size_t end = head.find("\r\n", at);
    const std::string_view line = std::string_view{head}.substr(at, end - at);
    const std::size_t colon = line.find(':');
    if (http::equal_ignoring_case(line.substr(0, colon), name))
      return std::string{line.substr(std::min(colon + 2, line.size()))};
    at = end + 2;
  }
  return std::nullopt;
}

http_test_client::http_test_client(std::uint16_t port, int receive_buffer_bytes) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{10, 0};
  const int one = 1;
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (receive_buffer_bytes != 0)
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
    throw std::runtime_error("connect failed");
}

http_test_client::~http_test_client() {
  if (fd_ >= 0) ::close(fd_);
}

bool http_test_client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

bool http_test_client::fill() {
  char more[65536];
  const ssize_t n = ::recv(fd_, more, sizeof more, 0);
  if (n <= 0) return false;
  buffer_.append(more, static_cast<std::size_t>(n));
  return true;
}

http_answer http_test_client::read(bool to_head) {
  http_answer a;
  std::size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
    if (!fill()) return {};
  a.head = buffer_.substr(0, end + 4);
  buffer_.erase(0, end + 4);
  a.status = std::atoi(a.head.substr(9, 3).c_str());
  if (to_head || a.status < 200 || a.status == 204 || a.status == 304) return a;
  if (a.field("Transfer-Encoding") == "chunked") {
    for (;;) {
      std::size_t line = 0;
      while ((line = buffer_.find("\r\n")) == std::string::npos)
        if (!fill()) return {};
      const std::size_t size = std::strtoul(buffer_.c_str(), nullptr, 16);
      while (buffer_.size() < line + 2 + size + 2)
        if (!fill()) return {};
      a.body += buffer_.substr(line + 2, size);
      if (size != 0) {
        buffer_.erase(0, line + 2 + size + 2);
        continue;
      }
      buffer_.erase(0, line + 2);
      std::size_t last = 0;
      while ((last = buffer_.starts_with("\r\n") ? 0 : buffer_.find("\r\n\r\n")) == std::string::npos)
        if (!fill()) return {};
      a.head += buffer_.substr(0, last);  // trailers
      buffer_.erase(0, last == 0 ? 2 : last + 4);
      return a;
    }
  }
  if (const auto length = a.field("Content-Length")) {
    const std::size_t size = std::strtoul(length->c_str(), nullptr, 10);
    while (buffer_.size() < size)
      if (!fill()) return {};
    a.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return a;
  }
  a.body = read_all();
  return a;
}

bool http_test_client::at_end() { return buffer_.empty() && !fill(); }

std::string http_test_client::read_all() {
  while (fill()) {
  }
  return std::exchange(buffer_, {});
}

std::string http_test_client::read_some(std::size_t least) {
  while (buffer_.size() < least && fill()) {
  }
  return std::exchange(buffer_, {});
}

void http_test_client::finish_sending() { ::shutdown(fd_, SHUT_WR); }

void http_test_client::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  ::close(std::exchange(fd_, -1));
}

}  // namespace catenet::test
