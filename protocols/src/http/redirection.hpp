// Following redirects: where an answer sends its asker, and what is asked there (RFC 9110 §15.4, RFC 3986
// §5).
#pragma once

#include <catenet/http/client_request.hpp>
#include <catenet/http/origin.hpp>
#include <catenet/http/reply_head.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace catenet::http {

/// A request, and how often it may still be sent elsewhere. It is kept while its call is under way.
struct redirection {
  client_request request;
  origin to;
  std::uint32_t left;

  /// Turns this into the request that follows such an answer. False, and unchanged: there is none, or none
  /// that could be sent.
  bool follow(const reply_head& head);

 private:
  bool go_to(std::string_view location);
  bool go_to_target(std::string target, std::optional<origin> other);
  void ask_without_body();
};

/// The path and query that `reference`, which has neither scheme nor authority, means at `base`, a target
/// (RFC 3986 §5.2).
std::string resolve_target(std::string_view base, std::string_view reference);

}  // namespace catenet::http
