// Where the engine says what a person should know: start-up tiers, lost features, failed handlers.
#pragma once

#include <cstdint>
#include <string_view>

namespace catenet {

enum class log_level : std::uint8_t { debug, info, warning, error };

/// Receives one line without a newline; control bytes are escaped already. Called on any thread.
using log_sink = void (*)(log_level level, std::string_view line);

/// Replaces the sink (the default writes "catenet: …" to stderr, warnings and above); null silences.
/// Thread-safe.
void set_log_sink(log_sink sink);
/// The least level that the default sink shows.
void set_log_level(log_level level);

void log(log_level level, std::string_view line);

}  // namespace catenet
