// Whose turn it is: of the inputs that have a whole frame, the one that has got the least for its weight
// (start-time fair queueing: Goyal, Vin, Cheng, 1997).
#include <catenet/merge/merger.hpp>

#include "sink.hpp"
#include "source.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>

namespace catenet::merge {

namespace {

constexpr std::uint64_t bytes_per_turn = 1_MiB;  // before the loop looks at others again
// An input whose next frame is not there yet may catch up on so much of what it missed: its writer needs a
// moment to fill the pipe again. No more: what was silent for long must not hold up the others when it
// speaks.
constexpr std::uint64_t saved_bytes_max = 256_KiB;
constexpr std::uint64_t service_per_byte = 1 << 16;  // at weight 1
// Inputs that found no memory ask again every few milliseconds; when none was freed for so long, one has to
// go.
constexpr std::uint32_t starving_ms_max = 1000;
constexpr std::uint32_t starving_gap_ms = 200;  // without a complaint: it was over

std::uint64_t service_of(std::uint64_t bytes, const source& s) {
  return std::max<std::uint64_t>(1, bytes * service_per_byte / s.weight);
}

struct least_served {
  bool operator()(const source* a, const source* b) const {
    return a->served != b->served ? a->served < b->served : a->order < b->order;
  }
};

}  // namespace

struct merger::state final : source_owner, sink::owner, watch {
  state(core& on, const options& o) : home(on), out(on, *this) { how = o; }
  ~state() override {
    if (spy_read >= 0) ::close(spy_read);
    if (spy_write >= 0) ::close(spy_write);
    unwatch();
    if (turn_fd >= 0) ::close(turn_fd);
  }

  void on_ready(source& s) override {
    enqueue(s);
    run();
  }
  void on_evicted(source& s) override {
    ++evicted;
    if (tell_evicted) tell_evicted(s.name, s.reason());
    run();
  }
  void on_starved(source& s) override;
  void on_room() override { run(); }
  void on_abandoned() override {
    out.give_up();
    run();
  }
  void ready(bool, bool, bool) override { run(); }  // asked for by again()
  void drain() override {
    stopping = true;
    run();
  }
  void abandon() override {
    unwatch();
    on_abandoned();
  }

  std::uint32_t charged_ms() const override {
    const std::uint32_t now_ms = home.now_ms();
    return now_ms - full_ms - (full ? now_ms - full_since_ms : 0);
  }

  void enqueue(source& s) {
    if (std::exchange(s.queued, true)) return;
    const std::uint64_t saved = service_of(saved_bytes_max, s);
    s.served = std::max(s.served, served_now - std::min(served_now, saved));
    turns.insert(&s);
  }

  void run();
  bool serve(source& s);
  bool put();
  void set_full(bool now_full);
  void finish_if_over();

  core& home;
  sink out;
  std::vector<std::unique_ptr<source>> sources;
  std::set<source*, least_served> turns;  // those that may have a frame
  std::uint64_t served_now = 0;           // of the one whose turn it was last, before its turn
  callback<void(const error&)> done;
  callback<void(std::string_view, std::string_view)> tell_evicted;
  std::uint64_t starving_at = 0;        // what was out when they began to starve
  std::uint32_t starving_since_ms = 0;  // on the charged clock
  std::uint32_t starving_told_ms = 0;   // when one complained last, on the core's clock
  bool starving = false;
  bool started = false;
  bool stopping = false;  // the engine is: nothing further is admitted
  bool running = false;   // run() is on the stack: what it causes goes on there
  bool full = false;
  std::uint32_t full_since_ms = 0;
  std::uint32_t full_ms = 0;  // together, without the present one
  std::uint64_t times_full = 0;
  std::size_t evicted = 0;
  std::uint64_t weight_max = 1;
  int turn_fd = -1;  // never signalled: gives this a watch, by which it gets further turns of the loop
};

// Puts out what is under way, then the next input's turn, until the output is full, nothing is left, or
// others are to have the loop.
void merger::state::run() {
  if (!started || running) return;
  running = true;
  const std::uint64_t before = out.bytes();
  bool going = put();
  while (going && !stopping && !turns.empty()) {
    if (out.bytes() - before >= bytes_per_turn) {
      home.watches().again(*this);
      break;
    }
    going = serve(**turns.begin());
  }
  running = false;
  finish_if_over();
}

// One input's turn: a run of small frames, or one that is longer. False when the output is full or has
// failed.
bool merger::state::serve(source& s) {
  turns.erase(&s);
  s.queued = false;
  item frames = s.next(std::max<std::uint64_t>(1, how.quantum_bytes * s.weight / weight_max));
  const std::uint64_t bytes = frames.bytes();
  if (bytes == 0) return true;
  served_now = s.served;
  s.served += service_of(bytes, s);
  s.frames += frames.frames;
  s.bytes += bytes;
  enqueue(s);
  out.take(std::move(frames), s);
  return put();
}

bool merger::state::put() {
  if (out.idle()) return true;
  const sink::result r = out.put();
  set_full(r == sink::result::full);
  return r == sink::result::done;
}

void merger::state::set_full(bool now_full) {
  if (full == now_full) return;
  full = now_full;
  if (full) {
    ++times_full;
    full_since_ms = home.now_ms();
  } else {
    full_ms += home.now_ms() - full_since_ms;
  }
}

// Memory is short. Only what is put out gives some back; where nothing is, the one that holds most of it for
// a frame that is not complete gives it to the others. The clock stands while the output is full.
void merger::state::on_starved(source& s) {
  enqueue(s);
  const std::uint32_t told_before_ms = std::exchange(starving_told_ms, home.now_ms());
  const std::uint64_t freed = out.bytes() + evicted;
  if (!starving || freed != starving_at || starving_told_ms - told_before_ms > starving_gap_ms) {
    starving = true;
    starving_at = freed;
    starving_since_ms = charged_ms();
    return run();
  }
  if (charged_ms() - starving_since_ms < starving_ms_max || !out.idle()) return run();
  starving = false;
  const auto most = std::max_element(sources.begin(), sources.end(), [](const auto& a, const auto& b) {
    return a->holds_back() < b->holds_back();
  });
  const std::uint64_t bytes = (*most)->holds_back();
  if (bytes == 0) return run();
  (*most)->evict("there is no memory left, and its unfinished frame held most of it: " +
                 std::to_string(bytes) + " bytes");
}

void merger::state::finish_if_over() {
  if (!started) return;
  const bool empty = out.idle() && (turns.empty() || stopping);
  if (!out.failure() && !empty) return;
  const bool ended = std::ranges::all_of(sources, [](const auto& s) { return s->over(); });
  if (!out.failure() && !ended && !stopping) return;
  started = false;
  unwatch();
  out.stop();
  for (const auto& s : sources) s->let_go();
  const callback<void(const error&)> tell = std::move(done);
  error how_it_ended = out.failure();
  if (!how_it_ended && !ended)
    how_it_ended = {"merge", "the inputs", ECANCELED, "it was told to stop before they had ended"};
  tell(how_it_ended);  // may end this
}

merger::merger(core& on, options how) : state_(std::make_unique<state>(on, how)) {}
merger::~merger() = default;

error merger::output(int fd) { return state_->out.open(fd); }

error merger::input(int fd, std::string name, std::uint32_t weight) {
  state& s = *state_;
  if (s.spy_read < 0) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
      const int code = errno;
      ::close(fd);
      return {"pipe2", name, code, "raise the limit of open descriptors (ulimit -n)"};
    }
    s.spy_read = ends[0];
    s.spy_write = ends[1];
    s.turn_fd = eventfd(0, EFD_CLOEXEC);
    if (error e = s.home.watches().add(s.turn_fd, s)) return e;
  }
  auto made = std::make_unique<source>(s.home, s, fd, std::move(name), weight);
  if (error e = made->start()) return e;
  made->order = s.sources.size();
  made->served = s.served_now;
  s.sources.push_back(std::move(made));
  s.weight_max = std::max<std::uint64_t>(s.weight_max, weight);
  s.enqueue(*s.sources.back());
  if (s.started) s.home.watches().again(s);
  return {};
}

void merger::on_evicted(callback<void(std::string_view, std::string_view)> tell) {
  state_->tell_evicted = std::move(tell);
}

void merger::start(callback<void(const error&)> done) {
  state_->done = std::move(done);
  state_->started = true;
  state_->run();
}

statistics merger::statistics() const {
  merge::statistics all;
  for (const auto& s : state_->sources)
    all.inputs.push_back({s->name, s->frames, s->bytes, s->over() && s->reason().empty(), s->reason()});
  all.out = state_->out.out.totals();
  all.output_full = state_->times_full;
  return all;
}

std::size_t merger::evicted() const { return state_->evicted; }

}  // namespace catenet::merge
