// An engine on a thread of its own whose core 0 has links, and what they told. Everything of a link is asked
// on its core.
#pragma once

#include <catenet/bus/link.hpp>

#include "support/engine_host.hpp"

#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace catenet::test {

class link_host {
 public:
  explicit link_host(engine_options o = {}) : host_({}, std::move(o), "") { host_.check_descriptors = false; }
  ~link_host() {
    host_.on_core([this] { links.clear(); });
    host_.stop();
  }

  endpoint accept(std::string_view where, bus::link_options how = {}) {
    endpoint bound;
    const error e = bus::accept_links(
        host_.net(), where, how,
        [this](core&, bus::link&& l) {
          l.set_events(events());
          links.push_back(std::move(l));
        },
        &bound);
    EXPECT_FALSE(e) << e.text();
    return bound;
  }
  void start() { host_.start(); }
  void dial(const endpoint& to, bus::link_options how = {}) {
    host_.on_core([&] { links.emplace_back(*core::current(), to, how, events()); });
  }

  bus::link_events events() {
    return {.message =
                [this](bus::packet&& p) {
                  const std::lock_guard lock(mutex_);
                  got_.push_back(p.to_string());
                },
            .down = [this](const error& e) { note(downs_, e); },
            .over = [this](const error& e) { note(overs_, e); }};
  }

  /// Runs f(link) on the core; the last link that came.
  template <class F>
  auto with(F f) {
    return host_.on_core([this, &f] { return f(links.back()); });
  }
  bus::link_result send(std::string_view text) {
    return with([&](bus::link& l) { return l.try_send(chain::copy_of(text)); });
  }
  bus::link_statistics statistics() {
    return with([](bus::link& l) { return l.statistics(); });
  }
  bool connected() {
    return host_.on_core([this] { return !links.empty() && links.back().connected(); });
  }

  std::vector<std::string> got() { return copy(got_); }
  std::size_t got_count() {
    const std::lock_guard lock(mutex_);
    return got_.size();
  }
  std::vector<std::string> downs() { return copy(downs_); }
  std::vector<std::string> overs() { return copy(overs_); }
  engine_host& host() { return host_; }

  std::vector<bus::link> links;  // on the core only

 private:
  void note(std::vector<std::string>& where, const error& e) {
    const std::lock_guard lock(mutex_);
    where.push_back(e ? e.text() : "");
  }
  std::vector<std::string> copy(const std::vector<std::string>& of) {
    const std::lock_guard lock(mutex_);
    return of;
  }

  engine_host host_;
  std::mutex mutex_;
  std::vector<std::string> got_, downs_, overs_;
};

inline void expect_accounted(const bus::link_statistics& s) {
  EXPECT_EQ(s.offered_messages, s.sent_messages + s.dropped_messages + s.lost_messages + s.unsent_messages);
  EXPECT_EQ(s.offered_bytes, s.sent_bytes + s.dropped_bytes + s.lost_bytes + s.unsent_bytes);
}

}  // namespace catenet::test
