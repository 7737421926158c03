// A request that a client sends: its head, and its body where that is there already.
#pragma once

#include <catenet/http/method.hpp>
#include <catenet/slab/chain.hpp>

#include <cstdint>
#include <optional>
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
  /// Follows so many redirects, instead of client_options::redirects_max. 303 is followed with GET, and so
  /// are 301 and 302 of a POST; the others with the same method and body. What cannot be followed is the
  /// answer itself: a body that came by call::write() is not there a second time, and of places only those
  /// that origin::parse() takes (and the same Host) are known. Authorization and Cookie stay with their
  /// origin (RFC 9110 §15.4).
  client_request& redirects(std::uint32_t most);
  /// The connection ends after the answer.
  client_request& close();

  /// The whole body. It is kept until the answer begins, where the request may have to be sent again.
  client_request& body(chain&& bytes);
  /// The body will come by call::write(), this many bytes, …
  client_request& length(std::uint64_t bytes);
  /// … or as many as there will be, in chunks.
  client_request& chunked();

 private:
  friend class calls;
  friend struct redirection;
  enum class source : std::uint8_t { none, whole, length, chunks };

  std::string method_;
  std::string target_;
  std::string host_;
  std::string fields_;  // lines, each with its CR LF
  chain body_;
  std::uint64_t length_ = 0;
  std::optional<std::uint32_t> redirects_;
  source source_ = source::none;
  bool close_ = false;
  bool unfit_ = false;
};

}  // namespace catenet::http
