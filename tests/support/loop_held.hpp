// Keeps the loop of an engine busy, so that what is sent meanwhile waits in the sockets.
#pragma once

#include "support/engine_host.hpp"

#include <gtest/gtest.h>

#include <atomic>

namespace catenet::test {

/// From its beginning to its end core 0 does nothing else. Not on the core's own thread.
class loop_held {
 public:
  explicit loop_held(engine_host& host) {
    host.net().at(0).post([this] {
      in_ = true;
      EXPECT_TRUE(eventually([this] { return go_.load(); }, 20'000));
      out_ = true;
    });
    EXPECT_TRUE(eventually([this] { return in_.load(); }, 20'000));
  }
  ~loop_held() {
    go_ = true;
    EXPECT_TRUE(eventually([this] { return out_.load(); }, 20'000));
  }
  loop_held(const loop_held&) = delete;
  loop_held& operator=(const loop_held&) = delete;

 private:
  std::atomic<bool> in_{false}, go_{false}, out_{false};
};

}  // namespace catenet::test
