// Joins each connection that it accepts to one that it makes:
//
//   relay --listen 127.0.0.1:9000 --to 127.0.0.1:8080
//
// SIGUSR1 prints the counters to stderr, and so does the end.
#include <catenet/engine/engine.hpp>
#include <catenet/engine/relay.hpp>
#include <catenet/engine/task.hpp>

#include "support/io_options.hpp"

#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <iostream>
#include <map>

namespace {

void print(const catenet::relay_statistics& s) {
  std::fprintf(stderr,
               "accepted %llu, open %llu, connect failed %llu, resets %llu, idle %llu, pipes %llu, without a "
               "pipe %llu\n",
               static_cast<unsigned long long>(s.accepted), static_cast<unsigned long long>(s.pairs),
               static_cast<unsigned long long>(s.connect_failed), static_cast<unsigned long long>(s.resets),
               static_cast<unsigned long long>(s.idle_ended), static_cast<unsigned long long>(s.pipes),
               static_cast<unsigned long long>(s.pipe_refused));
  for (const catenet::tier t : {catenet::tier::copied, catenet::tier::spliced}) {
    const catenet::tier_total& total = s.out[static_cast<std::size_t>(t)];
    std::fprintf(stderr, "%s: %llu bytes in %llu calls\n", std::string(text(t)).c_str(),
                 static_cast<unsigned long long>(total.bytes), static_cast<unsigned long long>(total.calls));
  }
}

volatile std::sig_atomic_t asked = 0;

// Looks every tenth of a second whether the counters were asked for.
catenet::task<> print_when_asked(const catenet::relay& r) {
  for (;;) {
    co_await catenet::sleep(100);
    if (asked == 0) continue;
    asked = 0;
    print(r.statistics());
  }
}

}  // namespace

int main(int argc, char** argv) {
  using catenet::relay_mode;
  CLI::App app{"Relays connections"};
  std::string listen = "127.0.0.1:0";
  std::string to;
  catenet::engine_options net_options;
  catenet::relay_options options;
  const std::map<std::string, relay_mode> modes{
      {"auto", relay_mode::automatic}, {"splice", relay_mode::splice}, {"copy", relay_mode::copy}};
  app.add_option("--listen", listen, "HOST:PORT or unix:PATH")->capture_default_str();
  app.add_option("--to", to, "where to connect: HOST:PORT or unix:PATH")->required();
  catenet::examples::add_choice(app, "--mode", options.mode, modes, "how bytes are moved");
  catenet::examples::add_io_options(app, net_options);
  app.add_option("--cores", net_options.cores, "threads; 0: one for each processor")->capture_default_str();
  app.add_option("--idle-ms", options.idle_ms, "end pairs in which nothing moves; 0: never")
      ->capture_default_str();
  app.add_option("--connect-ms", options.connect_ms, "how long connecting may take")->capture_default_str();
  app.add_option("--pairs", options.pairs_max, "most pairs a core")->capture_default_str();
  app.add_option("--pipes", options.pipes.pipes_max, "most pipes a core")->capture_default_str();
  app.add_option("--pipe-bytes", options.pipes.pipe_bytes, "capacity of a pipe")->capture_default_str();
  app.add_option("--splice-min", options.splice_bytes_min, "auto: pieces from this size on are spliced")
      ->capture_default_str();
  app.add_option("--drain-ms", net_options.drain_ms, "how long pairs may take to end at a stop")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  catenet::engine net{net_options};
  catenet::relay joined{net, options};
  catenet::endpoint bound;
  if (const catenet::error e = joined.listen(listen, to, &bound)) {
    std::cerr << "relay: " << e.text() << '\n';
    return 1;
  }
  std::signal(SIGUSR1, [](int) { asked = 1; });
  catenet::task<> printer;
  net.on_start([&] {
    std::cout << "catenet: listening on " << bound.text() << '\n' << std::flush;
    printer = print_when_asked(joined);
  });
  const catenet::error e = net.run();
  print(joined.statistics());
  return e ? 1 : 0;
}
