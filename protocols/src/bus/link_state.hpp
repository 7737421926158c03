// What a link is behind its handle: queue, hand-over, reconnecting, cutting of what comes in.
#pragma once

#include <catenet/bus/framer.hpp>
#include <catenet/bus/link.hpp>
#include <catenet/engine/stream.hpp>
#include <catenet/engine/timer.hpp>

#include <deque>
#include <memory>
#include <optional>
#include <span>

namespace catenet::bus::detail {

/// offered = sent + dropped + lost + (queued_ + flight_), in messages and in bytes.
class link_state final : public timer, public std::enable_shared_from_this<link_state> {
 public:
  link_state(core& on, const endpoint& to, link_options how, link_events events);
  link_state(stream& accepted, link_options how);
  ~link_state() override { forget_stream(); }

  link_result try_send(chain&& message);
  link_result try_send_framed(chain&& frames);
  void wait(link_waiter& who);
  void pause();
  void resume();
  void close();
  void dial();
  void forget_stream();
  [[nodiscard]] bool connected() const { return stands_; }
  [[nodiscard]] link_statistics statistics();
  [[nodiscard]] endpoint peer() const { return via_ == nullptr ? endpoint{} : via_->peer(); }

  // What the stream tells.
  void on_up();
  void on_refused(const error& why) { why_ = why; }
  void on_received(chain&& bytes);
  void on_ended();
  void on_writable();
  void on_closed();

  link_events tell;

 private:
  void expire() override;

  link_result put(chain&& message);
  link_result admit(std::uint64_t bytes, std::size_t messages);
  link_result refuse(std::size_t messages);
  void drop_oldest(std::uint64_t until_fits);
  void offered(std::uint64_t bytes, std::size_t messages);
  void accepted(std::uint64_t bytes, std::size_t messages);
  void hand_over_soon();
  void hand_over();
  bool hand_over_some();
  void settle();
  void serve();
  void cut();
  void stuck(frame::status what);
  void lose_flight();
  void lose_queue();
  void finish(const error& why);
  void look_soon(std::uint32_t in_ms);
  void try_to_close();
  [[nodiscard]] std::uint64_t unsent() const;
  [[nodiscard]] std::uint32_t header_bytes(std::uint64_t message_bytes) const;
  [[nodiscard]] error ended_in(std::string why) const;

  core& on_;
  endpoint to_;
  const bool dials_;
  const link_options how_;
  stream* via_ = nullptr;   // also while it is connecting
  bool stands_ = false;     // the connection can be used
  bool stood_ = false;      // it could once
  bool held_back_ = false;  // more than the high watermark is unsent: writable() is owed
  bool paused_ = false;
  bool starved_ = false;  // no memory for a packet: reading waits
  bool closing_ = false;
  bool over_ = false;
  bool cutting_ = false;
  bool serving_ = false;
  bool asked_ = false;  // a hand-over is posted
  bool fatal_ = false;  // the peer does not speak the format
  bool peer_closed_ = false;

  chain queue_;                       // frames not handed over
  std::deque<std::uint64_t> queued_;  // their lengths
  std::deque<std::uint64_t> flight_;  // lengths of those handed over and not yet seen to be taken
  std::uint64_t flight_bytes_ = 0;
  std::optional<framer> in_;
  boost::intrusive::list<link_waiter, boost::intrusive::constant_time_size<false>> waiting_;
  std::uint32_t retry_ms_;
  std::uint32_t look_ms_ = 1;
  error why_;  // of the connection's end
  link_statistics count_;
};

}  // namespace catenet::bus::detail
