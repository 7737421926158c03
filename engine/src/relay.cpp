// Listening for relays, and what they have in common.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/engine/relay.hpp>

#include "pacing.hpp"
#include "relay_pair.hpp"
#include "sockets.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <vector>

namespace catenet {

namespace {

constexpr unsigned accepts_per_turn = 64;
constexpr std::uint32_t accept_retry_ms = 100;

// For connecting to `to`; -1 with errno.
int open_socket(const endpoint& to, const engine_options& how) {
  const int fd = socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  if (fd >= 0 && !to.is_unix()) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd >= 0 && !how.pace_within_host) leave_out_pacing(fd, to);
  return fd;
}

// What passes when others end.
bool is_shortage(int code) { return code == EMFILE || code == ENFILE || code == ENOMEM || code == ENOBUFS; }

}  // namespace

/// A listening socket of one core.
class relay_listener final : watch, timer {
 public:
  relay_listener(relay_core& of, int fd, const endpoint& to, socket_file& file)
      : core_(of), fd_(fd), to_(to), file_(file) {
    if (error e = core_.home.watches().add(fd_, *this)) log(log_level::error, "relay: " + e.text());
  }
  ~relay_listener() override {
    unwatch();
    ::close(fd_);
    if (next_server_ >= 0) ::close(next_server_);
  }

 private:
  void ready(bool, bool, bool) override {
    for (unsigned i = 0; i != accepts_per_turn; ++i)
      if (!accept_one()) return;
    core_.home.watches().again(*this);
  }

  void expire() override { ready(true, false, false); }

  // Stops listening at once; what is open has the time of the drain.
  void drain() override {
    unwatch();
    timer::stop();
    shutdown(fd_, SHUT_RDWR);
    file_.remove();
  }

  // False when there is nobody, or nobody can be taken now. There is a socket for the server before a client
  // is accepted: where descriptors run out, clients wait in the queue of the listening socket.
  bool accept_one() {
    if (core_.pairs.get() >= core_.options.pairs_max) return later();
    if (next_server_ < 0) next_server_ = open_socket(to_, core_.home.owner().options());
    if (next_server_ < 0) {
      if (!is_shortage(errno)) core_.connect_has_failed(to_, errno);
      return later();
    }
    const int client = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) {
      if (is_shortage(errno)) return later();
      return errno == EINTR || errno == ECONNABORTED;
    }
    core_.accepted.add(1);
    relay_pair::start(core_, client, std::exchange(next_server_, -1), to_);
    return true;
  }

  // Descriptors ran out, or the most pairs are open: a later connection would not be a new edge.
  bool later() {
    core_.home.timers().start(*this, accept_retry_ms);
    return false;
  }

  relay_core& core_;
  int fd_;
  int next_server_ = -1;
  const endpoint& to_;
  socket_file& file_;
};

struct relay::state {
  struct route {
    std::vector<int> listeners;  // one a core, -1 once it was taken over
    endpoint to;
    std::unique_ptr<socket_file> file;
  };
  // Lives on its core: made there, and ended there when the engine stops.
  struct member {
    explicit member(core& on, const relay_options& how) : shared(on, how) {}
    relay_core shared;
    std::vector<std::unique_ptr<relay_listener>> listeners;
  };

  void start_core(core& on) {
    auto& mine = *members[on.index()];
    for (route& r : routes)
      mine.listeners.push_back(std::make_unique<relay_listener>(
          mine.shared, std::exchange(r.listeners[on.index()], -1), r.to, *r.file));
  }

  engine& net;
  relay_options options;
  std::vector<route> routes;
  std::vector<std::unique_ptr<member>> members;
};

relay::relay(engine& of, relay_options options)
    : state_(std::make_unique<state>(of, options, std::vector<state::route>{},
                                     std::vector<std::unique_ptr<state::member>>{})) {
  for (unsigned i = 0; i != of.cores(); ++i)
    state_->members.push_back(std::make_unique<state::member>(of.at(i), state_->options));
  of.on_start([this] {
    for (unsigned i = 0; i != state_->net.cores(); ++i) {
      core& c = state_->net.at(i);
      c.post([this, &c] { state_->start_core(c); });
    }
  });
}

relay::~relay() {
  for (const state::route& r : state_->routes) r.file->remove();
  for (const state::route& r : state_->routes)
    for (const int fd : r.listeners)
      if (fd >= 0) ::close(fd);
}

error relay::listen(std::string_view where, std::string_view to, endpoint* bound) {
  state::route made;
  if (error e = endpoint::parse(to, made.to)) return e;
  endpoint at;
  if (error e = endpoint::parse(where, at)) return e;
  if (error e = open_listeners(at, state_->net.options(), made.listeners)) return e;
  made.file = std::make_unique<socket_file>(at);
  for (const int fd : made.listeners) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  if (bound != nullptr) *bound = at;
  state_->routes.push_back(std::move(made));
  return {};
}

relay_statistics relay::statistics() const {
  relay_statistics sum;
  for (const auto& m : state_->members) {
    const relay_core& c = m->shared;
    sum.accepted += c.accepted.get();
    sum.pairs += c.pairs.get();
    sum.connect_failed += c.connect_failed.get();
    sum.resets += c.resets.get();
    sum.idle_ended += c.idle_ended.get();
    sum.pipe_refused += c.pipe_refused.get();
    sum.pipes += c.pipes_open.get();
    const tier_totals out = c.out.totals();
    for (std::size_t t = 0; t != tier_count; ++t) {
      sum.out[t].bytes += out[t].bytes;
      sum.out[t].calls += out[t].calls;
    }
  }
  return sum;
}

}  // namespace catenet
