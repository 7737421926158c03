// Thousands of WebSockets that come, talk, subscribe, publish and go at random, for a while. Nothing may be
// lost: echoes come back whole and in order, a subscriber sees no gap in what one publisher says, who closes
// has got everything before; and at the end every block and every byte of session memory is home.
//
//   ws_soak --connections 14000 --seconds 60      built with a sanitizer, best: build/asan/tests/ws_soak
#include <catenet/engine/engine.hpp>
#include <catenet/http/server.hpp>
#include <catenet/ws/server.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

using namespace catenet;
using std::chrono::steady_clock;

struct settings {
  unsigned connections = 1000;
  unsigned seconds = 10;
  unsigned cores = 2;
  unsigned seed = 1;
};

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

// ---- the server: does what the first letter of a message says

ws::options route() {
  ws::options o;
  o.max_queued = 16_MiB;
  o.message = [](ws::connection& c, ws::message m) {
    const std::string what = m.to_string();
    const std::string_view topic = std::string_view{what}.substr(1, what.find(' ') - 1);
    switch (what[0]) {
      case 'e':
        c.send(std::move(m));
        break;
      case 's':
        c.subscribe(topic);
        break;
      case 'u':
        c.unsubscribe(topic);
        c.send("u");
        break;
      case 'p':
        c.publish_to_all(topic, std::move(m));
        break;
      default:
        c.close(ws::close_code{4000}, "as asked");
    }
  };
  return o;
}

class server {
 public:
  explicit server(unsigned cores) : net_(options_for(cores)), web_(net_) {
    web_.websocket("/", route());
    endpoint bound;
    if (const error e = web_.listen("127.0.0.1:0", &bound)) fail(e.text());
    port = bound.port();
    std::promise<void> started;
    net_.on_start([&] { started.set_value(); });
    thread_ = std::thread([this] { failed_ = net_.run(); });
    started.get_future().wait();
  }
  ~server() {
    if (!thread_.joinable()) return;
    net_.stop();
    thread_.join();
  }
  ws::statistics statistics() const { return web_.topics().statistics(); }

  /// Stops, and checks that everything is home.
  void finish() {
    net_.stop();
    thread_.join();
    if (failed_) fail(failed_.text());
    const ws::statistics s = statistics();
    if (s.connections != 0 || s.session_bytes != 0 || s.dropped != 0 || s.failed != 0)
      fail("at the end: " + std::to_string(s.connections) + " connections, " +
           std::to_string(s.session_bytes) + " session bytes, " + std::to_string(s.dropped) + " dropped, " +
           std::to_string(s.failed) + " failed");
    for (const class_statistics& c : net_.slab().statistics().classes)
      if (c.rented + c.lent != 0) fail("blocks of " + std::to_string(c.size) + " bytes did not come home");
  }
  std::uint16_t port = 0;

 private:
  static engine_options options_for(unsigned cores) {
    engine_options e;
    e.cores = cores;
    e.handle_signals = false;
    return e;
  }
  engine net_;
  http::server web_;
  std::thread thread_;
  error failed_;
};

// ---- the peers: one thread, one epoll

struct peer {
  int fd = -1;
  std::uint64_t id = 0;  // never used again
  std::string in, out;
  bool upgraded = false;
  bool closing = false;  // has said Close, or asked for it: only its end is waited for
  std::uint64_t echo_sent = 0, echo_got = 0;
  std::string topic;                                         // subscribed to; empty: none
  bool leaving = false;                                      // has unsubscribed, the answer is on its way
  std::unordered_map<std::string, std::uint64_t> published;  // by topic: how much it has said there
  std::unordered_map<std::uint64_t, std::uint64_t> heard;    // by publisher: the next number
};

class crowd {
 public:
  crowd(const settings& s, std::uint16_t port)
      : settings_(s), port_(port), random_(s.seed), peers_(s.connections) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    for (std::size_t i = 0; i != peers_.size(); ++i) connect(i);
  }
  ~crowd() {
    for (const peer& p : peers_)
      if (p.fd >= 0) close(p.fd);
    close(epoll_);
  }
  crowd(const crowd&) = delete;
  crowd& operator=(const crowd&) = delete;

  void run() {
    const auto end = steady_clock::now() + std::chrono::seconds(settings_.seconds);
    while (steady_clock::now() < end) {
      for (int i = 0; i != 64; ++i) act(random_() % peers_.size());
      serve(0);
    }
    ending_ = true;
    for (peer& p : peers_) {
      if (p.fd < 0 || p.closing) continue;
      p.closing = true;
      send(p, 0x88, "\x03\xe8");
    }
    for (const auto limit = steady_clock::now() + std::chrono::seconds(120); alive_ != 0; serve(100))
      if (steady_clock::now() > limit) fail(std::to_string(alive_) + " connections did not end");
  }
  [[nodiscard]] std::string summary() const {
    return std::to_string(opened_) + " connections, " + std::to_string(echoes_) + " echoes, " +
           std::to_string(said_) + " published, " + std::to_string(deliveries_) + " delivered";
  }

 private:
  void connect(std::size_t i) {
    peer& p = peers_[i] = peer{};
    p.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(p.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    // Several source addresses, as the ports of one do not suffice for those who come and go.
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<std::uint32_t>(opened_ % 50));
    if (bind(p.fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0)
      fail("bind: " + std::string(strerror(errno)));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(port_);
    if (::connect(p.fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0)
      fail("connect: " + std::string(strerror(errno)));
    fcntl(p.fd, F_SETFL, O_NONBLOCK);
    epoll_event e{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.u64 = i}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, p.fd, &e);
    p.id = ++opened_;
    ++alive_;
    p.out =
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
        "13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    push(p);
  }

  void act(std::size_t i) {
    peer& p = peers_[i];
    if (p.closing || p.out.size() > 100'000) return;
    const unsigned what = random_() % 1000;
    if (what < 10) return leave(i, what);
    const std::string topic = std::to_string(random_() % (1 + peers_.size() / 20));
    if (what < 60 && !p.leaving) return change_subscription(p, topic);
    if (what < 200) {
      ++said_;
      return send(p, 0x81,
                  "p" + topic + " " + std::to_string(p.id) + " " + std::to_string(p.published[topic]++) +
                      " " + padding());
    }
    if (p.echo_sent - p.echo_got < 16) send(p, 0x81, "e " + std::to_string(p.echo_sent++) + " " + padding());
  }

  // Says Close, asks for it, or is gone without a word.
  void leave(std::size_t i, unsigned how) {
    peer& p = peers_[i];
    if (how < 5) {
      p.closing = true;
      return send(p, 0x88, "\x03\xe8");
    }
    if (how < 8) {
      p.closing = true;
      return send(p, 0x81, "close");
    }
    const linger now{1, 0};
    if (how == 8) setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    end(i);
  }

  void change_subscription(peer& p, const std::string& topic) {
    if (p.topic.empty()) {
      p.topic = topic;
      return send(p, 0x81, "s" + topic);
    }
    p.leaving = true;
    send(p, 0x81, "u" + p.topic);
  }

  std::string padding() {
    const unsigned kind = random_() % 100;
    return std::string(kind == 0   ? 20'000 + random_() % 50'000
                       : kind < 10 ? random_() % 5000
                                   : random_() % 100,
                       'x');
  }

  void send(peer& p, unsigned first, const std::string& payload) {
    const std::size_t n = payload.size();
    p.out += static_cast<char>(first);
    p.out += static_cast<char>(0x80 | (n < 126 ? n : n < 65536 ? 126 : 127));
    for (int byte = n < 126 ? 0 : n < 65536 ? 2 : 8; byte-- != 0;)
      p.out += static_cast<char>(n >> (8 * byte));
    const std::uint32_t mask = random_();
    char key[4];
    std::memcpy(key, &mask, sizeof key);
    p.out.append(key, 4);
    for (std::size_t i = 0; i != n; ++i) p.out += static_cast<char>(payload[i] ^ key[i & 3]);
    push(p);
  }

  void push(peer& p) {
    while (!p.out.empty()) {
      const ssize_t n = ::send(p.fd, p.out.data(), p.out.size(), MSG_NOSIGNAL);
      if (n < 0) return;  // full, or the peer is gone, which reading tells
      p.out.erase(0, static_cast<std::size_t>(n));
    }
  }

  void serve(int wait_ms) {
    epoll_event events[256];
    const int n = epoll_wait(epoll_, events, 256, wait_ms);
    for (int k = 0; k < n; ++k) {
      const std::size_t i = events[k].data.u64;
      if (peers_[i].fd < 0) continue;
      push(peers_[i]);
      read(i);
    }
  }

  void read(std::size_t i) {
    peer& p = peers_[i];
    char buffer[65536];
    while (true) {
      const ssize_t n = recv(p.fd, buffer, sizeof buffer, 0);
      if (n > 0) {
        p.in.append(buffer, static_cast<std::size_t>(n));
        if (!take_all(p)) return end(i);
        continue;
      }
      if (n < 0 && errno == EAGAIN) return;
      fail("connection " + std::to_string(p.id) +
           " ended without a Close: " + (n == 0 ? "end" : strerror(errno)));
    }
  }

  // False once the server's Close is there.
  bool take_all(peer& p) {
    if (!p.upgraded) {
      const std::size_t head = p.in.find("\r\n\r\n");
      if (head == std::string::npos) return true;
      if (!p.in.starts_with("HTTP/1.1 101")) fail("no upgrade: " + p.in.substr(0, 40));
      p.in.erase(0, head + 4);
      p.upgraded = true;
    }
    std::size_t at = 0;
    bool open = true;
    while (open && take(p, at)) open = !closed_;
    p.in.erase(0, at);
    closed_ = false;
    return open;
  }

  // One frame at `at`, which is moved on; false when it is not whole.
  bool take(peer& p, std::size_t& at) {
    const std::string_view in = std::string_view{p.in}.substr(at);
    if (in.size() < 2) return false;
    std::uint64_t length = static_cast<unsigned char>(in[1]);
    const std::size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (in.size() < 2 + more) return false;
    if (more != 0) length = 0;
    for (std::size_t i = 0; i != more; ++i) length = length << 8 | static_cast<unsigned char>(in[2 + i]);
    if (in.size() - 2 - more < length) return false;
    told(p, static_cast<unsigned char>(in[0]), in.substr(2 + more, length));
    at += 2 + more + length;
    return true;
  }

  void told(peer& p, unsigned first, std::string_view payload) {
    if (first == 0x88) {
      if (!p.closing) fail("connection " + std::to_string(p.id) + " was closed");
      if (p.echo_got != p.echo_sent)
        fail("connection " + std::to_string(p.id) + " missed " + std::to_string(p.echo_sent - p.echo_got) +
             " echoes");
      closed_ = true;
    } else if (first != 0x81) {
      fail("frame " + std::to_string(first));
    } else if (payload[0] == 'e') {
      ++echoes_;
      if (number_at(payload, 1) != p.echo_got++)
        fail("echo " + std::string(payload.substr(0, 20)) + " is not the next");
    } else if (payload[0] == 'u') {
      p.topic.clear();
      p.heard.clear();
      p.leaving = false;
    } else {
      on_publication(p, payload);
    }
  }

  // "pTOPIC PUBLISHER NUMBER padding"
  void on_publication(peer& p, std::string_view payload) {
    ++deliveries_;
    if (payload.substr(1, payload.find(' ') - 1) != p.topic) fail("a message of another topic");
    const std::uint64_t who = number_at(payload, 1), number = number_at(payload, 2);
    const auto [known, first] = p.heard.try_emplace(who, number);
    if (known->second++ != number)
      fail("connection " + std::to_string(p.id) + " missed what " + std::to_string(who) + " said");
  }

  // The number behind the `nth` space.
  static std::uint64_t number_at(std::string_view text, int nth) {
    for (int i = 0; i != nth; ++i) text.remove_prefix(text.find(' ') + 1);
    std::uint64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
  }

  void end(std::size_t i) {
    close(std::exchange(peers_[i].fd, -1));
    --alive_;
    if (!ending_) connect(i);
  }

  settings settings_;
  std::uint16_t port_;
  std::mt19937 random_;
  std::vector<peer> peers_;
  int epoll_ = -1;
  bool ending_ = false, closed_ = false;
  std::size_t alive_ = 0;
  std::uint64_t opened_ = 0, echoes_ = 0, said_ = 0, deliveries_ = 0;
};

settings parse(int argc, char** argv) {
  settings s;
  const std::unordered_map<std::string_view, unsigned*> known = {{"--connections", &s.connections},
                                                                 {"--seconds", &s.seconds},
                                                                 {"--cores", &s.cores},
                                                                 {"--seed", &s.seed}};
  for (int i = 1; i < argc; i += 2) {
    const auto option = known.find(argv[i]);
    if (option == known.end() || i + 1 == argc || std::atoi(argv[i + 1]) <= 0)
      fail("usage: ws_soak [--connections N] [--seconds N] [--cores N] [--seed N]");
    *option->second = static_cast<unsigned>(std::atoi(argv[i + 1]));
  }
  return s;
}

void raise_descriptor_limit(unsigned connections) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < connections + 200ull)
    fail("needs " + std::to_string(connections + 200) + " descriptors, of which " +
         std::to_string(limit.rlim_cur) + " are allowed (ulimit -Hn)");
}

// Tells the port, and ends with what it waits for.
void serve(const settings& s, int tell, int until) {
  server it(s.cores);
  if (write(tell, &it.port, sizeof it.port) != sizeof it.port) fail("telling the port");
  char nothing = 0;
  while (read(until, &nothing, 1) > 0) {
  }
  it.finish();
}

int reported(const std::function<void()>& f) {
  try {
    f();
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "ws_soak: %s\n", e.what());
    return 1;
  }
}

}  // namespace

// The server is a process of its own, since the descriptors of both would be more than one may have.
int main(int argc, char** argv) {
  settings s;
  int told[2], until[2];
  pid_t child = -1;
  const int prepared = reported([&] {
    s = parse(argc, argv);
    raise_descriptor_limit(s.connections);
    if (pipe2(told, O_CLOEXEC) != 0 || pipe2(until, O_CLOEXEC) != 0) fail("pipe2");
    child = fork();
    if (child < 0) fail("fork");
  });
  if (prepared != 0) return prepared;
  if (child == 0) {
    close(until[1]);
    return reported([&] { serve(s, told[1], until[0]); });
  }
  close(told[1]);
  const int failed = reported([&] {
    std::uint16_t port = 0;
    if (read(told[0], &port, sizeof port) != sizeof port) fail("the server did not start");
    crowd all(s, port);
    all.run();
    std::printf("ws_soak: %s, nothing lost\n", all.summary().c_str());
  });
  close(until[1]);
  int status = 0;
  waitpid(child, &status, 0);
  return failed != 0 || status != 0 ? 1 : 0;
}
