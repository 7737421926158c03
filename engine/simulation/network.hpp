// The simulated network: connections as two wires each, descriptors, listeners, and the events that are yet
// to come.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/engine/simulation.hpp>
#include <catenet/slab/chain.hpp>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace catenet {

class simulated;

/// Bytes on their way: [0, taken) are gone, [taken, arrived) can be read, the rest is still travelling.
struct wire {
  std::string bytes;
  std::size_t taken = 0;
  std::size_t arrived = 0;
  bool fin = false;          // nothing follows
  bool fin_arrived = false;  // and the reader may know
  bool moving = false;       // an event is under way for it

  [[nodiscard]] std::size_t readable() const { return arrived - taken; }
  [[nodiscard]] std::size_t travelling() const { return bytes.size() - arrived; }
  void take(std::size_t n);
};

/// What a send reads: noted when it begins, as the kernel does, and checked while it goes on.
struct sent_piece {
  const std::byte* data;
  std::uint32_t length;
  const block* of;  // at home with the sender, so that its state can be looked at; or null
  std::uint16_t generation;
};

struct link {
  std::uint32_t index = 0;
  simulated_peer* peer = nullptr;
  endpoint to;
  wire in;   // to the server; `arrived` is in the server's socket
  wire out;  // to the peer; everything has arrived in the server's socket, the peer takes it from there
  std::uint64_t acknowledged = 0;  // bytes that the peer took
  std::uint64_t stalled_until_us = 0;
  bool peer_gone = false;  // it was told the end, or ended the connection: no more calls
  bool open = false;       // the peer was told that it is connected
  bool refused = false;    // made by the engine, and nobody answers there

  // The server's end.
  int fd = -1;
  simulated* at = nullptr;  // whose descriptor it is
  std::uint32_t slot = 0;   // of its tokens, with the first operation
  std::uint32_t generation = 0;
  bool server_closed = false;
  bool reset_arrived = false;
  bool reading_ended = false;  // shut down by the server
  bool queued = false;         // in the back end's list of what to look at

  token reader;  // operations under way; 0 = none
  token writer;
  bool once = false;              // the receive ends with its first block
  std::uint32_t reads = 0;        // begun so far
  std::uint32_t cancels = 0;      // of them, asked so far
  std::uint32_t missed_read = 0;  // which of them the last cancel missed that did
  bool cancel_reader = false;
  bool cancel_writer = false;
  std::uint64_t large_max = 0;
  block* large = nullptr;
  std::uint64_t large_filled = 0;
  std::vector<sent_piece> pieces;
  std::size_t piece = 0;  // the send's position
  std::uint32_t offset = 0;
  std::uint64_t sent = 0;
  std::uint32_t zero_copy_id = 0;
  bool zero_copy = false;  // the send under way is such a one
};

struct simulated_listener {
  endpoint where;
  int fd = -1;
  unsigned core = 0;
  std::deque<std::uint32_t> backlog;
  simulated* at = nullptr;
  token accept;  // 0 = none
  bool cancelled = false;
};

/// Where the engine may connect to.
struct simulated_answerer {
  endpoint where;
  callback<simulated_peer*()> answer;
};

enum class event_kind : std::uint8_t {
  turn,
  connect,
  call,
  arrive,
  depart,
  reset_server,
  reset_peer,
  expire,
  give_back
};

struct simulated_network {
  struct event {
    std::uint64_t at_us;
    std::uint64_t order;
    event_kind kind;
    std::uint32_t what;
    std::uint64_t stamp;
    bool operator<(const event& other) const {  // the heap's top is the earliest
      return at_us != other.at_us ? at_us > other.at_us : order > other.order;
    }
  };
  enum class descriptor_kind : std::uint8_t { none, link, listener };
  struct descriptor {
    descriptor_kind kind = descriptor_kind::none;
    std::uint32_t index = 0;
  };

  simulated_network(const simulation_options& o, simulation& of);

  void schedule(event_kind kind, std::uint32_t what, std::uint64_t delay_us, std::uint64_t stamp = 0);
  std::uint64_t latency() { return random.between(1, options.latency_us_max); }
  /// Lets a core have a turn, not at once. An earlier turn that is due already stays.
  void arrange(unsigned core, std::uint64_t delay_us);
  void violated(std::string what);

  int open_descriptor(descriptor_kind kind, std::uint32_t index);
  void close_descriptor(int fd);
  [[nodiscard]] link* link_of(int fd);
  [[nodiscard]] simulated_listener* listener_of(int fd);

  // What happens to connections.
  void connect(std::uint32_t index);
  std::uint32_t open_link(const endpoint& to);
  void call(std::uint32_t index);
  void arrive(std::uint32_t index);
  void depart(std::uint32_t index);
  void reset_server(std::uint32_t index);
  void reset_peer(std::uint32_t index);
  void move_in(link& l);   // there is something for the server: bytes, FIN, or room for more
  void move_out(link& l);  // there is something for the peer
  void close_server(link& l);
  std::uint32_t index_of(const link& l) const;

  simulation& home;
  simulation_options options;
  seeded_random random;
  std::uint64_t now_us = 0;
  std::uint64_t clock_base_ms = 0;
  std::uint64_t orders = 0;
  std::vector<event> events;  // a heap
  std::deque<link> links;
  std::deque<simulated_listener> listeners;
  std::deque<simulated_answerer> answerers;
  std::vector<descriptor> descriptors;
  std::vector<int> free_descriptors;
  std::uint32_t open_count = 0;
  std::vector<std::uint64_t> next_turn_us;  // by core; the only turn event that counts
  std::string violation;
};

}  // namespace catenet
