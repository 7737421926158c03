// The service: what a route's WebSocket connections on one core have in common, and what the engine tells
// about them.
#pragma once

#include <catenet/engine/protocol.hpp>
#include <catenet/ws/connection.hpp>
#include <catenet/ws/decoder.hpp>
#include <catenet/ws/hub.hpp>
#include <catenet/ws/options.hpp>

#include "ws/publication.hpp"
#include "ws/topics.hpp"

#include <memory>
#include <string_view>

namespace catenet::ws {

/// What a connection needs while a frame or a message is under way, while reading is held, or for compressing with
/// a context taken over.
struct activity {
  explicit activity(decoder&& d) : frames(std::move(d)) {}
  decoder frames;
  chain rest;                           // received, not decoded yet
  deflate_agreement deflate;            // where it is not the plain one
  std::unique_ptr<deflater> compressor; // whose context goes on
  static void* operator new(std::size_t bytes) noexcept { return mi_malloc(bytes); }
  static void operator delete(void* at) { mi_free(at); }
};

/// Calls, from the engine or from handlers, come on its core's thread.
class service final : public protocol {
 public:
  service(core& home, std::shared_ptr<const ws::options> o, hub& of);

  /// Takes a stream over after its handshake, whose answer is queued already. `leftover`: what came behind
  /// it.
  void adopt(stream& s, chain&& leftover, const deflate_agreement& deflate = {});

  void opened(stream& s) override { adopt(s, {}); }
  void received(stream& s, chain&& bytes) override;
  void ended(stream& s) override;
  void writable(stream& s) override;
  void expired(stream& s) override;
  void drain(stream& s) override;
  void closed(stream& s) override;

  // What connections of this service do.
  [[nodiscard]] const ws::options& options() const { return *options_; }
  [[nodiscard]] local_topics& topics() const { return topics_; }
  [[nodiscard]] core& home() const { return home_; }
  /// Whether a message of that size goes to this peer compressed.
  [[nodiscard]] bool compresses(const connection& c, std::uint64_t bytes) const;
  /// Sends, compressed where that is agreed. The caller has looked at the budget.
  send_result send(connection& c, message&& m);
  send_result send_frame(connection& c, chain&& frame);
  /// Shares a published frame to this subscriber, unless it is too slow. True when it took it.
  bool deliver(connection& c, publication& p);
  void begin_close(connection& c, close_code code, std::string_view reason);

 private:
  bool begin_activity(connection& c, decoder&& frames);
  void end_activity(connection& c);
  [[nodiscard]] decoder make_decoder(const connection& c);
  [[nodiscard]] deflate_agreement agreement_of(const connection& c) const;
  [[nodiscard]] chain compressed_frame(connection& c, const message& m);
  void drop_compressor(connection& c);
  void park_later(connection& c);
  void park(connection& c);
  void read_on(connection& c);
  void after_decoding(connection& c);
  void decode(connection& c, decoder& frames, chain& in);
  void on_event(connection& c, event&& e);
  bool may_ping(connection& c);
  void hold_if_behind(connection& c);
  void on_close(connection& c, const event& e);
  void fail(connection& c, close_code code, std::string_view reason);
  void end(connection& c, close_code code, std::string_view reason);
  void finish(connection& c, close_code code, std::string_view reason);
  template <class F>
  void call(connection& c, const F& handler);

  core& home_;
  std::shared_ptr<const ws::options> options_;
  decoder_limits limits_;
  local_topics& topics_;
};

}  // namespace catenet::ws
