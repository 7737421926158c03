// What the example servers have in common: their options, the line they print when ready, statistics as JSON.
#pragma once

#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/http/server.hpp>
#include <catenet/ws/server.hpp>

#include "support/io_options.hpp"

#include <CLI/CLI.hpp>
#include <sys/resource.h>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace catenet::examples {

/// A program that serves until SIGINT or SIGTERM. Options may be added to `app` before run().
class server_program {
 public:
  explicit server_program(const std::string& about) : app(about) {
    app.add_option("--listen", listen_, "HOST:PORT or unix:PATH; port 0 picks a free one")
        ->capture_default_str();
    app.add_option("--cores", settings_.cores, "threads; 0: one for each processor")->capture_default_str();
    add_io_options(app, settings_);
  }

  CLI::App app;

  /// Parses, listens, prints "catenet: listening on …" once ready, and serves. Returns the exit status.
  int run(int argc, char** argv, const std::function<void(http::server&)>& add_routes) {
    CLI11_PARSE(app, argc, argv);
    return serve(add_routes);
  }
  /// The same, for those who parsed.
  int serve(const std::function<void(http::server&)>& add_routes) {
    raise_descriptor_limit();
    engine net{settings_};
    http::server web{net};
    add_routes(web);
    endpoint bound;
    if (web.listen(listen_, &bound)) return 1;  // the engine has told why
    net.on_start([&] {
      const std::string where = listen_.starts_with("unix:") ? listen_ : "http://" + bound.text();
      std::printf("catenet: listening on %s (%s, %u cores)\n", where.c_str(),
                  std::string{net.io_name()}.c_str(), net.cores());
      std::fflush(stdout);
    });
    return net.run() ? 1 : 0;
  }

 private:
  static void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }

  std::string listen_ = "127.0.0.1:8080";
  engine_options settings_;
};

namespace detail {
/// {"name":number,"name":number
inline std::string json_numbers(std::initializer_list<std::pair<std::string_view, std::uint64_t>> all) {
  std::string out;
  for (const auto& [name, number] : all) {
    out += out.empty() ? "{\"" : ",\"";
    out += name;
    out += "\":";
    out += std::to_string(number);
  }
  return out;
}
}  // namespace detail

namespace detail {
/// Which way the bytes went out, and what became of zero-copy sends.
inline std::string tiers_json(const core_statistics& all) {
  std::string tiers;
  for (std::size_t i = 0; i != tier_count; ++i)
    tiers += (i == 0 ? "{\"" : ",\"") + std::string{text(static_cast<tier>(i))} +
             "\":" + json_numbers({{"bytes", all.tiers[i].bytes}, {"calls", all.tiers[i].calls}}) + "}";
  const zero_copy_statistics& z = all.zero_copy;
  return "\"tiers\":" + tiers + "},\"zero_copy\":" +
         json_numbers({{"pinned_bytes", z.pinned_bytes},
                       {"routes_resting", z.routes_resting},
                       {"stepped_down", z.stepped_down},
                       {"registered", z.registered},
                       {"over_cap", z.over_cap}}) +
         ",\"last_downgrade\":\"" + std::string{text(z.last)} + "\"}";
}
}  // namespace detail

/// What the program holds and has done, as JSON. User bytes are those of streams, sessions and rented blocks;
/// blocks that the kernel has for receiving belong to nobody yet and are told as "lent".
inline std::string statistics_json(const http::server& web) {
  const core_statistics all = web.net().statistics();
  const http::server_statistics requests = web.statistics();
  const ws::statistics sockets = web.topics().statistics();
  std::uint64_t user_bytes =
      all.connections * sizeof(stream) + requests.session_bytes + sockets.session_bytes;
  std::string classes;
  for (const class_statistics& c : web.net().slab().statistics().classes) {
    user_bytes += c.rented * c.size;
    classes += classes.empty() ? "" : ",";
    classes += detail::json_numbers({{"size", c.size},
                                     {"total", c.total},
                                     {"rented", c.rented},
                                     {"cached", c.cached + c.in_depot},
                                     {"lent", c.lent}}) +
               "}";
  }
  return detail::json_numbers(
             {{"connections", all.connections},
              {"accepted", all.accepted},
              {"requests", requests.requests},
              {"messages", sockets.messages_in},
              {"bytes_in", all.bytes_in},
              {"bytes_out", all.bytes_out},
              {"turns", all.turns},
              {"enters", all.enters},
              {"submissions", all.submissions},
              {"completions", all.completions},
              {"user_bytes_per_connection", all.connections == 0 ? 0 : user_bytes / all.connections},
              {"cold_reads", all.cold_reads},
              {"cores", web.net().cores()}}) +
         "," + detail::tiers_json(all) + ",\"io\":\"" + std::string{web.net().io_name()} +
         "\",\"classes\":[" + classes + "]}\n";
}

}  // namespace catenet::examples
