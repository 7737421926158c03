// One process of a message bus: links to others, numbered messages to each, counts of what came and what did
// not.
//
//   bus_node --name hub --listen 127.0.0.1:7000
//   bus_node --name fast --to 127.0.0.1:7000 --send 100000
//   bus_node --name slow --to 127.0.0.1:7000 --slow-ms 5           (the hub sends with --send to all who
//   come)
//
// SIGTERM sends what was accepted, ends the links and prints the counters as one line of JSON.
#include <catenet/bus/link.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/task.hpp>

#include "support/server_program.hpp"

#include <CLI/CLI.hpp>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace bus = catenet::bus;

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
    peer& p = peers_.emplace_back();
    p.link = bus::link{on, to, a_.how, events(p)};
    begin(p);
  }
  void accept(bus::link&& from) {
    peer& p = peers_.emplace_back();
    p.link = std::move(from);
    p.link.set_events(events(p));
    begin(p);
  }

  [[nodiscard]] std::string counters() const;

 private:
  struct peer {
    bus::link link;
    catenet::task<> producing;
    catenet::task<> resting;
  };

  void begin(peer& p) {
    if (a_.send != 0) p.producing = produce(p.link);
  }
  bus::link_events events(peer& p);
  catenet::task<> produce(bus::link& to) const;
  catenet::task<> rest(bus::link& from) const;
  void count(const bus::packet& message);

  const arguments& a_;
  std::list<peer> peers_;
  std::map<std::string, source> sources_;
};

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
          .over = [](const catenet::error& e) { say("link ended" + (e ? ": " + e.text() : "")); }};
}

// A receiver that is slow lets its peer wait: nothing is thrown away here.
catenet::task<> node::rest(bus::link& from) const {
  from.pause();
  co_await catenet::sleep(a_.slow_ms);
  from.resume();
}

// Numbered messages, a burst each millisecond. With the policy `refuse` it waits for room, else the link
// drops.
catenet::task<> node::produce(bus::link& to) const {
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
  if (space == std::string::npos || std::from_chars(text.data() + space + 1, end, number).ec != std::errc{})
    return;
  source& from = sources_[text.substr(0, space)];
  ++from.received;
  if (number < from.next) {
    ++from.repeated;
    return;
  }
  from.missing += number - from.next;
  from.next = number + 1;
}

std::string node::counters() const {
  using catenet::examples::detail::json_numbers;
  std::string links;
  for (const peer& p : peers_) {
    const bus::link_statistics s = p.link.statistics();
    links += (links.empty() ? "" : ",") +
             json_numbers({{"offered", s.offered_messages},
                           {"sent", s.sent_messages},
                           {"dropped", s.dropped_messages},
                           {"lost", s.lost_messages},
                           {"unsent", s.unsent_messages},
                           {"unsent_bytes_max", s.unsent_bytes_max},
                           {"received", s.received_messages},
                           {"connects", s.connects}}) +
             "}";
  }
  std::string from;
  for (const auto& [name, s] : sources_)
    from += (from.empty() ? "\"" : ",\"") + name + "\":" +
            json_numbers({{"received", s.received}, {"missing", s.missing}, {"repeated", s.repeated}}) + "}";
  return "{\"name\":\"" + a_.name + "\",\"links\":[" + links + "],\"from\":{" + from + "}}";
}

void add_options(CLI::App& app, arguments& a, catenet::engine_options& o) {
  const std::map<std::string, bus::overflow> policies{{"refuse", bus::overflow::refuse},
                                                      {"drop-newest", bus::overflow::drop_newest},
                                                      {"drop-oldest", bus::overflow::drop_oldest}};
  app.add_option("--name", a.name, "in each message, so that others can tell whose it is: letters and digits")
      ->check([](const std::string& text) {
        const bool plain =
            text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
            std::string::npos;
        return plain && !text.empty() ? "" : "letters, digits, - and _ only";
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
  if (const catenet::error e = bus::accept_links(
          net, a.listen, a.how, [&](catenet::core&, bus::link&& l) { self.accept(std::move(l)); }, &bound))
    return failed(e);
  net.on_start([&] {
    say("listening on " + bound.text());
    for (const catenet::endpoint& to : others) self.dial(net.at(0), to);
  });
  if (const catenet::error e = net.run()) return failed(e);
  std::puts(self.counters().c_str());
  return 0;
}
