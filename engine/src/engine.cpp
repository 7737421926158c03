// Starting and stopping the cores together.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>

#include "engine_state.hpp"
#include "epoll.hpp"
#include "page_threshold.hpp"
#include "sockets.hpp"
#include "uring.hpp"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <thread>

namespace catenet {

namespace {

// The engine that signals stop: the one whose run() began last.
std::atomic<engine*> signalled{nullptr};

void on_signal(int) {
  const int saved = errno;
  if (engine* e = signalled.load()) e->stop();
  errno = saved;
}

void pin(unsigned index) {
  cpu_set_t all;
  CPU_ZERO(&all);
  if (sched_getaffinity(0, sizeof all, &all) != 0) return;
  // The index-th of the processors that this process may use.
  unsigned left = index % static_cast<unsigned>(std::max(1, CPU_COUNT(&all)));
  for (int cpu = 0; cpu != CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all) || left-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    return;
  }
}

// Keeps SIGPIPE from the thread of a core, whoever owns the process: sendfile and splice have no flag against
// it, as a send has. One that came meanwhile is taken away before the thread's mask is as it was.
class no_pipe_signal {
 public:
  no_pipe_signal() {
    sigemptyset(&only_);
    sigaddset(&only_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &only_, &before_);
  }
  ~no_pipe_signal() {
    const timespec at_once{};
    if (sigismember(&before_, SIGPIPE) == 0) sigtimedwait(&only_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  no_pipe_signal(const no_pipe_signal&) = delete;
  no_pipe_signal& operator=(const no_pipe_signal&) = delete;

 private:
  sigset_t only_{};
  sigset_t before_{};
};

engine_options checked(engine_options o) {
  if (o.cores == 0) o.cores = std::max(1u, std::thread::hardware_concurrency());
  o.receive_blocks_max = std::bit_ceil(std::clamp(o.receive_blocks_max, 16u, 32768u));
  if (o.source != nullptr && o.page_reference_bytes_min == page_reference_measured)
    o.page_reference_bytes_min = page_reference_usual;
  o.low_watermark = std::min(o.low_watermark, o.high_watermark);
  for (std::uint32_t* delay_ms : {&o.park_after_ms, &o.linger_ms, &o.drain_ms, &o.send_stall_ms})
    *delay_ms = std::min(*delay_ms, timer_wheel::delay_ms_max);
  return o;
}

}  // namespace

std::unique_ptr<backend> engine::state::make_backend(backend_context context) const {
  if (source != nullptr) return source->make(context);
  if (io == io_choice::epoll) return std::make_unique<epoll>(context);
  return std::make_unique<uring>(uring_options{tier, receive_blocks_max, registered.get()}, context);
}

void engine::state::wake(unsigned index) const {
  if (source != nullptr) return source->wake(index);
  const std::uint64_t one = 1;
  // Fails only when the counter would overflow, and then the core is awake. Nothing is logged: a signal
  // handler may be calling.
  [[maybe_unused]] const ssize_t written = ::write(wake_fds[index], &one, sizeof one);
}

void engine::state::remove_socket_files() {
  for (const listener& l : listeners)
    if (l.file != nullptr) l.file->remove();
}

engine::engine(engine_options options) : options_(checked(std::move(options))) {
  state_ = std::make_unique<state>(options_.slab, options_.cores);
  state_->receive_blocks_max = options_.receive_blocks_max;
  state_->source = options_.source;
  for (unsigned i = 0; i != options_.cores; ++i) {
    state_->wake_fds.push_back(options_.source != nullptr ? -1 : eventfd(0, EFD_CLOEXEC));
    if (state_->wake_fds.back() < 0 && options_.source == nullptr && !state_->failure)
      state_->failure = {"eventfd", "core " + std::to_string(i), errno,
                         "raise the limit of descriptors (ulimit -n)"};
    state_->cores.push_back(std::make_unique<core>(*this, static_cast<std::uint16_t>(i)));
  }
  if (!state_->blocks.ok() && !state_->failure)
    state_->failure = {"reserve memory", state_->blocks.error(), 0, {}};
}

engine::~engine() {
  state_->remove_socket_files();
  for (const state::listener& l : state_->listeners) {
    if (state_->source != nullptr) break;  // its listeners are its own
    for (const int fd : l.descriptors)
      if (fd >= 0) ::close(fd);
  }
  state_->cores.clear();
  for (const int fd : state_->wake_fds)
    if (fd >= 0) ::close(fd);
}

error engine::listen(std::string_view where, protocol_factory make, endpoint* bound) {
  state::listener made;
  error e = endpoint::parse(where, made.where);
  if (!e && state_->source != nullptr)
    e = state_->source->listen(made.where, options_.cores, made.descriptors);
  else if (!e)
    e = open_listeners(made.where, options_, made.descriptors);
  if (e) {
    log(log_level::error, e.text());
    if (!state_->failure) state_->failure = e;
    return e;
  }
  if (bound != nullptr) *bound = made.where;
  made.make = std::move(make);
  if (state_->source == nullptr) made.file = std::make_unique<socket_file>(made.where);
  state_->listeners.push_back(std::move(made));
  return {};
}

void engine::on_start(callback<void()> f) { state_->on_start.push_back(std::move(f)); }

error engine::choose_io() {
  state& s = *state_;
  s.io = options_.io;
  io_features without;
  if (error e = io_features::parse(options_.io_without, without)) return e;
  if (s.io != io_choice::epoll && s.source == nullptr) {
    error refused = probe_uring(without, s.tier);
    if (refused && s.io == io_choice::uring) return refused;
    if (refused) log(log_level::warning, refused.text() + "; going on with epoll");
    s.io = refused ? io_choice::epoll : io_choice::uring;
  }
  if (s.io == io_choice::uring && s.tier.features.has(io_feature::fixed) &&
      options_.zero_copy != zero_copy_use::never)
    s.registered = std::make_unique<extent_registry>(s.blocks);
  s.io_name = s.source != nullptr ? "simulated" : s.io == io_choice::epoll ? "epoll" : "io_uring";
  return {};
}

void engine::state::fail(error why) {
  const std::lock_guard lock(failure_mutex);
  if (!failure) failure = std::move(why);
  failed = true;
}

// Those that could not be had are not waited for; the others end again.
void engine::state::go_without_threads(std::size_t count, int why) {
  threads_missing = true;
  fail({"start a thread", std::to_string(cores.size()) + " cores", why,
        "raise the limit of processes (ulimit -u), or take fewer cores"});
  for (; count != 0; --count) {
    all_started.arrive_and_drop();
    all_idle.arrive_and_drop();
  }
}

// Rings that one process may have are limited, by RLIMIT_MEMLOCK for one, so that they can fail where the
// probe's did not.
bool engine::falls_back() const {
  return state_->failed && !state_->threads_missing && options_.io == io_choice::automatic &&
         state_->io == io_choice::uring;
}

// All cores meet here: none has a ring any more, and then one says that it is epoll now.
void engine::fall_back(unsigned index) {
  state& s = *state_;
  s.cores[index]->close_io();
  s.all_started.arrive_and_wait();
  if (index == 0) {
    log(log_level::warning, s.failure.text() + "; going on with epoll");
    s.registered.reset();
    s.failure = {};
    s.failed = false;
    s.io = io_choice::epoll;
    s.io_name = "epoll";
  }
  s.all_started.arrive_and_wait();
  if (error e = s.cores[index]->open_io()) s.fail(std::move(e));
  s.all_started.arrive_and_wait();
}

// The life of a core's thread. All cores start before any runs, and all leave their loops before any ends.
void engine::run_core(unsigned index) {
  const no_pipe_signal guard;
  if (options_.pin_cores) pin(index);
  core& c = *state_->cores[index];
  if (error e = c.open_io()) state_->fail(std::move(e));
  state_->all_started.arrive_and_wait();
  if (falls_back()) fall_back(index);
  if (!state_->failed) {
    c.accept();
    if (index == 0)
      for (const callback<void()>& f : state_->on_start) f();
    c.run();
  }
  c.finish();
}

error engine::run() {
  if (!state_->failure)
    if (error e = choose_io()) state_->failure = std::move(e);
  if (!state_->failure) {
    if (options_.handle_signals) set_signals(true);
    std::vector<std::thread> others;
    try {
      for (unsigned i = 1; i != options_.cores; ++i) others.emplace_back([this, i] { run_core(i); });
    } catch (const std::system_error& e) {
      state_->go_without_threads(options_.cores - 1 - others.size(), e.code().value());
    }
    run_core(0);
    for (std::thread& t : others) t.join();
    end_measuring();
    if (options_.handle_signals) set_signals(false);
  }
  if (state_->failure) log(log_level::error, state_->failure.text());
  return state_->failure;
}

void engine::set_signals(bool on) {
  constexpr int signals[] = {SIGINT, SIGTERM, SIGPIPE};
  if (on) signalled = this;
  for (std::size_t i = 0; i != std::size(signals); ++i) {
    struct sigaction action {};
    action.sa_handler = signals[i] == SIGPIPE ? SIG_IGN : on_signal;
    if (on)
      sigaction(signals[i], &action, &state_->actions_before[i]);
    else
      sigaction(signals[i], &state_->actions_before[i], nullptr);
  }
  if (!on) signalled = nullptr;
}

void engine::stop() {
  state_->stops.fetch_add(1);
  for (unsigned i = 0; i != state_->wake_fds.size(); ++i) state_->wake(i);
}

unsigned engine::cores() const { return options_.cores; }
core& engine::at(unsigned index) { return *state_->cores[index]; }
depot& engine::slab() { return state_->blocks; }
std::string_view engine::io_name() const { return state_->io_name; }

core_statistics engine::statistics() const {
  core_statistics sum;
  for (const auto& c : state_->cores) {
    const core_statistics one = c->statistics();
    sum.connections += one.connections;
    sum.accepted += one.accepted;
    sum.bytes_in += one.bytes_in;
    sum.bytes_out += one.bytes_out;
    sum.turns += one.turns;
    sum.sends += one.sends;
    sum.parked += one.parked;
    sum.enters += one.enters;
    sum.submissions += one.submissions;
    sum.completions += one.completions;
    sum.out_of_blocks += one.out_of_blocks;
    for (std::size_t t = 0; t != tier_count; ++t) {
      sum.tiers[t].bytes += one.tiers[t].bytes;
      sum.tiers[t].calls += one.tiers[t].calls;
    }
    sum.cold_reads += one.cold_reads;
    sum.zero_copy.pinned_bytes += one.zero_copy.pinned_bytes;
    sum.zero_copy.routes_resting += one.zero_copy.routes_resting;
    sum.zero_copy.stepped_down += one.zero_copy.stepped_down;
    sum.zero_copy.registered += one.zero_copy.registered;
    sum.zero_copy.over_cap += one.zero_copy.over_cap;
    if (one.zero_copy.last != downgrade::none) sum.zero_copy.last = one.zero_copy.last;
  }
  return sum;
}

}  // namespace catenet
