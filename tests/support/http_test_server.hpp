// An HTTP server on a thread of its own, and a plain blocking client, for tests over a real socket.
#pragma once

#include <catenet/engine/engine.hpp>
#include <catenet/http/server.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace catenet::test {

/// Listens on a free port of 127.0.0.1 while it lives.
class http_test_server {
 public:
  struct settings {
    unsigned cores = 1;
    http::server_options http{};
    engine_options engine{};
  };
  /// `routes` adds what is to be served.
  explicit http_test_server(const std::function<void(http::server&)>& routes)
      : http_test_server(routes, settings{}) {}
  http_test_server(const std::function<void(http::server&)>& routes, settings of);
  ~http_test_server();
  http_test_server(const http_test_server&) = delete;
  http_test_server& operator=(const http_test_server&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] engine& net() { return *net_; }
  [[nodiscard]] http::server& web() { return *web_; }
  /// Tells it to stop and waits until it has. Also called at the end.
  void stop();
  /// Waits until no connection, session or block of a request is left; what is left is told.
  [[nodiscard]] std::string wait_until_idle();

 private:
  std::unique_ptr<engine> net_;
  std::unique_ptr<http::server> web_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

/// The routes of the table of bad input: GET / and /hello/{name}, POST /echo; GET /files/ with one file,
/// "ten"; GET /bad/{value, name, framing, type}, which set a field that may not go out; POST /expand, which
/// takes gzip up to 10,000 bytes; /up, which upgrades whoever asks for it.
void add_table_routes(http::server& web);

struct http_answer {
  int status = 0;
  std::string head;  ///< with its empty line
  std::string body;
  [[nodiscard]] std::optional<std::string> field(std::string_view name) const;
};

/// A connection to 127.0.0.1. Every wait ends after ten seconds.
class http_test_client {
 public:
  explicit http_test_client(std::uint16_t port, int receive_buffer_bytes = 0);
  ~http_test_client();
  http_test_client(const http_test_client&) = delete;
  http_test_client& operator=(const http_test_client&) = delete;

  /// False when the connection is gone.
  bool send(std::string_view bytes);
  /// One whole answer; status 0 when the connection ends before. `to_head`: it has no body whatever its head
  /// says.
  http_answer read(bool to_head = false);
  /// True when the peer ended the connection (FIN or reset) and nothing came before.
  bool at_end();
  /// All there is until the end.
  std::string read_all();
  /// At least that many bytes, or what came until the end.
  std::string read_some(std::size_t least);
  void finish_sending();
  /// Ends with a reset.
  void reset();

 private:
  bool fill();
  int fd_ = -1;
  std::string buffer_;
};

}  // namespace catenet::test
