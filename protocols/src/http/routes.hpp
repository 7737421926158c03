// The table of routes: a radix tree over paths.
//
//   "/"──▶"hello/"──▶{segment}
//     └──▶"files/"──▶{rest...}
//
// Look-up takes one walk down, with a step back where a literal turned out not to lead on.
#pragma once

#include <catenet/http/handler.hpp>
#include <catenet/http/method.hpp>
#include <catenet/http/options.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace catenet::http {

inline constexpr std::size_t params_max = 8;

struct route {
  handler answer;
  std::vector<handler> filters;  ///< called before it, in this order
  route_options options;
  std::vector<std::string> params;  ///< names, in the order of the pattern
};

/// A set of methods, a bit each.
using method_set = std::uint16_t;
constexpr method_set bit_of(method m) { return static_cast<method_set>(1u << static_cast<unsigned>(m)); }

/// "GET, HEAD, OPTIONS"
std::string allow_value(method_set methods);

class routes {
 public:
  routes();
  ~routes();
  routes(routes&&) noexcept;
  routes& operator=(routes&&) noexcept;

  /// Throws std::invalid_argument when the pattern is malformed or has a route for that method already.
  void add(method m, std::string_view pattern, route r);

  struct found {
    const route* hit = nullptr;
    method_set allowed = 0;  ///< where there is no hit: the methods that the path does have
    std::array<std::string_view, params_max> values;
  };
  /// HEAD finds GET where there is nothing for HEAD. Values are views into `path`, as many as the hit has
  /// parameters.
  void find(method m, std::string_view path, found& into) const;

 private:
  struct node;
  struct walk;
  std::unique_ptr<node> root_;
};

}  // namespace catenet::http
