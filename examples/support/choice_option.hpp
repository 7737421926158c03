// An option that takes one of a few words.
#pragma once

#include <CLI/CLI.hpp>

#include <map>
#include <string>
#include <vector>

namespace catenet::examples {

/// Adds `name`, which sets `value` (what outlives the parsing) to what its word stands for. The help shows
/// the words, and the one that stands for the present value.
template <class T>
CLI::Option* add_choice(CLI::App& app, const std::string& name, T& value,
                        const std::map<std::string, T>& words, const std::string& help) {
  std::vector<std::string> names;
  std::string present;
  for (const auto& [word, meaning] : words) {
    names.push_back(word);
    if (meaning == value) present = word;
  }
  const auto set = [&value, words](const std::string& word) { value = words.at(word); };
  return app.add_option_function<std::string>(name, set, help)
      ->check(CLI::IsMember(names))
      ->default_str(present);
}

}  // namespace catenet::examples
