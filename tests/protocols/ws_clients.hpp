// Our own client and our own HTTP server with one WebSocket route, each on an engine of its own thread.
#pragma once

#include <catenet/engine/core.hpp>
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/ws/client.hpp>
#include <catenet/ws/server.hpp>

#include "support/chosen_io.hpp"
#include "ws_peer.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace catenet::ws::testing {

/// An engine on a thread of its own; at its end every block must be home.
class engine_thread {
 public:
  explicit engine_thread(unsigned cores = 1) : net(settings(cores)) {}
  void start() {
    std::promise<void> started;
    net.on_start([&] { started.set_value(); });
    thread_ = std::thread([this] { EXPECT_FALSE(net.run()); });
    started.get_future().wait();
  }
  void stop() {
    if (!thread_.joinable()) return;
    net.stop();
    thread_.join();
    for (const class_statistics& c : net.slab().statistics().classes)
      EXPECT_EQ(c.rented + c.lent, 0u) << "blocks of " << c.size << " bytes did not come home";
  }
  ~engine_thread() { stop(); }
  engine net;

 private:
  static engine_options settings(unsigned cores) {
    engine_options e;
    e.cores = cores;
    e.handle_signals = false;
    test::choose_io(e);
    e.slab.capacity = 256_MiB;
    e.slab.huge_pages = false;
    return e;
  }
  std::thread thread_;
};

/// An HTTP server whose route "/{room}" is a WebSocket.
class web_host {
 public:
  explicit web_host(options o, unsigned cores = 1, std::string_view where = "127.0.0.1:0")
      : engine_(cores), web_(engine_.net) {
    web_.websocket("/{room}", std::move(o));
    endpoint bound;
    const error failed = web_.listen(where, &bound);
    EXPECT_FALSE(failed) << failed.text();
    port = bound.port();
    engine_.start();
  }
  ~web_host() { engine_.stop(); }
  [[nodiscard]] ws::statistics statistics() { return web_.topics().statistics(); }
  std::uint16_t port = 0;

 private:
  engine_thread engine_;
  http::server web_;
};

inline options echo_options() {
  options o;
  o.message = [](connection& c, message m) { c.send(std::move(m)); };
  return o;
}

/// One client; what it is told is kept, one line each, for next(): messages as they are, ends as
/// "close CODE reason", attempts that came to nothing as "failed: why".
class client_host {
 public:
  client_host(std::uint16_t port, client_options o = {}, const std::string& path = "/room") {
    if (o.url.empty()) o.url = "ws://127.0.0.1:" + std::to_string(port) + path;
    o.connection.open = [this, opened = std::move(o.connection.open)](connection& c) {
      if (opened) opened(c);
      note("open");
    };
    if (!o.connection.message) o.connection.message = [this](connection&, message m) { note(m.to_string()); };
    o.connection.close = [this](connection&, close_code code, std::string_view reason) {
      note("close " + std::to_string(static_cast<unsigned>(code)) + " " + std::string(reason));
    };
    o.failed = [this, failed = std::move(o.failed)](std::string_view why) {
      note("failed: " + std::string(why));
      if (failed) failed(why);
    };
    engine_.start();
    on_core([&] {
      client_ = std::make_unique<client>(engine_.net.at(0), std::move(o));
      client_->start();
    });
    first_ = next();
  }
  ~client_host() {
    on_core([&] { client_.reset(); });
    engine_.stop();
  }

  void on_core(const std::function<void()>& f) {
    std::promise<void> done;
    engine_.net.at(0).post([&] {
      f();
      done.set_value();
    });
    done.get_future().wait();
  }
  void send(const std::string& text) {
    on_core([&] {
      ASSERT_NE(client_->connected(), nullptr);
      EXPECT_LE(client_->connected()->send(std::string_view{text}), send_result::queued);
    });
  }
  void note(std::string what) {
    const std::lock_guard lock(mutex_);
    told_.push_back(std::move(what));
    news_.notify_all();
  }
  std::string next(int wait_ms = 10'000) {
    std::unique_lock lock(mutex_);
    if (!news_.wait_for(lock, std::chrono::milliseconds(wait_ms), [&] { return !told_.empty(); }))
      return "silence";
    std::string what = std::move(told_.front());
    told_.pop_front();
    return what;
  }
  [[nodiscard]] const std::string& first() const { return first_; }
  [[nodiscard]] client& it() { return *client_; }

 private:
  engine_thread engine_;
  std::unique_ptr<client> client_;
  std::mutex mutex_;
  std::condition_variable news_;
  std::deque<std::string> told_;
  std::string first_;
};

}  // namespace catenet::ws::testing
