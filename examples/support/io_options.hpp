// The options with which every example chooses its back end.
#pragma once

#include <catenet/engine/engine.hpp>

#include "support/choice_option.hpp"

#include <CLI/CLI.hpp>

#include <map>
#include <string>

namespace catenet::examples {

/// Adds --io and --io-without; they set those fields of `settings`, which outlives the parsing.
inline void add_io_options(CLI::App& app, engine_options& settings) {
  const std::map<std::string, io_choice> backends{
      {"auto", io_choice::automatic}, {"uring", io_choice::uring}, {"epoll", io_choice::epoll}};
  add_choice(app, "--io", settings.io, backends, "how it waits for the kernel");
  app.add_option("--io-without", settings.io_without,
                 "features of io_uring to go without, as an older kernel would, with commas between");
}

}  // namespace catenet::examples
