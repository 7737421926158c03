// An engine that runs on a thread of its own while a test talks to it, with handlers written as lambdas. At
// the end it checks what every engine owes: no error, every block at home, no descriptor left open.
#pragma once

#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/engine/stream.hpp>
#include <catenet/slab/chain.hpp>
#include <catenet/slab/sanitizer.hpp>

#include "support/chosen_io.hpp"
#include "support/eventually.hpp"

#include <dirent.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace catenet::test {

#if defined(CATENET_TSAN) || defined(CATENET_ASAN)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// Open descriptors of this process.
inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* folder = opendir("/proc/self/fd");
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count - 3;  // ".", ".." and the folder itself
}

inline void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

/// What happens to streams, as lambdas; those left out do what protocol does by default.
struct handlers {
  std::function<void(stream&)> opened = {};
  std::function<void(stream&, chain&&)> received = {};
  std::function<void(stream&)> ended = {};
  std::function<void(stream&)> writable = {};
  std::function<void(stream&)> expired = {};
  std::function<void(stream&)> drain = {};
  std::function<void(stream&)> closed = {};
};

class scripted final : public protocol {
 public:
  explicit scripted(const handlers& h) : h_(h) {}
  void opened(stream& s) override {
    if (h_.opened) h_.opened(s);
  }
  void received(stream& s, chain&& bytes) override {
    if (h_.received)
      h_.received(s, std::move(bytes));
    else
      bytes.clear();
  }
  void ended(stream& s) override { h_.ended ? h_.ended(s) : protocol::ended(s); }
  void writable(stream& s) override {
    if (h_.writable) h_.writable(s);
  }
  void expired(stream& s) override { h_.expired ? h_.expired(s) : protocol::expired(s); }
  void drain(stream& s) override { h_.drain ? h_.drain(s) : protocol::drain(s); }
  void closed(stream& s) override {
    if (h_.closed) h_.closed(s);
  }

 private:
  const handlers& h_;
};

/// Sends back what comes, and says FIN when the peer did.
inline handlers echo() {
  return {.received = [](stream& s, chain&& bytes) { s.send(std::move(bytes)); }};
}

inline engine_options quick(engine_options o = {}) {
  o.handle_signals = false;
  choose_io(o);
  if (o.page_reference_bytes_min == page_reference_measured)
    o.page_reference_bytes_min = page_reference_usual;  // the same on every host
  if (o.slab.capacity == 0) o.slab.capacity = 512_MiB;
  o.linger_ms = std::min(o.linger_ms, 500u);
  return o;
}

class engine_host {
 public:
  explicit engine_host(handlers h, engine_options o = {}, std::string_view where = "127.0.0.1:0")
      : descriptors_(open_descriptors()),
        h_(std::move(h)),
        net_(std::make_unique<engine>(quick(std::move(o)))) {
    if (!where.empty()) listen(where, h_);
  }
  ~engine_host() {
    if (thread_.joinable()) stop();
    net_.reset();
    if (!check_descriptors) return;
    EXPECT_TRUE(eventually([&] { return open_descriptors() <= descriptors_; }))
        << open_descriptors() << " descriptors are open, " << descriptors_ << " were before";
  }

  /// Another listener; before start().
  endpoint listen(std::string_view where, const handlers& h) {
    const error e = net_->listen(
        where, [&h](core&) { return std::make_unique<scripted>(h); }, &bound_);
    EXPECT_FALSE(e) << e.text();
    return bound_;
  }

  engine_host& start() {
    std::promise<void> ready;
    net_->on_start([&] { ready.set_value(); });
    thread_ = std::thread([this] {
      result_ = net_->run();
      done_ = true;
    });
    auto started = ready.get_future();
    while (started.wait_for(std::chrono::milliseconds(10)) != std::future_status::ready)
      if (done_) break;  // it failed; wait() tells why
    return *this;
  }

  /// Waits for run() to return and checks what is left.
  void wait() {
    thread_.join();
    EXPECT_FALSE(result_) << result_.text();
    const core_statistics left = net_->statistics();
    EXPECT_EQ(left.connections, 0u);
    EXPECT_EQ(left.parked, 0u);
    for (const class_statistics& c : net_->slab().statistics().classes) {
      EXPECT_EQ(c.rented, 0u) << "blocks of " << c.size << " bytes are still rented";
      EXPECT_EQ(c.lent, 0u) << "blocks of " << c.size << " bytes are still lent";
    }
  }
  void stop() {
    net_->stop();
    wait();
  }
  [[nodiscard]] bool done() const { return done_; }

  /// Runs f on a core and waits for its result.
  template <class F>
  auto on_core(F f, unsigned index = 0) {
    using result = decltype(f());
    std::promise<result> told;
    auto future = told.get_future();
    EXPECT_TRUE(net_->at(index).post([&] {
      if constexpr (std::is_void_v<result>) {
        f();
        told.set_value();
      } else {
        told.set_value(f());
      }
    }));
    return future.get();
  }

  /// Runs f on the first core, or here, when the engine has ended of itself.
  void on_core_or_after(const std::function<void()>& f) {
    std::promise<void> told;
    const bool posted = net_->at(0).post([&] {
      f();
      told.set_value();
    });
    if (posted) return told.get_future().get();
    while (!done_) sleep_ms(1);
    f();
  }

  [[nodiscard]] std::uint64_t rented() {
    std::uint64_t sum = 0;
    for (const class_statistics& c : net_->slab().statistics().classes) sum += c.rented;
    return sum;
  }

  [[nodiscard]] engine& net() { return *net_; }
  [[nodiscard]] core_statistics statistics() const { return net_->statistics(); }
  [[nodiscard]] const endpoint& at() const { return bound_; }

  /// Half a second in which nothing happens must cost nearly no turns of the loop.
  void expect_quiet() {
    const std::uint64_t before = statistics().turns;
    sleep_ms(500);
    EXPECT_LE(statistics().turns - before, 20u);
  }

  bool check_descriptors = true;

 private:
  std::size_t descriptors_;
  handlers h_;
  endpoint bound_;
  std::unique_ptr<engine> net_;
  std::thread thread_;
  std::atomic<bool> done_{false};
  error result_;
};

}  // namespace catenet::test
