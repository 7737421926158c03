// libFuzzer: WebSocket sessions upon a simulated kernel. Whatever a peer sends, the server's own frames are
// in order, another connection does not notice, and every block comes home.
//
// The input's first byte sets the options, the second seeds the kernel's unkindness, the rest is what the
// peer sends. Handlers do what the first letter of a message says, so that inputs reach publishing, closing
// and throwing, too.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/engine/simulation.hpp>
#include <catenet/ws/connection.hpp>

#include "ws/service.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace catenet;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "ws_session: %s\n", why.c_str());
  std::abort();
}

void act(ws::connection& c, ws::message m) {
  const std::string what = m.to_string();
  switch (what.empty() ? ' ' : what[0]) {
    case 's':
      c.subscribe(what.substr(1));
      break;
    case 'u':
      c.unsubscribe(what.substr(1));
      break;
    case 'p':
      c.publish_to_all(what.substr(1, 4), std::move(m));
      break;
    case 'c':
      c.close(ws::close_code{4000}, what.substr(1));
      break;
    case 'a':
      c.abort();
      break;
    case 't':
      throw std::runtime_error("on purpose");
    default:
      c.send(std::move(m));
  }
}

ws::options options_of(unsigned choice) {
  ws::options o;
  o.max_message = 4096;
  o.max_fragments = 20;
  o.max_queued = 8192;
  o.max_pings_per_second = 10;
  o.when_slow = static_cast<ws::slow_policy>(choice & 3);
  o.ping_every_ms = (choice & 4) != 0 ? 300 : 0;
  o.idle_timeout_ms = 2000;
  o.close_timeout_ms = 200;
  o.deflate.enabled = (choice & 8) != 0;
  if ((choice & 16) != 0)
    o.part = [](ws::connection& c, ws::message_part p) { c.send(ws::message{std::move(p.bytes), false}); };
  o.message = &act;
  return o;
}

class session final : public ws::service {
 public:
  session(core& c, std::shared_ptr<const ws::options> o, ws::hub& of, unsigned choice)
      : service(c, std::move(o), of) {
    agreed_.agreed = (choice & 8) != 0;
    agreed_.client_context_takeover = (choice & 32) != 0;
    agreed_.server_context_takeover = (choice & 64) != 0;
  }
  void opened(stream& s) override { adopt(s, {}, agreed_); }

 private:
  ws::deflate_agreement agreed_;
};

// Reads the server's frames, and fails when they are not what a server may send.
class peer : public simulated_peer {
 public:
  explicit peer(std::string says) : says_(std::move(says)) {}
  void connected() override {
    send(says_);
    after(1'000'000);
  }
  void received(std::span<const std::byte> bytes) override {
    in_ += as_text(bytes);
    while (take()) {
    }
  }
  void expired() override { finish(); }
  std::vector<std::string> messages;  // plain ones

 private:
  bool take() {
    if (in_.size() < 2) return false;
    const auto byte = [this](std::size_t i) {
      return static_cast<std::uint64_t>(static_cast<unsigned char>(in_[i]));
    };
    const unsigned op = byte(0) & 15;
    if (closed_) fail("a frame behind Close");
    if ((byte(0) & 0x80) == 0 || (op != 1 && op != 2 && op != 8 && op != 9 && op != 10))
      fail("a bad frame from the server");
    if (byte(1) > 127 || (op >= 8 && byte(1) > 125)) fail("a bad length from the server");
    const std::size_t more = byte(1) == 126 ? 2 : byte(1) == 127 ? 8 : 0;
    if (in_.size() < 2 + more) return false;
    std::uint64_t length = more == 0 ? byte(1) : 0;
    for (std::size_t i = 0; i != more; ++i) length = length << 8 | byte(2 + i);
    if (in_.size() - 2 - more < length) return false;
    if (byte(0) == 0x81) messages.push_back(in_.substr(2 + more, length));
    closed_ = op == 8;
    in_.erase(0, 2 + more + length);
    return true;
  }
  std::string says_, in_;
  bool closed_ = false;
};

std::string frame(std::string_view text) {
  return std::string("\x81") + static_cast<char>(0x80 | text.size()) + std::string(4, '\0') +
         std::string(text);
}

void step_until(simulation& world, const auto& holds) {
  for (int i = 0; i != 200'000 && !holds(); ++i)
    if (!world.step()) return;
}

void run(unsigned choice, unsigned seed, std::string bytes) {
  simulation world{{.seed = seed + 1}};
  engine net{world.settings()};
  ws::hub hub{net};
  const auto shared = std::make_shared<const ws::options>(options_of(choice));
  endpoint at;
  if (const error e = net.listen(
          "127.0.0.1:80", [&](core& c) { return std::make_unique<session>(c, shared, hub, choice); }, &at))
    fail(e.text());
  peer bad{std::move(bytes)};
  peer witness{frame("sroom") + frame("one") + frame("last")};
  if (const error e = world.start(net)) fail(e.text());
  world.connect(witness, at);
  world.connect(bad, at,
                100'000);  // so that what the witness said first was answered, however slow it is made then
  const std::uint64_t end_us = world.now_us() + 5'000'000;
  step_until(world, [&] { return world.now_us() > end_us; });
  if ((choice & 16) == 0 && std::ranges::count(witness.messages, "last") == 0)
    fail("another connection noticed");
  net.stop();
  step_until(world, [&] { return world.finished(); });
  if (!world.finished()) fail("the engine does not end");
  world.release();
  if (!world.violation().empty()) fail(world.violation());
  if (hub.statistics().session_bytes != 0 || hub.statistics().context_bytes != 0)
    fail("session memory is left");
  for (const class_statistics& c : net.slab().statistics().classes)
    if (c.rented + c.lent != 0) fail("a block did not come home");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = [] {
    set_log_sink(nullptr);
    return true;
  }();
  if (size < 2 || !quiet) return 0;
  run(data[0], data[1], {reinterpret_cast<const char*>(data) + 2, size - 2});
  return 0;
}
