// A request that a client sends: its head, and its body where that is there already.
#pragma once

#include <catenet/http/method.hpp>
#include <catenet/slab/chain.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace catenet::http {

/// Made anywhere, used up by client::start(). What may not be sent makes it unfit, and the call fails with
/// bad_request: a method or name that is no token, a value or target with control characters, CONNECT.
class client_request {
 public:
  client_request(std::string_view method, std::string_view target) : method_(method), target_(target) {}
  client_request(http::method m, std::string_view target) : client_request(name_of(m), target) {}

  /// Adds a field. Content-Length, Transfer-Encoding, Connection and Host are refused: they are said by the
  /// calls below.
  client_request& header(std::string_view name, std::string_view value);
  /// The value of Host, instead of the origin's.
  client_request& host(std::string_view authority);
  /// The connection ends after the answer.
  client_request& close();

  /// The whole body. It is kept until the answer begins, where the request may have to be sent again.
  client_request& body(chain&& bytes);
  /// The body will come by call::write(), this many bytes, …
  client_request& length(std::uint64_t bytes);
  /// … or as many as there will be, in chunks.
  client_request& chunked();

 private:
  friend struct call_state;
  friend class client;
  enum class source : std::uint8_t { none, whole, length, chunks };

  std::string method_;
  std::string target_;
  std::string host_;
  std::string fields_;  // lines, each with its CR LF
  chain body_;
  std::uint64_t length_ = 0;
  source source_ = source::none;
  bool close_ = false;
  bool unfit_ = false;
};

}  // namespace catenet::http
