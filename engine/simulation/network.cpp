// How bytes, ends and resets travel.
#include "network.hpp"

#include "simulated.hpp"

#include <algorithm>

namespace catenet {

namespace {
constexpr int first_descriptor = 1 << 20;  // far from any real one, should one ever get to the kernel
constexpr std::uint64_t never = ~std::uint64_t{0};
constexpr std::size_t compact_at = 64 << 10;
}  // namespace

void wire::take(std::size_t n) {
  taken += n;
  if (taken == bytes.size()) {
    bytes.clear();
    taken = arrived = 0;
  } else if (taken > compact_at && taken > bytes.size() / 2) {
    bytes.erase(0, taken);
    arrived -= taken;
    taken = 0;
  }
}

simulated_network::simulated_network(const simulation_options& o, simulation& of)
    : home(of), options(o), random(o.seed) {
  // The engine's milliseconds wrap after 49 days: every other run begins shortly before that.
  clock_base_ms =
      random.chance(500) ? (std::uint64_t{1} << 32) - random.below(30000) : random.below(1u << 31);
}

void simulated_network::schedule(event_kind kind, std::uint32_t what, std::uint64_t delay_us,
                                 std::uint64_t stamp) {
  events.push_back({now_us + delay_us, ++orders, kind, what, stamp});
  std::push_heap(events.begin(), events.end());
}

void simulated_network::arrange(unsigned core, std::uint64_t delay_us) {
  const std::uint64_t at = now_us + delay_us + random.below(options.oversleep_us_max + 1u);
  if (next_turn_us[core] <= at) return;
  next_turn_us[core] = at;
  schedule(event_kind::turn, core, at - now_us, at);
}

void simulated_network::violated(std::string what) {
  if (violation.empty()) violation = std::move(what);
}

// ---- descriptors

int simulated_network::open_descriptor(descriptor_kind kind, std::uint32_t index) {
  if (free_descriptors.empty()) {
    free_descriptors.push_back(first_descriptor + static_cast<int>(descriptors.size()));
    descriptors.emplace_back();
  }
  const int fd = free_descriptors.back();  // the one closed last: who still uses it uses another's
  free_descriptors.pop_back();
  descriptors[static_cast<std::size_t>(fd - first_descriptor)] = {kind, index};
  ++open_count;
  return fd;
}

void simulated_network::close_descriptor(int fd) {
  descriptors[static_cast<std::size_t>(fd - first_descriptor)] = {};
  free_descriptors.push_back(fd);
  --open_count;
}

link* simulated_network::link_of(int fd) {
  const auto at = static_cast<std::size_t>(fd - first_descriptor);
  if (fd < first_descriptor || at >= descriptors.size() || descriptors[at].kind != descriptor_kind::link) {
    violated("descriptor " + std::to_string(fd) + " is used, and is no open connection");
    return nullptr;
  }
  return &links[descriptors[at].index];
}

simulated_listener* simulated_network::listener_of(int fd) {
  const auto at = static_cast<std::size_t>(fd - first_descriptor);
  if (fd < first_descriptor || at >= descriptors.size() || descriptors[at].kind != descriptor_kind::listener)
    return nullptr;
  return &listeners[descriptors[at].index];
}

std::uint32_t simulated_network::index_of(const link& l) const { return l.index; }

// ---- connections

void simulated_network::connect(std::uint32_t index) {
  link& l = links[index];
  if (l.peer_gone || l.reset_arrived) return;
  // Which of the listeners that share the port is as good as drawn by lot.
  std::vector<simulated_listener*> candidates;
  for (simulated_listener& s : listeners)
    if (s.fd >= 0 && s.where.text() == l.to.text()) candidates.push_back(&s);
  if (candidates.empty()) return schedule(event_kind::reset_peer, index, latency());  // refused
  simulated_listener& s = *candidates[random.below(candidates.size())];
  s.backlog.push_back(index);
  if (s.at != nullptr) s.at->look_at_listeners();
  l.open = true;
  l.peer->connected();
  move_in(l);
}

// The engine's end of a connection that it is about to ask for. Until it stands, there is no peer to be told.
std::uint32_t simulated_network::open_link(const endpoint& to) {
  const auto index = static_cast<std::uint32_t>(links.size());
  link& l = links.emplace_back();
  l.index = index;
  l.to = to;
  l.peer_gone = true;
  l.fd = open_descriptor(descriptor_kind::link, index);
  return index;
}

// The engine's asking has arrived.
void simulated_network::call(std::uint32_t index) {
  link& l = links[index];
  if (l.server_closed || l.reset_arrived || l.out.fin) return;
  simulated_peer* peer = nullptr;
  for (simulated_answerer& a : answerers)
    if (a.where.text() == l.to.text()) peer = a.answer();
  l.refused = peer == nullptr;
  if (peer != nullptr) {
    peer->home_ = &home;
    peer->link_ = index;
    l.peer = peer;
    l.peer_gone = false;
    l.open = true;
    peer->connected();
    move_in(l);
  }
  if (l.at != nullptr) l.at->look_at(l);
}

void simulated_network::move_in(link& l) {
  if (l.in.moving || !l.open || l.in.fin_arrived) return;
  const bool room = l.in.readable() < options.socket_buffer;
  if ((l.in.travelling() == 0 || !room) && (l.in.travelling() != 0 || !l.in.fin)) return;
  l.in.moving = true;
  schedule(event_kind::arrive, index_of(l), latency());
}

void simulated_network::arrive(std::uint32_t index) {
  link& l = links[index];
  l.in.moving = false;
  if (l.reset_arrived) return;
  if (l.server_closed) {
    // Bytes for a socket that is closed: the answer is a reset, and what was on the way to the peer may be
    // lost.
    if (l.in.travelling() != 0)
      schedule(event_kind::reset_peer, index, latency());
    else
      l.in.fin_arrived = true;
    return;
  }
  std::size_t n =
      std::min(l.in.travelling(), options.socket_buffer - std::min(options.socket_buffer, l.in.readable()));
  if (n > 1 && random.chance(options.split_on_wire)) n = random.between(1, n);
  l.in.arrived += n;
  if (l.in.fin && l.in.travelling() == 0 && (n == 0 || random.chance(500))) l.in.fin_arrived = true;
  if (l.at != nullptr) l.at->look_at(l);
  move_in(l);
}

void simulated_network::move_out(link& l) {
  if (l.out.moving || l.peer_gone || l.reset_arrived) return;
  if (l.out.bytes.size() == l.out.taken && (!l.out.fin || l.out.fin_arrived)) return;
  if (l.stalled_until_us == never) return;
  l.out.moving = true;
  const std::uint64_t stall = l.stalled_until_us > now_us ? l.stalled_until_us - now_us : 0;
  schedule(event_kind::depart, index_of(l), std::max(latency(), stall));
}

void simulated_network::depart(std::uint32_t index) {
  link& l = links[index];
  l.out.moving = false;
  if (l.peer_gone || l.reset_arrived) return;
  if (l.stalled_until_us > now_us) return move_out(l);
  std::size_t n = l.out.bytes.size() - l.out.taken;
  if (n > 1 && random.chance(options.split_on_wire)) n = random.between(1, n);
  if (n != 0) {
    l.peer->received({reinterpret_cast<const std::byte*>(l.out.bytes.data()) + l.out.taken, n});
    l.out.take(n);
    l.acknowledged += n;
    if (l.at != nullptr && l.writer.value != 0) l.at->look_at(l);
  }
  if (l.peer_gone || l.reset_arrived) return;
  if (l.out.bytes.size() == l.out.taken && l.out.fin && (n == 0 || random.chance(500))) {
    l.out.fin_arrived = true;
    l.peer->ended();
  }
  move_out(l);
}

void simulated_network::reset_server(std::uint32_t index) {
  link& l = links[index];
  l.reset_arrived = true;
  l.in.bytes.resize(l.in.arrived);  // what was still on the wire is lost
  if (l.at != nullptr) l.at->look_at(l);
}

void simulated_network::reset_peer(std::uint32_t index) {
  link& l = links[index];
  if (std::exchange(l.peer_gone, true)) return;
  l.reset_arrived = true;
  l.peer->reset();
}

void simulated_network::close_server(link& l) {
  close_descriptor(l.fd);
  l.fd = -1;
  l.at = nullptr;
  l.server_closed = true;
  if (l.reset_arrived) return;
  if (l.in.readable() != 0) return schedule(event_kind::reset_peer, index_of(l), latency());
  l.out.fin = true;
  move_out(l);
  move_in(l);
}

}  // namespace catenet
