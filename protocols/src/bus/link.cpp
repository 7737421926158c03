// Links: the budget, handing over, what is lost, and connecting again.
#include <catenet/bus/link.hpp>
#include <catenet/engine/engine.hpp>

#include "bus/link_state.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace catenet::bus {

namespace {

constexpr std::uint32_t look_ms_max = 64;  // how long a link with unsent messages goes without a look at most
constexpr std::uint32_t memory_retry_ms = 10;

using detail::link_state;

// Tells a stream's link what happens to it. Has no state, so it outlives every stream. A stream whose link
// ended has no session.
class link_protocol final : public protocol {
 public:
  void opened(stream& s) override { tell(s, &link_state::on_up); }
  void refused(stream& s, const error& why) override { tell(s, &link_state::on_refused, why); }
  void received(stream& s, chain&& bytes) override { tell(s, &link_state::on_received, std::move(bytes)); }
  void ended(stream& s) override {
    if (!tell(s, &link_state::on_ended)) s.close();
  }
  void writable(stream& s) override { tell(s, &link_state::on_writable); }
  void drain(stream& s) override {
    if (!tell(s, &link_state::close)) s.close();
  }
  void closed(stream& s) override { tell(s, &link_state::on_closed); }

 private:
  // Whoever is told may end the link.
  template <class... Args, class... Given>
  bool tell(stream& s, void (link_state::*what)(Args...), Given&&... given) {
    auto* of = static_cast<link_state*>(s.session());
    if (of == nullptr) return false;
    const std::shared_ptr<link_state> keep = of->shared_from_this();
    (of->*what)(std::forward<Given>(given)...);
    return true;
  }
};

link_protocol& speaks() {
  static link_protocol one;
  return one;
}

class link_listener final : public protocol {
 public:
  link_listener(link_options how, const std::function<void(core&, link&&)>& opened)
      : how_(how), opened_(opened) {}
  void opened(stream& s) override {
    auto made = std::make_shared<link_state>(s, how_);
    s.hand_to(speaks(), made.get());
    opened_(s.home(), link{made});
    if (s.session() != nullptr) made->on_up();
  }
  void received(stream&, chain&&) override {}

 private:
  link_options how_;
  std::function<void(core&, link&&)> opened_;
};

}  // namespace

std::string_view text(link_result r) {
  switch (r) {
    case link_result::accepted:
      return "accepted";
    case link_result::dropped:
      return "dropped: the budget is full";
    case link_result::full:
      return "the budget is full";
    case link_result::too_long:
      return "the message is over the limit";
    case link_result::malformed:
      return "these are not whole frames of the link's format";
    case link_result::no_memory:
      return "no memory for the frame's header";
    case link_result::over:
      return "the link has ended";
  }
  return "unknown";
}

namespace detail {

// ---- beginning and end

link_state::link_state(core& on, const endpoint& to, link_options how, link_events events)
    : tell(std::move(events)), on_(on), to_(to), dials_(true), how_(how), retry_ms_(how.retry_ms_min) {}

link_state::link_state(stream& accepted, link_options how)
    : on_(accepted.home()), to_(accepted.peer()), dials_(false), how_(how), via_(&accepted), retry_ms_(0) {}

void link_state::dial() {
  if (over_) return;
  if (on_.draining()) return finish({});
  why_ = {};
  via_ = on_.connect(to_, speaks(), why_, {.timeout_ms = how_.connect_ms, .session = this});
  if (via_ == nullptr) on_closed();
}

// The handle has gone: the stream sends what it has and ends by itself.
void link_state::forget_stream() {
  stop();
  over_ = true;
  stream* s = std::exchange(via_, nullptr);
  if (s == nullptr) return;
  s->set_session(nullptr);
  stands_ ? s->close() : s->abort();
  stands_ = false;
}

void link_state::close() {
  if (over_ || closing_) return;
  const std::shared_ptr<link_state> keep = shared_from_this();
  closing_ = true;
  serve();
  if (via_ == nullptr) return finish({});
  if (!stands_) return via_->abort();
  hand_over();
  look_soon(1);
}

// A link that closes has its stream closed once the kernel has everything: so it is known what was sent.
void link_state::try_to_close() {
  if (closing_ && stands_ && queue_.empty() && flight_.empty()) via_->close();
}

void link_state::finish(const error& why) {
  if (over_) return;
  over_ = true;
  stop();
  lose_queue();
  serve();
  if (tell.over) tell.over(why);
}

void link_state::on_up() {
  stands_ = stood_ = true;
  held_back_ = peer_closed_ = false;
  retry_ms_ = how_.retry_ms_min;
  ++count_.connects;
  in_.emplace(*how_.format, frame::limits{how_.message_bytes_max});
  if (paused_) via_->pause();
  if (tell.up) tell.up();
  serve();
  if (!over_) hand_over();
}

void link_state::on_closed() {
  via_ = nullptr;
  if (over_) return;
  stop();
  const bool stood = std::exchange(stood_, false);
  stands_ = false;
  ++(stood ? count_.disconnects : count_.connect_failures);
  lose_flight();
  if (in_) count_.cut_bytes += in_->buffered();
  in_.reset();
  starved_ = false;
  error why = std::exchange(why_, {});
  if (stood && !why) why = ended_in("the connection was reset");
  if (tell.down && !closing_) tell.down(why);
  serve();  // what was lost has made room
  if (over_) return;
  if (closing_ || (peer_closed_ && !dials_)) return finish({});
  if (fatal_ || !dials_) return finish(why);
  on_.timers().start(*this, retry_ms_);
  retry_ms_ = std::min(2 * retry_ms_, how_.retry_ms_max);
}

error link_state::ended_in(std::string why) const { return {"link", to_.text(), 0, std::move(why)}; }

void link_state::lose_flight() {
  count_.lost_messages += flight_.size();
  count_.lost_bytes += std::exchange(flight_bytes_, 0);
  flight_.clear();
}

void link_state::lose_queue() {
  count_.lost_messages += queued_.size();
  count_.lost_bytes += queue_.bytes();
  queued_.clear();
  queue_.clear();
}

// ---- accepting messages

std::uint32_t link_state::header_bytes(std::uint64_t message_bytes) const {
  std::array<std::byte, frame::header_bytes_limit> scratch;
  return how_.format->write(message_bytes, scratch.data());
}

// Makes room for frames of so many bytes, or says what is to become of them.
link_result link_state::admit(std::uint64_t bytes, std::size_t messages) {
  if (over_ || closing_) return link_result::over;
  if (bytes > how_.budget_bytes) return link_result::too_long;
  const auto fits = [&] { return unsent() + bytes <= how_.budget_bytes; };
  if (fits()) return link_result::accepted;
  settle();
  if (how_.when_full == overflow::drop_oldest) drop_oldest(bytes);
  if (fits()) return link_result::accepted;
  if (how_.when_full == overflow::refuse) return refuse(messages);
  offered(bytes, messages);
  count_.dropped_messages += messages;
  count_.dropped_bytes += bytes;
  return link_result::dropped;
}

link_result link_state::refuse(std::size_t messages) {
  count_.refused_messages += messages;
  return link_result::full;
}

void link_state::offered(std::uint64_t bytes, std::size_t messages) {
  count_.offered_messages += messages;
  count_.offered_bytes += bytes;
}

void link_state::drop_oldest(std::uint64_t until_fits) {
  while (!queued_.empty() && unsent() + until_fits > how_.budget_bytes) {
    queue_.consume(queued_.front());
    ++count_.dropped_messages;
    count_.dropped_bytes += queued_.front();
    queued_.pop_front();
  }
}

void link_state::accepted(std::uint64_t bytes, std::size_t messages) {
  offered(bytes, messages);
  count_.unsent_bytes_max = std::max(count_.unsent_bytes_max, unsent());
  hand_over_soon();
}

link_result link_state::try_send(chain&& message) {
  if (!waiting_.empty() && !over_) return refuse(1);
  return put(std::move(message));
}

link_result link_state::put(chain&& message) {
  const std::uint64_t bytes = message.bytes();
  if (bytes > how_.message_bytes_max || bytes > how_.format->payload_bytes_max) return link_result::too_long;
  const std::uint64_t whole = header_bytes(bytes) + bytes;
  const link_result result = admit(whole, 1);
  if (result == link_result::dropped) message.clear();
  if (result != link_result::accepted) return result;
  queued_.push_back(whole);
  if (!frame::encode(*how_.format, std::move(message), queue_)) {
    queued_.pop_back();
    return link_result::no_memory;
  }
  accepted(whole, 1);
  return result;
}

link_result link_state::try_send_framed(chain&& frames) {
  if (!waiting_.empty() && !over_) return refuse(1);
  std::vector<std::uint64_t> lengths;
  std::array<std::byte, frame::header_bytes_limit> start;
  for (std::uint64_t at = 0; at != frames.bytes(); at += lengths.back()) {
    const std::size_t there = frames.copy_to(std::span{start}.first(how_.format->header_bytes_max), at);
    const frame::header h = how_.format->parse({start.data(), there});
    if (h.what != frame::status::frame) return link_result::malformed;
    if (h.payload_bytes > how_.message_bytes_max) return link_result::too_long;
    if (h.payload_bytes > frames.bytes() - at - h.header_bytes) return link_result::malformed;
    lengths.push_back(h.header_bytes + h.payload_bytes);
  }
  const std::uint64_t bytes = frames.bytes();
  const link_result result = admit(bytes, lengths.size());
  if (result == link_result::dropped) frames.clear();
  if (result != link_result::accepted) return result;
  queued_.insert(queued_.end(), lengths.begin(), lengths.end());
  queue_.append(std::move(frames));
  accepted(bytes, lengths.size());
  return result;
}

void link_state::wait(link_waiter& who) {
  waiting_.push_back(who);
  look_soon(1);
}

// Serves who waits, in order, as far as there is room. Whoever is resumed may wait again, and end the link.
void link_state::serve() {
  if (serving_) return;
  serving_ = true;
  while (!waiting_.empty()) {
    link_waiter& first = waiting_.front();
    const link_result result = put(std::move(first.message));
    if (result == link_result::no_memory) look_soon(memory_retry_ms);
    if (result == link_result::full || result == link_result::no_memory) break;
    waiting_.pop_front();
    first.result = result;
    first.who.resume();
  }
  serving_ = false;
}

// ---- handing over

// Once a turn, so that what is sent within it is framed side by side and leaves as one send.
void link_state::hand_over_soon() {
  if (asked_ || !stands_) return;
  asked_ = on_.post([self = shared_from_this()] {
    self->asked_ = false;
    if (!self->over_) self->hand_over();
  });
}

void link_state::hand_over() {
  while (stands_ && !held_back_ && !queue_.empty() && hand_over_some()) {
  }
  if (stands_ && (unsent() != 0 || !waiting_.empty())) look_soon(look_ms_);
}

// As many messages as bring the stream to its high watermark: what is beyond stays here, where a disconnect
// does not touch it.
bool link_state::hand_over_some() {
  settle();
  const std::uint64_t high = on_.owner().options().high_watermark;
  const std::uint64_t there = via_->unsent();
  std::uint64_t bytes = 0;
  std::size_t messages = 0;
  while (messages != queued_.size() && there + bytes <= high) bytes += queued_[messages++];
  if (messages == 0) return false;
  auto part = queue_.split(bytes);
  if (!part) return false;  // no segment for the cut: again at the next look
  const send_result result = via_->send(std::move(*part));
  if (result == send_result::gone || result == send_result::over_limit) {
    queue_.prepend(std::move(*part));
    return false;
  }
  const auto end = queued_.begin() + static_cast<std::ptrdiff_t>(messages);
  flight_.insert(flight_.end(), queued_.begin(), end);
  queued_.erase(queued_.begin(), end);
  flight_bytes_ += bytes;
  held_back_ = result == send_result::queued;
  look_ms_ = 1;
  return true;
}

// Counts what the kernel has taken. A stream that is ending has thrown away what it had, so it is not asked.
void link_state::settle() {
  if (via_ == nullptr || via_->closing()) return;
  std::uint64_t taken = flight_bytes_ - std::min(flight_bytes_, via_->unsent());
  while (!flight_.empty() && flight_.front() <= taken) {
    const std::uint64_t bytes = flight_.front();
    flight_.pop_front();
    taken -= bytes;
    flight_bytes_ -= bytes;
    ++count_.sent_messages;
    count_.sent_bytes += bytes;
  }
}

void link_state::on_writable() {
  held_back_ = false;
  settle();
  hand_over();
  serve();
}

void link_state::look_soon(std::uint32_t in_ms) {
  if (via_ == nullptr) return;  // the timer is that of the next attempt
  if (!armed() || due_ms() - on_.now_ms() > in_ms) on_.timers().start(*this, in_ms);
}

// The next attempt to connect; or a look at what the kernel has taken, which nobody tells below the
// watermark.
void link_state::expire() {
  const std::shared_ptr<link_state> keep = shared_from_this();
  if (via_ == nullptr) return dial();
  if (std::exchange(starved_, false) && stands_) {
    if (!paused_) via_->resume();
    cut();
  }
  const std::uint64_t before = unsent();
  settle();
  hand_over();
  serve();
  try_to_close();
  if (!stands_ || (unsent() == 0 && waiting_.empty())) return;
  look_ms_ = unsent() < before ? 1 : std::min(2 * look_ms_, look_ms_max);
  look_soon(look_ms_);
}

// ---- receiving

void link_state::on_received(chain&& bytes) {
  if (!in_) return;
  in_->feed(std::move(bytes));
  cut();
}

void link_state::cut() {
  if (cutting_ || !in_) return;
  cutting_ = true;
  while (stands_ && !paused_ && !starved_) {
    packet message;
    const frame::status what = in_->next(message);
    if (what != frame::status::frame) {
      stuck(what);
      break;
    }
    ++count_.received_messages;
    count_.received_bytes += message.size();
    if (tell.message) tell.message(std::move(message));
  }
  cutting_ = false;
}

// No whole frame is there: more has to come, or memory, or nothing ever will.
void link_state::stuck(frame::status what) {
  if (what == frame::status::more) return via_->expect(in_ ? in_->missing() : 0);
  if (what == frame::status::no_memory) {
    starved_ = true;
    via_->pause();
    return look_soon(memory_retry_ms);
  }
  fatal_ = true;
  stands_ = false;
  why_ = ended_in(std::string(frame::text(what)) + ": both ends need the same format, here " +
                  std::string(how_.format->name));
  via_->abort();
}

void link_state::on_ended() {
  cut();
  if (via_ == nullptr) return;
  settle();
  peer_closed_ = !fatal_ && (!in_ || in_->buffered() == 0);
  if (!fatal_)
    why_ = ended_in(peer_closed_ ? "the peer closed the connection" : "the peer closed it in mid-frame");
  stands_ = false;
  via_->close();
}

void link_state::pause() {
  paused_ = true;
  if (stands_) via_->pause();
}

// What is held is told from the loop, not from within this call.
void link_state::resume() {
  if (!std::exchange(paused_, false) || !stands_) return;
  if (!starved_) via_->resume();
  on_.post([self = shared_from_this()] { self->cut(); });
}

std::uint64_t link_state::unsent() const { return queue_.bytes() + flight_bytes_; }

link_statistics link_state::statistics() {
  settle();
  link_statistics now = count_;
  now.unsent_bytes = unsent();
  now.unsent_messages = queued_.size() + flight_.size();
  return now;
}

}  // namespace detail

// ---- the handle

link::link(core& on, const endpoint& to, link_options how, link_events tell)
    : state_(std::make_shared<link_state>(on, to, how, std::move(tell))) {
  on.post([state = state_] { state->dial(); });
}
link::~link() {
  if (state_) state_->forget_stream();
}
void link::set_events(link_events tell) { state_->tell = std::move(tell); }
link_result link::try_send(chain&& message) { return state_->try_send(std::move(message)); }
link_result link::try_send_framed(chain&& frames) { return state_->try_send_framed(std::move(frames)); }
void link::wait(detail::link_waiter& who) { state_->wait(who); }
void link::pause() { state_->pause(); }
void link::resume() { state_->resume(); }
void link::close() { state_->close(); }
bool link::connected() const { return state_->connected(); }
link_statistics link::statistics() const { return state_->statistics(); }
endpoint link::peer() const { return state_->peer(); }

error accept_links(engine& net, std::string_view where, link_options how,
                   std::function<void(core&, link&&)> opened, endpoint* bound) {
  return net.listen(
      where,
      [how, opened = std::move(opened)](core&) { return std::make_unique<link_listener>(how, opened); },
      bound);
}

}  // namespace catenet::bus
