// What was found of the ways that bytes leave, told: on standard output, as JSON, as a table and as a plot;
// and from where on one way is the better.
#pragma once

#include "svg_plot.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace catenet::bench {

struct sample {
  double cpu_s_per_gb = 0, gb_per_s = 0, p50_us = 0, p99_us = 0;
};

using results = std::map<std::string, std::map<std::uint64_t, sample>>;  // "file: sendfile", by size

inline void print_table(const results& found, const std::vector<std::uint64_t>& sizes) {
  for (const std::uint64_t size : sizes) {
    std::printf("\n%-26s %12s %12s %9s %11s %11s\n", size_text(static_cast<double>(size)).c_str(), "CPU s/GB",
                "CPU us each", "GB/s", "p50 us", "p99 us");
    for (const auto& [name, by_size] : found) {
      const sample& s = by_size.at(size);
      std::printf("%-26s %12.3f %12.2f %9.2f %11.0f %11.0f\n", name.c_str(), s.cpu_s_per_gb,
                  s.cpu_s_per_gb * static_cast<double>(size) / 1e3, s.gb_per_s, s.p50_us, s.p99_us);
    }
  }
}

// From where on `better` costs no more than `than`, with a margin against noise: the least size such that it
// holds for it and all longer ones. Longer than all when it never does.
inline std::uint64_t threshold(const results& found, const std::string& better, const std::string& than) {
  constexpr double margin = 0.97;
  std::uint64_t from = ~std::uint64_t{0};
  const auto& a = found.at(better);
  const auto& b = found.at(than);
  for (auto at = a.rbegin(); at != a.rend(); ++at) {
    if (at->second.cpu_s_per_gb > b.at(at->first).cpu_s_per_gb * margin) break;
    from = at->first;
  }
  return from;
}

inline void print_thresholds(const results& found, const std::string& path) {
  std::ostringstream out;
  out << "# measured by bench/zero_copy: bytes from which on a way costs the least processor time on this "
         "host\n"
      << "engine_options.page_reference_bytes_min="
      << threshold(found, "memory: page reference", "memory: copy") << "\n"
      << "engine_options.zero_copy_bytes_min=" << threshold(found, "memory: zero-copy", "memory: copy")
      << "\n"
      << "relay_options.splice_bytes_min=" << threshold(found, "relay: splice", "relay: copy") << "\n";
  if (!path.empty() && !(std::ofstream(path) << out.str()))
    throw std::runtime_error("writing the thresholds to " + path + " failed");
  std::printf("\n%s", out.str().c_str());
}

// auto beside the best fixed choice, size by size.
inline void judge_auto(const results& found, const std::vector<std::uint64_t>& sizes) {
  const std::map<std::string, std::vector<std::string>> choices{
      {"memory: auto", {"memory: copy", "memory: page reference", "memory: zero-copy"}},
      {"relay: auto", {"relay: copy", "relay: splice"}}};
  std::printf("\nCPU of auto, by the best fixed choice\n");
  for (const auto& [name, fixed] : choices) {
    std::printf("%-14s", name.c_str());
    for (const std::uint64_t size : sizes) {
      double best = 1e300;
      for (const std::string& f : fixed) best = std::min(best, found.at(f).at(size).cpu_s_per_gb);
      std::printf("  %s %.2f", size_text(static_cast<double>(size)).c_str(),
                  found.at(name).at(size).cpu_s_per_gb / best);
    }
    std::printf("\n");
  }
}

inline void write_json(const results& found, const std::string& path) {
  std::ofstream out(path);
  const char* between = "[\n";
  for (const auto& [name, by_size] : found)
    for (const auto& [size, s] : by_size) {
      out << between << "{\"way\":\"" << name << "\",\"bytes\":" << size
          << ",\"cpu_s_per_gb\":" << s.cpu_s_per_gb << ",\"gb_per_s\":" << s.gb_per_s
          << ",\"p50_us\":" << s.p50_us << ",\"p99_us\":" << s.p99_us << "}";
      between = ",\n";
    }
  if (!(out << "\n]\n")) throw std::runtime_error("writing " + path + " failed");
}

// A table for docs: where bytes lie and which way they go by size.
inline void write_markdown(const results& found, const std::vector<std::uint64_t>& sizes, int rounds,
                           const std::string& path) {
  std::ofstream out(path);
  out << "# Every way, every size\n\n"
         "Written by `bench/zero_copy --markdown FILE`: CPU s a GB · CPU µs an answer · GB/s · p50 µs · p99 "
         "µs, "
         "medians of "
      << rounds << (rounds == 1 ? " round.\n" : " rounds.\n");
  for (const std::uint64_t size : sizes) {
    out << "\n## " << size_text(static_cast<double>(size))
        << "\n\n| | CPU s/GB | CPU µs | GB/s | p50 µs | p99 µs |\n|---|--:|--:|--:|--:|--:|\n";
    for (const auto& [name, by_size] : found) {
      const sample& s = by_size.at(size);
      std::array<char, 160> line{};
      std::snprintf(line.data(), line.size(), "| %s | %.3f | %.1f | %.2f | %.0f | %.0f |\n", name.c_str(),
                    s.cpu_s_per_gb, s.cpu_s_per_gb * static_cast<double>(size) / 1e3, s.gb_per_s, s.p50_us,
                    s.p99_us);
      out << line.data();
    }
  }
  if (!out.flush()) throw std::runtime_error("writing the table to " + path + " failed");
}

inline void write_svg(const results& found, const std::string& path) {
  std::vector<plot_panel> panels;
  for (const char* source : {"file", "memory", "relay"}) {
    plot_panel p{source, "CPU s a GB by size", {}};
    for (const auto& [name, by_size] : found) {
      if (!name.starts_with(std::string(source) + ": ")) continue;
      plot_line line{name.substr(name.find(": ") + 2), {}};
      for (const auto& [size, s] : by_size) line.points.emplace_back(size, std::max(s.cpu_s_per_gb, 1e-6));
      p.lines.push_back(std::move(line));
    }
    panels.push_back(std::move(p));
  }
  svg_plot(std::move(panels)).write(path);
}

}  // namespace catenet::bench
