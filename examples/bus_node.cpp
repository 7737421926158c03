// One process of a message bus: links to others, numbered messages to each, counts of what came and what did
// not.
//
//   bus_node --name hub --listen 127.0.0.1:7000
//   bus_node --name fast --to 127.0.0.1:7000 --send 100000
//   bus_node --name slow --to 127.0.0.1:7000 --slow-ms 5           (the hub sends with --send to all who
//   come)
//
// SIGTERM sends what was accepted, ends the links and prints the counters as one line of JSON: those of each
// link that is open and of the last 64 that ended, and of all earlier ones together.
#include <catenet/bus/link.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/task.hpp>

#include "support/server_program.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <iterator>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace bus = catenet::bus;
using catenet::examples::detail::json_numbers;

struct arguments {
  std::string name = "node";
  std::string listen = "127.0.0.1:0";
  std::vector<std::string> to;
  std::uint64_t send = 0;
  std::size_t bytes = 60;
  std::uint32_t burst = 1000;
  std::uint32_t slow_ms = 0;
  bus::link_options how;
};

/// What came from one sender, told apart by the name in its messages.
struct source {
  std::uint64_t received = 0;
  std::uint64_t missing = 0;   // numbers that were left out
  std::uint64_t repeated = 0;  // numbers that came again, or late
  std::uint64_t next = 0;
};

class node {
 public:
  explicit node(const arguments& a) : a_(a) {}

  void dial(catenet::core& on, const catenet::endpoint& to) {
    peer& p = add_peer(on);
    p.link = bus::link{on, to, a_.how, events(p)};
    begin(p);
  }
  void accept(catenet::core& on, bus::link&& from) {
    peer& p = add_peer(on);
    p.link = std::move(from);
    p.link.set_events(events(p));
    begin(p);
  }

  [[nodiscard]] std::string counters() const;

 private:
  struct peer {
    catenet::core* home;
    std::list<peer>::iterator at;
    bus::link link;
    bool is_over = false;  // and counted among those that ended
    bool sending = false;  // producing is not at its end
    catenet::task<> producing;
    catenet::task<> resting;
  };

  peer& add_peer(catenet::core& on) {
    peer& p = peers_.emplace_back();
    p.home = &on;
    p.at = std::prev(peers_.end());
    return p;
  }
  void begin(peer& p) {
    if (a_.send == 0) return;
    p.sending = true;
    p.producing = produce(p);
  }
  void end(peer& p);
  void remove_if_over(peer& p);
  bus::link_events events(peer& p);
  catenet::task<> produce(peer& p);
  catenet::task<> send_all(bus::link& to) const;
  catenet::task<> rest(bus::link& from) const;
  void count(const bus::packet& message);

  const arguments& a_;
  std::list<peer> peers_;
  std::deque<bus::link_statistics> ended_;  // the last links that did
  bus::link_statistics earlier_;            // those before them, together
  std::uint64_t earlier_links_ = 0;
  std::map<std::string, source> sources_;
  std::uint64_t unknown_ = 0;  // messages that are none of a node's, or of one more than are told apart
};

// What is kept of links that ended, and of names in messages, is limited: others may send what they like.
constexpr std::size_t ended_max = 64;
constexpr std::size_t sources_max = 256;
constexpr std::size_t name_bytes_max = 64;

bool is_name(std::string_view text) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return !text.empty() && text.size() <= name_bytes_max &&
         text.find_first_not_of(letters) == std::string_view::npos;
}

void add(bus::link_statistics& sum, const bus::link_statistics& one) {
  sum.offered_messages += one.offered_messages;
  sum.sent_messages += one.sent_messages;
  sum.dropped_messages += one.dropped_messages;
  sum.lost_messages += one.lost_messages;
  sum.unsent_messages += one.unsent_messages;
  sum.unsent_bytes_max = std::max(sum.unsent_bytes_max, one.unsent_bytes_max);
  sum.received_messages += one.received_messages;
  sum.connects += one.connects;
}

void say(const std::string& line) {
  std::printf("catenet: %s\n", line.c_str());
  std::fflush(stdout);
}

bus::link_events node::events(peer& p) {
  return {.message =
              [this, &p](bus::packet&& message) {
                count(message);
                if (a_.slow_ms != 0) p.resting = rest(p.link);
              },
          .up = [] { say("link up"); },
          .down = [](const catenet::error& e) { say("link down: " + e.text()); },
          .over =
              [this, &p](const catenet::error& e) {
                say("link ended" + (e ? ": " + e.text() : ""));
                end(p);
              }};
}

// Its counts stay; the rest goes once nothing of it is on the stack.
void node::end(peer& p) {
  ended_.push_back(p.link.statistics());
  if (ended_.size() > ended_max) {
    add(earlier_, ended_.front());
    ++earlier_links_;
    ended_.pop_front();
  }
  p.is_over = true;
  remove_if_over(p);
}

void node::remove_if_over(peer& p) {
  if (p.is_over && !p.sending) p.home->post([this, at = p.at] { peers_.erase(at); });
}

// A receiver that is slow lets its peer wait: nothing is thrown away here.
catenet::task<> node::rest(bus::link& from) const {
  from.pause();
  co_await catenet::sleep(a_.slow_ms);
  from.resume();
}

catenet::task<> node::produce(peer& p) {
  co_await send_all(p.link);
  p.sending = false;
  remove_if_over(p);
}

// Numbered messages, a burst each millisecond. With the policy `refuse` it waits for room, else the link
// drops.
catenet::task<> node::send_all(bus::link& to) const {
  for (std::uint64_t i = 0; i != a_.send; ++i) {
    std::string text = a_.name + " " + std::to_string(i) + " ";
    text.resize(std::max(text.size(), a_.bytes), '.');
    for (;;) {
      catenet::chain message = catenet::chain::copy_of(text);
      const bus::link_result r =
          message.empty() ? bus::link_result::no_memory : co_await to.send(std::move(message));
      if (r == bus::link_result::over || r == bus::link_result::too_long) {
        say("stopped sending: " + std::string(bus::text(r)));
        co_return;
      }
      if (r != bus::link_result::no_memory) break;
      co_await catenet::sleep(1);
    }
    if (i % a_.burst == a_.burst - 1) co_await catenet::sleep(1);
  }
  while (to.statistics().unsent_messages != 0) co_await catenet::sleep(5);
  say("all sent");
}

void node::count(const bus::packet& message) {
  const std::string text = message.to_string();
  const std::size_t space = text.find(' ');
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const std::string name = text.substr(0, space);
  const bool is_known = sources_.contains(name);
  if (space == std::string::npos || !is_name(name) || (!is_known && sources_.size() == sources_max) ||
      std::from_chars(text.data() + space + 1, end, number).ec != std::errc{}) {
    ++unknown_;
    return;
  }
  source& from = sources_[name];
  ++from.received;
  if (number < from.next) {
    ++from.repeated;
    return;
  }
  from.missing += number - from.next;
  from.next = number + 1;
}

// Without the brace at its end.
std::string json(const bus::link_statistics& s) {
  return json_numbers({{"offered", s.offered_messages},
                       {"sent", s.sent_messages},
                       {"dropped", s.dropped_messages},
                       {"lost", s.lost_messages},
                       {"unsent", s.unsent_messages},
                       {"unsent_bytes_max", s.unsent_bytes_max},
                       {"received", s.received_messages},
                       {"connects", s.connects}});
}

std::string node::counters() const {
  std::string links;
  for (const bus::link_statistics& s : ended_) links += (links.empty() ? "" : ",") + json(s) + "}";
  for (const peer& p : peers_)
    if (!p.is_over) links += (links.empty() ? "" : ",") + json(p.link.statistics()) + "}";
  std::string from;
  for (const auto& [name, s] : sources_)
    from += (from.empty() ? "\"" : ",\"") + name + "\":" +
            json_numbers({{"received", s.received}, {"missing", s.missing}, {"repeated", s.repeated}}) + "}";
  return "{\"name\":\"" + a_.name + "\",\"links\":[" + links + "],\"earlier\":" + json(earlier_) +
         ",\"links\":" + std::to_string(earlier_links_) + "},\"from\":{" + from +
         "},\"unknown\":" + std::to_string(unknown_) + "}";
}

void add_options(CLI::App& app, arguments& a, catenet::engine_options& o) {
  const std::map<std::string, bus::overflow> policies{{"refuse", bus::overflow::refuse},
                                                      {"drop-newest", bus::overflow::drop_newest},
                                                      {"drop-oldest", bus::overflow::drop_oldest}};
  app.add_option("--name", a.name, "in each message, so that others can tell whose it is: letters and digits")
      ->check([](const std::string& text) {
        return is_name(text) ? "" : "1 to 64 letters, digits, - and _ only";
      })
      ->capture_default_str();
  app.add_option("--listen", a.listen, "HOST:PORT or unix:PATH; port 0 picks a free one")
      ->capture_default_str();
  app.add_option("--to", a.to, "dial this node, again and again: HOST:PORT or unix:PATH; may be repeated");
  app.add_option("--send", a.send, "messages to each link")->capture_default_str();
  app.add_option("--bytes", a.bytes, "of a message, at least")->capture_default_str();
  app.add_option("--burst", a.burst, "messages each millisecond")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--slow-ms", a.slow_ms, "rest so long after each message that comes")->capture_default_str();
  app.add_option("--budget", a.how.budget_bytes, "bytes that may wait on each link")->capture_default_str();
  catenet::examples::add_choice(app, "--when-full", a.how.when_full, policies,
                                "what a full link does; with refuse, senders wait for room");
  app.add_option("--drain-ms", o.drain_ms, "how long links may take to send the rest at the end")
      ->capture_default_str();
  catenet::examples::add_io_options(app, o);
}

int failed(const catenet::error& e) {
  std::fprintf(stderr, "bus_node: %s\n", e.text().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"A node of a message bus: links to other processes, and counts of what came"};
  arguments a;
  catenet::engine_options o;
  add_options(app, a, o);
  CLI11_PARSE(app, argc, argv);

  std::vector<catenet::endpoint> others(a.to.size());
  for (std::size_t i = 0; i != a.to.size(); ++i)
    if (const catenet::error e = catenet::endpoint::parse(a.to[i], others[i])) return failed(e);
  catenet::engine net{o};
  node self{a};
  catenet::endpoint bound;
  if (bus::accept_links(
          net, a.listen, a.how, [&](catenet::core& on, bus::link&& l) { self.accept(on, std::move(l)); },
          &bound))
    return 1;  // the engine has told why
  net.on_start([&] {
    say("listening on " + bound.text());
    for (const catenet::endpoint& to : others) self.dial(net.at(0), to);
  });
  if (net.run()) return 1;
  std::puts(self.counters().c_str());
  return 0;
}
