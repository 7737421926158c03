// The log sink.
#include <catenet/engine/log.hpp>

#include <atomic>
#include <cstdio>
#include <string>

namespace catenet {

namespace {

std::atomic<log_level> least_level{log_level::warning};

void to_stderr(log_level level, std::string_view line) {
  if (level < least_level.load(std::memory_order_relaxed)) return;
  static constexpr const char* names[] = {"debug: ", "", "warning: ", "error: "};
  std::fprintf(stderr, "catenet: %s%.*s\n", names[static_cast<int>(level)], static_cast<int>(line.size()),
               line.data());
}

std::atomic<log_sink> sink_now{&to_stderr};

// A peer's bytes may stand in the line: nothing of them may move a terminal or forge a second line (CWE-117).
std::string escaped(std::string_view line) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      out += "\\x";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

}  // namespace

void set_log_sink(log_sink sink) { sink_now.store(sink); }
void set_log_level(log_level level) { least_level.store(level); }

void log(log_level level, std::string_view line) {
  if (const log_sink sink = sink_now.load()) sink(level, escaped(line));
}

}  // namespace catenet
