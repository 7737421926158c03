// The service: what a route's WebSocket connections on one core have in common, and what the engine tells
// about them.
#pragma once

#include <catenet/engine/protocol.hpp>
#include <catenet/ws/connection.hpp>
#include <catenet/ws/decoder.hpp>
#include <catenet/ws/hub.hpp>
#include <catenet/ws/options.hpp>

#include "ws/outbox.hpp"
#include "ws/publication.hpp"
#include "ws/topics.hpp"

#include <memory>
#include <string_view>
#include <vector>

namespace catenet::ws {

/// What a connection has while it is busy: a frame or a message is under way, reading is held, frames wait, a
/// context is taken over, or its messages of this second are counted.
struct activity {
  explicit activity(decoder&& d) : frames(std::move(d)) {}
  [[nodiscard]] bool over() const {
    return frames.idle() && rest.empty() && !deflate.agreed && !waiting && missed == 0 && messages == 0;
  }
  decoder frames;
  chain rest;                            // received, not decoded yet
  deflate_agreement deflate;             // where it is not the plain one
  std::unique_ptr<deflater> compressor;  // whose context goes on
  std::unique_ptr<outbox> waiting;       // frames in front of the stream
  std::uint64_t missed = 0;              // published messages that were dropped, not told yet
  std::uint64_t unsent_seen = 0;         // at the last look at a peer that is not read from
  std::uint32_t messages = 0;            // received in the second below
  std::uint32_t second = 0;              // of 1024 ms
  static void* operator new(std::size_t bytes) noexcept { return mi_malloc(bytes); }
  static void operator delete(void* at) { mi_free(at); }
};

inline constexpr std::uint32_t park_after_ms = 10'000;  ///< a quiet connection's contexts are let go of

/// Calls, from the engine or from handlers, come on its core's thread.
/// Says what a handler threw. Within a catch.
void log_thrown();

class service : public protocol {
 public:
  service(core& home, std::shared_ptr<const ws::options> o, hub& of, role self = role::server);

  /// Takes a stream over after its handshake, whose answer is queued already. `leftover`: what came behind
  /// it; `first`: called before `open`, if there is one.
  void adopt(stream& s, chain&& leftover, const deflate_agreement& deflate = {},
             const callback<void(connection&)>& first = {});

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
  [[nodiscard]] role self() const { return self_; }
  /// Whether the memory for contexts taken over has room for another connection's.
  [[nodiscard]] bool has_room_for_context() const { return has_room_for_context(inflater::bytes); }
  void begin_close(connection& c, close_code code, std::string_view reason);

  // sending.cpp
  /// Whether a message of that size goes to this peer neither compressed nor masked.
  [[nodiscard]] bool frames_as_is(const connection& c, std::uint64_t bytes) const {
    return self_ == role::server && !compresses(c, bytes);
  }
  /// Whether a message of that size goes to this peer compressed.
  [[nodiscard]] bool compresses(const connection& c, std::uint64_t bytes) const;
  /// Whether so much more may wait for this peer. Before it may not, what waits is offered to the kernel:
  /// within a turn of the loop nobody else has.
  [[nodiscard]] bool has_room(connection& c, std::uint64_t bytes);
  /// Sends, compressed where that is agreed. The caller has looked at the budget.
  send_result send(connection& c, message&& m);
  send_result send_frame(connection& c, chain&& frame);
  send_result send_control(connection& c, opcode op, chain&& payload);
  /// Shares a published frame to this subscriber, or does what the policy says. True when it took it.
  bool deliver(connection& c, publication& p);

 protected:
  /// No handler is called any more.
  void mute() { muted_ = true; }
  [[nodiscard]] bool muted() const { return muted_; }

 private:
  activity* activity_of(connection& c);
  void end_activity(connection& c);
  void end_activity_if_over(connection& c);
  void read_on(connection& c);
  void after_decoding(connection& c);
  void decode(connection& c, decoder& frames, chain& in);
  void on_event(connection& c, event&& e);
  void on_message(connection& c, event&& e);
  bool may_ping(connection& c);
  bool may_talk(connection& c);
  bool takes_something(connection& c);
  void hold_if_behind(connection& c);
  void send_close(connection& c, close_code code, std::string_view reason);
  void answer_close(connection& c, close_code code, std::string_view reason);
  void on_close(connection& c, const event& e);
  void fail(connection& c, close_code code, std::string_view reason);
  void end(connection& c, close_code code, std::string_view reason);
  void finish(connection& c, close_code code, std::string_view reason);
  void call_missed(connection& c, std::uint64_t count);
  template <class F>
  void call(connection& c, const F& handler);

  // sending.cpp
  [[nodiscard]] chain framed(opcode op, chain&& payload, bool compressed = false) const;
  [[nodiscard]] chain close_frame(close_code code, std::string_view reason) const;
  [[nodiscard]] bool stream_has_room(const connection& c, std::uint64_t bytes) const;
  send_result pass_on(connection& c, chain&& frame);
  outbox* outbox_of(connection& c);
  [[nodiscard]] bool fits_without(const connection& c, std::uint64_t droppable, std::uint64_t bytes) const;
  bool queue_published(connection& c, chain&& frame, const publication& p);
  void miss(connection& c);
  void tell_missed();
  bool offer(connection& c);
  bool move_on(connection& c);
  void flush(connection& c);
  void drop_waiting(connection& c);
  [[nodiscard]] decoder make_decoder(const connection& c);
  [[nodiscard]] bool theirs_takes_over(const deflate_agreement& a) const;
  [[nodiscard]] deflate_agreement agreement_of(const connection& c) const;
  [[nodiscard]] chain compressed_frame(connection& c, const message& m);
  [[nodiscard]] bool has_room_for_context(std::uint64_t bytes) const;
  void keep_compressor(connection& c, std::unique_ptr<deflater> d);
  std::unique_ptr<deflater> take_compressor(connection& c);
  void drop_compressor(connection& c);
  [[nodiscard]] bool ours_takes_over(const deflate_agreement& a) const;
  void park_later(connection& c);
  void park(connection& c);

  core& home_;
  std::shared_ptr<const ws::options> options_;
  decoder_limits limits_;
  local_topics& topics_;
  std::uint64_t stream_bytes_max_;  // unsent bytes of a stream above which frames wait in front of it
  role self_;
  bool muted_ = false;
  std::vector<handle> missed_;  // connections to be told what they missed
};

}  // namespace catenet::ws
