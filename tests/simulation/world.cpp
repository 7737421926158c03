// Draws a run from its seed, lets it happen, and checks what must hold meanwhile and at the end.
#include "world.hpp"

#include <catenet/engine/engine.hpp>
#include <catenet/slab/sanitizer.hpp>

#include "line_peer.hpp"
#include "line_server.hpp"
#include "pattern.hpp"
#include "web_peer.hpp"
#include "web_server.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

namespace catenet::test {

namespace {

constexpr std::uint64_t limit_us = 120'000'000;       // of virtual time, until every client is served
constexpr std::uint64_t drain_limit_us = 30'000'000;  // and until a stopped engine has ended
constexpr std::uint64_t web_every = 3;                // every third run is of HTTP and WebSocket
constexpr std::size_t ample_bytes = 256_MiB;          // a slab that never runs out
constexpr std::uint64_t livelock_events = 200'000;    // without a millisecond passing
// An audit looks at every block: after every turn in one run of four, and so often in the others. Under a
// sanitizer it costs many times as much.
#if defined(CATENET_ASAN) || defined(CATENET_TSAN)
constexpr std::uint64_t turns_per_audit = 16;
#else
constexpr std::uint64_t turns_per_audit = 4;
#endif

// Every seed is unkind in ways of its own: most chances are none in most runs, so that what is left is seen
// clearly.
unsigned drawn(seeded_random& random, unsigned most) {
  return random.chance(400) ? 0 : static_cast<unsigned>(random.below(most + 1));
}

simulation_options draw_network(seeded_random& random, std::uint64_t seed) {
  simulation_options o;
  o.seed = seed;
  o.short_receive = drawn(random, 800);
  o.receive_ends = drawn(random, 100);
  o.no_block = drawn(random, 100);
  o.split_send = drawn(random, 600);
  o.short_send = drawn(random, 200);
  o.late = drawn(random, 500);
  o.held_back = drawn(random, 500);
  o.accept_fails = random.chance(150) ? 500 : drawn(random, 100);
  o.split_on_wire = drawn(random, 700);
  o.spurious_wake = drawn(random, 100);
  o.cancel_misses = drawn(random, 300);
  o.zero_copy_copies = drawn(random, 1000);
  o.zero_copy_late_us_max = static_cast<std::uint32_t>(random.below(random.chance(200) ? 5'000'000 : 5000));
  if (random.chance(200)) o.no_memory = drawn(random, 50);
  o.latency_us_max = static_cast<std::uint32_t>(random.between(1, random.chance(100) ? 50000 : 2000));
  o.oversleep_us_max = static_cast<std::uint32_t>(random.between(1, random.chance(100) ? 20000 : 500));
  constexpr std::size_t buffers[] = {200, 1000, 4096, 16384, 65536, 262144};
  o.socket_buffer = buffers[random.below(std::size(buffers))];
  if (random.chance(200)) o.descriptors_max = static_cast<std::uint32_t>(random.between(10, 200));
  return o;
}

engine_options draw_engine(seeded_random& random, simulation& world, bool web) {
  engine_options o = world.settings();
  o.cores = static_cast<unsigned>(random.between(1, 4));
  o.slab.capacity = random.chance(300) ? 12_MiB : web ? ample_bytes : 32_MiB;
  o.slab.batch_blocks = static_cast<std::uint32_t>(random.between(1, 32));
  o.park_after_ms = random.chance(500) ? static_cast<std::uint32_t>(random.between(1, 100)) : 1000;
  o.high_watermark = random.chance(500) ? random.between(1, 64_KiB) : 256_KiB;
  o.low_watermark = random.below(o.high_watermark + 1);
  o.send_stall_ms = 30000;
  o.zero_copy = random.chance(500) ? zero_copy_use::always : zero_copy_use::automatic;
  o.zero_copy_bytes_min = random.chance(500) ? random.between(1, 4_KiB) : 64_KiB;
  if (random.chance(200)) o.zero_copy_pinned_max = random.between(1, 256_KiB);
  return o;
}

peer_habits draw_habits(seeded_random& random, const simulation_options& network) {
  peer_habits h;
  h.body_max = network.socket_buffer * 200;
  h.aborts = drawn(random, 200);
  h.dies = drawn(random, 100);
  h.vanishes = network.descriptors_max < 1000 ? 0 : drawn(random, 30);  // they would take them all, for good
  h.slow = drawn(random, 30);
  return h;
}

// A file that holds the pattern, made once.
int pattern_file() {
  static const int fd = [] {
    const int made = memfd_create("pattern", MFD_CLOEXEC);
    const std::string& bytes = pattern::table();
    return made >= 0 && write(made, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) ? made
                                                                                                      : -1;
  }();
  return fd;
}

class world {
 public:
  explicit world(const run_options& o)
      : o_(o),
        random_(o.seed ^ 0x5eed),
        network_(draw_network(random_, o.seed)),
        sim_(network_),
        book_(sim_),
        net_(draw_engine(random_, sim_, o.seed % web_every == 0)),
        habits_(draw_habits(random_, network_)) {
    if (o.seed % web_every == 0) {
      web_ = std::make_unique<http::server>(net_);
      add_routes(*web_, book_);
    }
    book_.file = pattern_file();
    book_.file_bytes = pattern::table().size();
    book_.excused.assign(o.connections, 0);
  }

  run_result go() {
    if (o_.verbose) describe();
    open();
    if (random_.chance(250)) stop_at_us_ = random_.below(2'000'000);
    while (sim_.violation().empty() && !all_over() && step()) {
    }
    if (sim_.violation().empty() && !stopped_) check_over();
    stop();
    while (sim_.violation().empty() && !sim_.finished() && step())
      if (sim_.now_us() > stopped_at_us_ + drain_limit_us)
        sim_.violated("the engine did not end after stop()");
    close();
    return result_;
  }

 private:
  void open() {
    endpoint where;
    const error e = web_ ? web_->listen("127.0.0.1:0", &where)
                         : net_.listen(
                               "127.0.0.1:0",
                               [this](core& c) { return std::make_unique<line_server>(c, book_); }, &where);
    if (e) sim_.violated(e.text());
    if (const error f = sim_.start(net_)) sim_.violated(f.text());
    const std::uint64_t spread_us = random_.between(1, 3'000'000);
    for (std::uint32_t i = 0; i != o_.connections; ++i) {
      if (web_)
        peers_.push_back(std::make_unique<web_peer>(book_, habits_, i, random_.next()));
      else
        peers_.push_back(std::make_unique<line_peer>(book_, habits_, i, random_.next()));
      sim_.connect(*peers_.back(), where, random_.below(spread_us));
    }
    const bool spare = net_.options().slab.capacity == ample_bytes;
    starve_every_us_ = !spare && random_.chance(300) ? random_.between(50'000, 500'000) : 0;
    // A web server without memory says so, or ends the connection; a line server waits.
    if (web_ && (!spare || network_.no_memory != 0))
      for (const auto& p : peers_) p->excuse();
  }

  bool step() {
    const std::uint64_t before_us = sim_.now_us();
    const std::uint64_t turns = sim_.turns();
    if (!sim_.step()) return false;
    ++result_.events;
    const std::uint64_t period = o_.seed % 4 == 0 ? 1 : turns_per_audit;
    if (sim_.turns() != turns && sim_.turns() % period == 0) sim_.audit(false);
    calm_events_ = sim_.now_us() / 1000 == before_us / 1000 ? calm_events_ + 1 : 0;
    if (calm_events_ > livelock_events) sim_.violated("the engine is busy without end, and nothing happens");
    if (sim_.now_us() > limit_us && somebody_waits())
      sim_.violated("not everybody was served in time: " + waiting());
    if (!stopped_ && stop_at_us_ != 0 && sim_.now_us() > stop_at_us_) stop();
    if (starve_every_us_ != 0 && sim_.now_us() > starved_us_ + starve_every_us_ && !stopped_) {
      starved_us_ = sim_.now_us();
      sim_.starve(random_.below(64_KiB), random_.between(1000, 100'000));
    }
    return true;
  }

  void describe_end() {
    const core_statistics all = net_.statistics();
    std::printf("at the end: %llu connections of %llu accepted, %llu parked, out of blocks %llu times\n",
                static_cast<unsigned long long>(all.connections),
                static_cast<unsigned long long>(all.accepted), static_cast<unsigned long long>(all.parked),
                static_cast<unsigned long long>(all.out_of_blocks));
    for (unsigned i = 0; i != net_.cores(); ++i)
      if (!web_) net_.at(i).for_each([](stream& s) { std::printf("%s\n", line_server::text(s).c_str()); });
    for (const class_statistics& c : net_.slab().statistics().classes)
      std::printf("blocks of %zu: %llu, rented %llu, lent %llu, cached %llu\n", c.size,
                  static_cast<unsigned long long>(c.total), static_cast<unsigned long long>(c.rented),
                  static_cast<unsigned long long>(c.lent), static_cast<unsigned long long>(c.cached));
  }

  void describe() const {
    const simulation_options& n = network_;
    const engine_options& e = net_.options();
    std::printf(
        "of 1000: short receive %u, receive ends %u, no block %u, split send %u, short send %u, late %u, "
        "held back %u, "
        "accept fails %u, split on wire %u, spurious wake %u, no memory %u\n",
        n.short_receive, n.receive_ends, n.no_block, n.split_send, n.short_send, n.late, n.held_back,
        n.accept_fails, n.split_on_wire, n.spurious_wake, n.no_memory);
    std::printf(
        "latency %u us, oversleep %u us, socket buffer %zu, descriptors %u; cores %u, slab %zu MiB, batch "
        "%u, park after "
        "%u ms, watermarks %llu/%llu; clients: aborts %u, die %u, vanish %u, slow %u\n",
        n.latency_us_max, n.oversleep_us_max, n.socket_buffer, n.descriptors_max, e.cores,
        e.slab.capacity >> 20, e.slab.batch_blocks, e.park_after_ms,
        static_cast<unsigned long long>(e.low_watermark), static_cast<unsigned long long>(e.high_watermark),
        habits_.aborts, habits_.dies, habits_.vanishes, habits_.slow);
  }

  void stop() {
    if (std::exchange(stopped_, true)) return;
    stopped_at_us_ = sim_.now_us();
    for (const auto& p : peers_) p->excuse();
    net_.stop();
  }

  // Looked at rarely: it takes its time.
  bool all_over() {
    if (stopped_) return true;
    if (result_.events % 64 != 0) return false;
    while (over_ != peers_.size() && (peers_[over_]->over() || peers_[over_]->vanished())) ++over_;
    return over_ == peers_.size();
  }

  void check_over() {
    if (somebody_waits()) sim_.violated("nothing will ever happen again: " + waiting());
  }

  bool somebody_waits() const {
    return std::any_of(peers_.begin(), peers_.end(),
                       [](const auto& p) { return !p->over() && !p->vanished(); });
  }

  std::string waiting() const {
    std::size_t count = 0;
    std::string first;
    for (const auto& p : peers_)
      if (!p->over() && !p->vanished() && count++ == 0) first = p->lacks();
    return std::to_string(count) + " clients wait; " + first;
  }

  void close() {
    const bool clean = sim_.violation().empty();
    if (o_.verbose) describe_end();
    if (clean && !sim_.finished()) sim_.violated("the engine did not end after stop(), and sleeps");
    const core_statistics all = net_.statistics();
    result_.connections = all.accepted;
    result_.bytes = all.bytes_out;
    result_.turns = sim_.turns();
    result_.virtual_ms = sim_.now_us() / 1000;
    if (sim_.violation().empty()) {
      if (all.connections != 0 || all.parked != 0)
        sim_.violated("connections or parked streams are counted that are gone");
      if (book_.sessions != 0) sim_.violated("closed() was not told to every session");
      sim_.release();
      sim_.audit(true);
    }
    result_.violation = sim_.violation();
  }

  run_options o_;
  seeded_random random_;
  simulation_options network_;
  simulation sim_;
  ledger book_;
  engine net_;
  std::unique_ptr<http::server> web_;  // or the line server
  peer_habits habits_;
  std::vector<std::unique_ptr<test_peer>> peers_;
  std::size_t over_ = 0;
  std::uint64_t calm_events_ = 0;
  std::uint64_t stop_at_us_ = 0;
  std::uint64_t stopped_at_us_ = 0;
  std::uint64_t starve_every_us_ = 0;
  std::uint64_t starved_us_ = 0;
  bool stopped_ = false;
  run_result result_;
};

}  // namespace

run_result run(const run_options& o) {
  // On the heap and, after a violation, left there: what a faulty engine left behind cannot be taken down in
  // order.
  auto w = std::make_unique<world>(o);
  run_result result = w->go();
  if (!result.violation.empty()) static_cast<void>(w.release());
  return result;
}

}  // namespace catenet::test
