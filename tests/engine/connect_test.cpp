// Outgoing connections: they stand, are refused, time out or are given up, and each end is told once.
#include <catenet/engine/core.hpp>

#include "support/chosen_io.hpp"
#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <sys/resource.h>

#include <optional>
#include <string>

namespace catenet::test {
namespace {

/// Writes down what it is told, for the thread of the test to wait for.
class dialler final : public protocol {
 public:
  void opened(stream& s) override {
    add("opened ");
    if (on_opened) on_opened(s);
  }
  void refused(stream& s, const error& why) override {
    EXPECT_TRUE(s.closing());
    EXPECT_EQ(s.send(chain::copy_of("late")), send_result::gone);
    add("refused " + std::to_string(why.code) + " ");
    reason = why.text();
    if (on_refused) on_refused(s);
  }
  void received(stream&, chain&& bytes) override { add(bytes.to_string() + " "); }
  void closed(stream&) override { add("closed "); }

  [[nodiscard]] std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  bool says(const std::string& wanted, int limit_ms = 5000) {
    return eventually([&] { return log() == wanted; }, limit_ms);
  }

  std::function<void(stream&)> on_opened;
  std::function<void(stream&)> on_refused;
  std::string reason;  // read it once refused() was seen in the log

 private:
  void add(const std::string& what) {
    const std::lock_guard lock(mutex_);
    log_ += what;
  }
  std::mutex mutex_;
  std::string log_;
};

engine_options chosen() {
  engine_options o;
  choose_io(o);
  return o;
}

class connect_session : public testing::Test {
 protected:
  handle dial(const endpoint& to, connect_options o = {}, const std::function<void(stream&)>& then = {}) {
    return host.on_core([&] {
      error why;
      stream* s = core::current()->connect(to, caller, why, o);
      EXPECT_NE(s, nullptr) << why.text();
      if (s == nullptr) return handle{};
      EXPECT_TRUE(s->connecting());
      if (then) then(*s);
      return s->id();
    });
  }

  dialler caller;
  engine_host host{echo(), chosen()};
};

/// A listener whose queue is full: who connects gets no answer.
class deaf_listener {
 public:
  deaf_listener() {
    endpoint any;
    EXPECT_FALSE(endpoint::parse("127.0.0.1:0", any));
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(fd_, any.address(), any.length()), 0);
    EXPECT_EQ(listen(fd_, 0), 0);
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&bound), &length);
    at = endpoint::from(reinterpret_cast<sockaddr*>(&bound), length);
    filler_.emplace(at);  // a queue of length 0 holds one
  }
  ~deaf_listener() { ::close(fd_); }
  endpoint at;

 private:
  int fd_ = -1;
  std::optional<client> filler_;
};

TEST_F(connect_session, standsAndCarriesBytesBothWays) {
  host.start();
  caller.on_opened = [](stream& s) {
    EXPECT_FALSE(s.connecting());
    s.send(chain::copy_of("hello"));
  };
  const handle h = dial(host.at());
  EXPECT_TRUE(caller.says("opened hello "));
  host.on_core([&] { core::current()->find(h)->close(); });
  EXPECT_TRUE(caller.says("opened hello closed "));
}

TEST_F(connect_session, overAUnixSocket) {
  temp_folder folder;
  const handlers h = echo();
  const endpoint at = host.listen("unix:" + folder.path("s"), h);
  host.start();
  dial(at, {}, [](stream& s) { s.send(chain::copy_of("hi")); });
  EXPECT_TRUE(caller.says("opened hi "));
  endpoint nowhere;
  ASSERT_FALSE(endpoint::parse("unix:" + folder.path("none"), nowhere));
  dial(nowhere);
  EXPECT_TRUE(caller.says("opened hi refused " + std::to_string(ENOENT) + " closed "));
  host.stop();
}

TEST_F(connect_session, whatIsSentBeforeItStandsLeavesThenEvenWhenClosed) {
  host.start();
  dial(host.at(), {}, [](stream& s) {
    EXPECT_EQ(s.send(chain::copy_of("early")), send_result::sent);
    EXPECT_EQ(s.unsent(), 5u);
  });
  EXPECT_TRUE(caller.says("opened early "));
  // Closed at once, too: the bytes still arrive. What comes back is nobody's.
  const std::uint64_t before = host.statistics().bytes_in;
  dial(host.at(), {}, [](stream& s) {
    s.send(chain::copy_of("early and closed"));
    s.close();
  });
  EXPECT_TRUE(caller.says("opened early closed "));
  EXPECT_GE(host.statistics().bytes_in, before + 16);
}

TEST_F(connect_session, refusedIsToldWithItsReason) {
  host.start();
  endpoint nobody = host.at();
  {
    // A port that was free a moment ago.
    engine_host other{echo(), chosen()};
    nobody = other.at();
    other.start();
  }
  dial(nobody);
  EXPECT_TRUE(caller.says("refused " + std::to_string(ECONNREFUSED) + " closed "));
  EXPECT_NE(caller.reason.find(nobody.text()), std::string::npos) << caller.reason;
  // refused() may end the stream itself; closed() is still told once.
  caller.on_refused = [](stream& s) { s.abort(); };
  dial(nobody);
  const std::string once = "refused " + std::to_string(ECONNREFUSED) + " closed ";
  EXPECT_TRUE(caller.says(once + once));
}

TEST_F(connect_session, timesOut) {
  host.start();
  const deaf_listener deaf;
  const auto begin = std::chrono::steady_clock::now();
  dial(deaf.at, {.timeout_ms = 150}, [](stream& s) { s.send(chain::copy_of("in vain")); });
  EXPECT_TRUE(caller.says("refused " + std::to_string(ETIMEDOUT) + " closed "));
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, std::chrono::milliseconds(140));
  EXPECT_LT(took, std::chrono::milliseconds(2000));
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 0; }));
}

TEST_F(connect_session, isGivenUpByAbortAndByClose) {
  host.start();
  const deaf_listener deaf;
  const handle h = dial(deaf.at);
  sleep_ms(20);
  host.on_core([&] { core::current()->find(h)->abort(); });
  EXPECT_TRUE(caller.says("closed "));
  dial(deaf.at, {}, [](stream& s) { s.close(); });
  EXPECT_TRUE(caller.says("closed closed "));
  dial(host.at(), {}, [](stream& s) { s.abort(); });  // just when it is about to stand
  EXPECT_TRUE(caller.says("closed closed closed "));
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 0; }));
}

TEST_F(connect_session, stoppingEndsWhatIsUnderWay) {
  host.start();
  const deaf_listener deaf;
  dial(deaf.at, {.timeout_ms = 60'000});
  const auto begin = std::chrono::steady_clock::now();
  host.stop();
  EXPECT_EQ(caller.log(), "closed ");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

TEST_F(connect_session, withoutDescriptorsSaysSo) {
  host.start();
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{0, before.rlim_max};
  error why;
  host.on_core([&] {
    setrlimit(RLIMIT_NOFILE, &none);
    EXPECT_EQ(core::current()->connect(host.at(), caller, why), nullptr);
    setrlimit(RLIMIT_NOFILE, &before);
  });
  EXPECT_EQ(why.code, EMFILE);
  EXPECT_NE(why.text().find("ulimit"), std::string::npos) << why.text();
  EXPECT_EQ(caller.log(), "");
}

TEST_F(connect_session, manyAtOnce) {
  host.start();
  constexpr int count = 500;
  std::atomic<int> stood{0};
  caller.on_opened = [&](stream& s) {
    ++stood;
    s.close();
  };
  host.on_core([&] {
    for (int i = 0; i != count; ++i) {
      error why;
      EXPECT_NE(core::current()->connect(host.at(), caller, why), nullptr) << why.text();
    }
  });
  EXPECT_TRUE(eventually([&] { return stood == count && host.statistics().connections == 0; }));
}

}  // namespace
}  // namespace catenet::test
