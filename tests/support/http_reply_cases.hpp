// The table of answers that a server may send, good and bad, and what a call must make of them.
#pragma once

#include <catenet/http/client_error.hpp>

#include <ostream>
#include <string>
#include <vector>

namespace catenet::test {

struct http_reply_case {
  std::string name;
  std::string input;  ///< everything the server sends; then it keeps the connection, unless `fin`
  http::client_failure failure = http::client_failure::none;  ///< of the call
  int status = 0;                                             ///< where there is an answer
  std::string body = {};
  bool kept = false;     ///< the connection is used again
  bool to_head = false;  ///< the request is HEAD
  bool fin = false;      ///< the server ends the connection behind the input
};

inline void PrintTo(const http_reply_case& c, std::ostream* out) { *out << c.name; }

const std::vector<http_reply_case>& http_reply_cases();

}  // namespace catenet::test
