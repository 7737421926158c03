// The HTTP table of bad input: what a client may send, and what it must get. One table, run against the codec
// without a socket and against a server on one.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace catenet::test {

struct http_case {
  int row;  ///< of the table in docs/http.md
  std::string name;
  std::string input;
  int status;   ///< of the answer
  bool codec;   ///< the codec decides it: without a socket it is a fault of that status (>= 400), or accepted
  bool closes;  ///< the connection ends after the answer; otherwise the next request is answered
};

/// How googletest shows a case.
inline void PrintTo(const http_case& c, std::ostream* out) { *out << "row " << c.row << ' ' << c.name; }

/// Every case. Paths are those of the test server (add_table_routes).
const std::vector<http_case>& http_cases();

/// A good request that proves the connection is in step, and its target.
inline constexpr const char* canary_target = "/hello/canary";
inline constexpr const char* canary = "GET /hello/canary HTTP/1.1\r\nHost: a\r\n\r\n";

}  // namespace catenet::test
