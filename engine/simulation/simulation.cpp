// Virtual time: what is due next, whose turn it is, and what the slab must add up to.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/simulation.hpp>
#include <catenet/slab/pool.hpp>

#include "core_state.hpp"
#include "engine_state.hpp"
#include "simulated.hpp"

#include <algorithm>
#include <bit>

namespace catenet {

namespace {
constexpr std::uint64_t never = ~std::uint64_t{0};

// Makes allocations fail by chance while a core has its turn.
class failing_allocations {
 public:
  failing_allocations(seeded_random& random, unsigned per_mille) {
    random_ = &random;
    per_mille_ = per_mille;
    if (per_mille != 0) detail::injected_fault = [] { return random_->chance(per_mille_); };
  }
  ~failing_allocations() { detail::injected_fault = nullptr; }
  failing_allocations(const failing_allocations&) = delete;
  failing_allocations& operator=(const failing_allocations&) = delete;

 private:
  static inline seeded_random* random_ = nullptr;
  static inline unsigned per_mille_ = 0;
};

}  // namespace

seeded_random::seeded_random(std::uint64_t seed) {
  for (std::uint64_t& word : state_) {  // splitmix64
    seed += 0x9e3779b97f4a7c15;
    std::uint64_t z = seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    word = z ^ z >> 31;
  }
}

std::uint64_t seeded_random::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

struct simulation::state {
  state(const simulation_options& o, simulation& home) : net(o, home) {}
  simulated_network net;
  engine* of = nullptr;
  std::vector<simulated*> backends;  // by core, while it runs
  std::unique_ptr<pool> hog;         // what starve() took
  std::vector<block*> hogged;
  std::uint64_t turns = 0;
};

simulation::simulation(simulation_options options) : state_(std::make_unique<state>(options, *this)) {}
simulation::~simulation() = default;

engine_options simulation::settings() {
  engine_options o;
  o.cores = 1;
  o.source = this;
  o.handle_signals = false;
  o.slab.capacity = 64_MiB;
  o.slab.huge_pages = false;
  return o;
}

std::uint64_t simulation::now_us() const { return state_->net.now_us; }
seeded_random& simulation::random() { return state_->net.random; }
const std::string& simulation::violation() const { return state_->net.violation; }
void simulation::violated(std::string what) { state_->net.violated(std::move(what)); }
std::uint64_t simulation::turns() const { return state_->turns; }

// ---- as the engine's source

std::unique_ptr<backend> simulation::make(backend_context context) {
  auto made = std::make_unique<simulated>(state_->net, context);
  state_->backends.resize(std::max<std::size_t>(state_->backends.size(), context.core + 1));
  state_->backends[context.core] = made.get();
  return made;
}

error simulation::listen(endpoint& where, unsigned count, std::vector<int>& into) {
  simulated_network& net = state_->net;
  if (where.port() == 0 && !where.is_unix())
    where.set_port(static_cast<std::uint16_t>(20000 + net.listeners.size()));
  for (unsigned i = 0; i != count; ++i) {
    const int fd = net.open_descriptor(simulated_network::descriptor_kind::listener,
                                       static_cast<std::uint32_t>(net.listeners.size()));
    net.listeners.push_back({where, fd, i, {}, nullptr, {}, false});
    into.push_back(fd);
  }
  return {};
}

void simulation::wake(unsigned core) {
  if (core < state_->net.next_turn_us.size()) state_->net.arrange(core, 0);
}

void simulation::answer(const endpoint& at, callback<simulated_peer*()> make) {
  state_->net.answerers.push_back({at, std::move(make)});
}

// ---- cores

void simulation::enter(unsigned core) {
  core_state& s = *state_->of->at(core).state_;
  core::make_current(&state_->of->at(core));
  pool::make_current(s.blocks.get());
}

void simulation::leave() {
  core::make_current(nullptr);
  pool::make_current(nullptr);
}

error simulation::start(engine& net) {
  state& s = *state_;
  s.of = &net;
  if (net.state_->failure) return net.state_->failure;
  if (error e = net.choose_io()) return e;
  s.net.next_turn_us.assign(net.cores(), never);
  for (unsigned i = 0; i != net.cores(); ++i) {
    pool::make_current(nullptr);
    if (error e = net.at(i).start()) return e;
  }
  enter(0);
  for (const callback<void()>& f : net.state_->on_start) f();
  for (unsigned i = 0; i != net.cores(); ++i) s.net.arrange(i, 0);
  pool::make_current(nullptr);
  s.hog = std::make_unique<pool>(net.slab());
  leave();
  return {};
}

// A turn begins where the last one had gone to sleep, so that whoever has something for a core must have
// woken it.
void simulation::turn(unsigned index) {
  state& s = *state_;
  core& c = s.of->at(index);
  if (c.finished()) return;
  ++s.turns;
  enter(index);
  {
    const failing_allocations now{s.net.random, s.net.options.no_memory};
    c.state_->io->wait(c.state_->completions, 0);
    c.after_wait();
  }
  if (c.finished()) c.state_->mail.close();
  const std::int64_t sleep_ms = c.finished() ? -1 : c.before_wait();
  leave();
  if (sleep_ms >= 0) s.net.arrange(index, static_cast<std::uint64_t>(sleep_ms) * 1000);
  // Some timer or completion would wake it in the end, so a letter that was not announced is only late: seen
  // here.
  for (unsigned i = 0; i != s.of->cores(); ++i) {
    const core& other = s.of->at(i);
    if (!other.state_->mail.empty() &&
        s.net.next_turn_us[i] > s.net.now_us + s.net.options.oversleep_us_max && !other.finished())
      s.net.violated("a letter lies in the box of a core that sleeps and was not woken");
  }
}

bool simulation::finished() const {
  for (unsigned i = 0; i != state_->of->cores(); ++i)
    if (!state_->of->at(i).finished()) return false;
  return true;
}

void simulation::release() {
  state& s = *state_;
  for (unsigned i = 0; i != s.of->cores(); ++i) {
    enter(i);
    s.of->at(i).release();
  }
  pool::make_current(s.hog.get());
  for (block* b : s.hogged) lease{b}.reset();
  s.hogged.clear();
  s.hog.reset();
  leave();
}

// ---- events

bool simulation::step() {
  state& s = *state_;
  simulated_network& net = s.net;
  if (net.events.empty()) return false;
  std::pop_heap(net.events.begin(), net.events.end());
  const simulated_network::event e = net.events.back();
  net.events.pop_back();
  net.now_us = e.at_us;
  switch (e.kind) {
    case event_kind::turn:
      if (net.next_turn_us[e.what] != e.stamp) break;  // there was an earlier one
      net.next_turn_us[e.what] = never;
      turn(e.what);
      break;
    case event_kind::call:
      net.call(e.what);
      break;
    case event_kind::connect:
      net.connect(e.what);
      break;
    case event_kind::arrive:
      net.arrive(e.what);
      break;
    case event_kind::depart:
      net.depart(e.what);
      break;
    case event_kind::reset_server:
      net.reset_server(e.what);
      break;
    case event_kind::reset_peer:
      net.reset_peer(e.what);
      break;
    case event_kind::expire: {
      const link& l = net.links[e.what];
      if (!l.peer_gone && l.peer->timer_ == e.stamp) l.peer->expired();
      break;
    }
    case event_kind::give_back:
      pool::make_current(s.hog.get());
      for (block* b : s.hogged) lease{b}.reset();
      s.hogged.clear();
      s.hog->spill_all();
      leave();
      break;
  }
  return true;
}

void simulation::connect(simulated_peer& peer, const endpoint& to, std::uint64_t delay_us) {
  simulated_network& net = state_->net;
  peer.home_ = this;
  peer.link_ = static_cast<std::uint32_t>(net.links.size());
  link& l = net.links.emplace_back();
  l.index = peer.link_;
  l.peer = &peer;
  l.to = to;
  net.schedule(event_kind::connect, peer.link_, delay_us);
}

// ---- the slab

void simulation::starve(std::size_t left, std::uint64_t us) {
  state& s = *state_;
  if (!s.hogged.empty()) return;
  pool::make_current(s.hog.get());
  const size_class_table& classes = s.of->slab().classes();
  const size_class small = classes.fitting(4_KiB);
  std::vector<block*> spared;
  for (std::size_t bytes = 0; bytes < left; bytes += 4_KiB)
    if (block* b = s.hog->rent(small)) spared.push_back(b);
  // What is carved stays of its class, so the class that everybody needs comes first.
  for (std::size_t c = small; c != classes.count(); ++c)
    while (block* b = s.hog->rent(static_cast<size_class>(c))) s.hogged.push_back(b);
  for (block* b : spared) lease{b}.reset();
  s.hog->spill_all();
  leave();
  s.net.schedule(event_kind::give_back, 0, us);
}

void simulation::audit(bool all_home) {
  depot& slab = state_->of->slab();
  struct tally {
    std::uint64_t free = 0, rented = 0, lent = 0;
  };
  std::array<tally, size_class_count_max> counted{};
  slab.memory().for_each_block([&](const block& b) {
    tally& t = counted[b.cls];
    const bool out = b.state == block_state::rented || b.state == block_state::lent;
    (b.state == block_state::lent ? t.lent : out ? t.rented : t.free) += 1;
    if (out == (b.refs == 0)) violated("a block's state does not go with its references");
    if (!out && b.in_flight != 0) violated("a free block is marked as read by a send");
  });
  const slab_statistics said = slab.statistics();
  for (std::size_t c = 0; c != said.classes.size(); ++c) {
    const class_statistics& one = said.classes[c];
    const tally& t = counted[c];
    const std::string of = " blocks of " + std::to_string(one.size) + " bytes";
    if (t.free + t.rented + t.lent != one.total) violated("not every carved block is in a state:" + of);
    if (one.cached + one.in_depot != t.free || one.lent != t.lent || one.rented != t.rented)
      violated("the books of pools and depot are wrong:" + of);
    if (all_home && t.rented + t.lent != 0)
      violated(std::to_string(t.rented + t.lent) + of + " never came home");
  }
}

// ---- peers

void simulated_peer::send(std::string_view bytes) {
  simulated_network& net = home_->state_->net;
  link& l = net.links[link_];
  if (l.peer_gone || l.in.fin || bytes.empty()) return;
  l.in.bytes.append(bytes);
  net.move_in(l);
}

void simulated_peer::finish() {
  simulated_network& net = home_->state_->net;
  link& l = net.links[link_];
  if (l.peer_gone || l.in.fin) return;
  l.in.fin = true;
  net.move_in(l);
}

void simulated_peer::abort() {
  simulated_network& net = home_->state_->net;
  if (std::exchange(net.links[link_].peer_gone, true)) return;
  net.schedule(event_kind::reset_server, link_, net.latency());
}

void simulated_peer::stall(std::uint64_t us) {
  simulated_network& net = home_->state_->net;
  net.links[link_].stalled_until_us = us == 0 ? never : net.now_us + us;
}

void simulated_peer::after(std::uint64_t us) {
  home_->state_->net.schedule(event_kind::expire, link_, us, ++timer_);
}

std::uint64_t simulated_peer::unsent() const {
  const link& l = home_->state_->net.links[link_];
  return l.in.bytes.size() - l.in.taken;
}

}  // namespace catenet
