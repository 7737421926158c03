// What the tests of sessions share: an echo, a room full of clients, and who notes how connections end.
#pragma once

#include <catenet/ws/connection.hpp>

#include "ws_peer.hpp"

#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace catenet::ws::testing {

/// A Close frame with that code, as peer::next() tells it.
inline std::string closed_with(unsigned code, std::string_view reason = {}) {
  return "88 " + close_body(code, reason);
}

inline options echo() {
  options o;
  o.message = [](connection& c, message m) { c.send(std::move(m)); };
  return o;
}

/// So many clients, which the server has let in.
inline std::vector<peer> room_of(server& s, std::size_t count) {
  std::vector<peer> all;
  for (std::size_t i = 0; i != count; ++i) all.emplace_back(s);
  EXPECT_TRUE(server::eventually([&] { return s.hub().statistics().opened == count; }));
  return all;
}

/// Notes what the close handler was told.
struct ends {
  std::mutex mutex;
  std::vector<std::string> told;
  void watch(options& o) {
    o.close = [this](connection&, close_code code, std::string_view reason) {
      const std::lock_guard lock(mutex);
      told.push_back(std::to_string(static_cast<unsigned>(code)) + " " + std::string(reason));
    };
  }
  std::vector<std::string> seen(std::size_t count) {
    server::eventually([&] {
      const std::lock_guard lock(mutex);
      return told.size() >= count;
    });
    const std::lock_guard lock(mutex);
    return told;
  }
};

}  // namespace catenet::ws::testing
