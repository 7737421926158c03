// The chat from a terminal: lines that are typed are said, what others say is printed.
#pragma once

#include <string>

namespace catenet::examples {

struct terminal_options {
  std::string url;          ///< "ws://127.0.0.1:8080/chat"
  std::string name;         ///< says lines as the chat page does; empty: sends each line as it is
  std::string subprotocol;  ///< to offer; may be empty
  bool deflate = false;     ///< offers permessage-deflate
  bool reconnect = false;   ///< comes again when the connection ends
};

/// Runs until standard input (a pipe or a terminal) and what was said have ended, or the connection has.
/// Returns the exit status.
int run_terminal(const terminal_options& options);

}  // namespace catenet::examples
