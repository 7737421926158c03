// Waiting and waking at the ends of a channel.
#include <catenet/bus/channel.hpp>

#include <algorithm>
#include <cassert>

namespace catenet::bus {

namespace detail {

channel_state::channel_state(std::size_t capacity, producers who)
    : ring(std::in_place_type<spsc_ring<send_packet>>, capacity) {
  if (who == producers::many) ring.emplace<mpsc_ring<send_packet>>(capacity);
}

bool channel_state::push(send_packet& p) {
  return std::visit([&](auto& r) { return r.push(p); }, ring);
}
bool channel_state::pop(send_packet& p) {
  return std::visit([&](auto& r) { return r.pop(p); }, ring);
}
std::size_t channel_state::size() const {
  return std::visit([](const auto& r) { return r.size(); }, ring);
}
std::size_t channel_state::capacity() const {
  return std::visit([](const auto& r) { return r.capacity(); }, ring);
}

// Looks at the senders first: what the last of them pushed before it ended is in the ring then.
bool channel_state::ended() const { return senders.load(std::memory_order_acquire) == 0 && size() == 0; }

void channel_state::ring_receiver() {
  if (!receiver_waits.take()) return;
  std::shared_ptr<bell> who;
  {
    const std::lock_guard lock(mutex);
    who = receiver_bell;
  }
  if (who) who->ring();
}

void channel_state::ring_senders(bool all) {
  if (!all && size() > capacity() / 2) return;
  std::vector<std::shared_ptr<bell>> who;
  {
    const std::lock_guard lock(mutex);
    senders_wait.take();
    who.swap(sender_bells);
  }
  for (const auto& each : who) each->ring();
}

channel_end::channel_end(channel_state& of, bool sends) : state_(of), sends_(sends) {
  assert(station::current() != nullptr && "who waits has a station to be resumed by");
  ring_ = station::current()->make_bell();
  ring_->answer = [this] { serve(); };
}

channel_end::~channel_end() {
  ring_->answer = {};
  const std::lock_guard lock(state_.mutex);
  std::erase(state_.sender_bells, ring_);
  if (state_.receiver_bell == ring_) state_.receiver_bell = nullptr;
}

void channel_end::ask() {
  {
    const std::lock_guard lock(state_.mutex);
    if (!sends_)
      state_.receiver_bell = ring_;
    else if (std::find(state_.sender_bells.begin(), state_.sender_bells.end(), ring_) ==
             state_.sender_bells.end())
      state_.sender_bells.push_back(ring_);
  }
  (sends_ ? state_.senders_wait : state_.receiver_waits).raise();
}

// Whether the waiter has what it waited for, or need not wait any more.
bool channel_end::attempt(channel_waiter& w) {
  if (sends_) {
    if (state_.receiver_gone.load(std::memory_order_acquire)) return true;
    w.done = state_.push(w.packet);
    if (w.done) state_.wake_receiver();
    return w.done;
  }
  const bool last = state_.senders.load(std::memory_order_acquire) == 0;
  w.done = state_.pop(w.packet);
  if (w.done)
    state_.wake_senders();
  else
    state_.found_empty();
  return w.done || last;
}

bool channel_end::attempt_or_ask(channel_waiter& w) {
  if (attempt(w)) return true;
  ask();
  return attempt(w);
}

bool channel_end::wait(channel_waiter& who) {
  waiting_.push_back(who);
  if (&waiting_.front() != &who || !attempt_or_ask(who)) return true;
  who.unlink();
  return false;
}

// Serves who waits, in order, as far as it goes; asks for a ring for the rest. Whoever is resumed may wait
// again, withdraw others, and end this end of the channel.
void channel_end::serve() {
  if (serving_) return;
  const std::shared_ptr<bell> keep = ring_;
  serving_ = true;
  while (!waiting_.empty()) {
    channel_waiter& first = waiting_.front();
    if (!attempt_or_ask(first)) break;
    waiting_.pop_front();
    first.who.resume();
    if (!keep->answer) return;  // ended meanwhile
  }
  serving_ = false;
}

}  // namespace detail

// ---- the sending end

sender sender::another() const {
  assert(std::holds_alternative<detail::mpsc_ring<send_packet>>(state_->ring));
  state_->senders.fetch_add(1, std::memory_order_relaxed);
  return sender{state_};
}

detail::channel_end& sender::end() {
  if (end_ == nullptr) end_ = std::make_unique<detail::channel_end>(*state_, true);
  return *end_;
}

push_result sender::send_for(send_packet& p, std::chrono::nanoseconds most) {
  push_result result = try_send(p);
  if (result != push_result::full) return result;
  const auto done = [&] {
    result = try_send(p);
    if (result != push_result::full) return true;
    end().ask();
    result = try_send(p);
    return result != push_result::full;
  };
  station::current()->wait_until(done, most);
  return result;
}

void sender::close() {
  end_.reset();
  const auto state = std::exchange(state_, nullptr);
  if (state == nullptr || state->senders.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  state->wake_receiver();
}

// ---- the receiving end

detail::channel_end& receiver::end() {
  if (end_ == nullptr) end_ = std::make_unique<detail::channel_end>(*state_, false);
  return *end_;
}

bool receiver::wait_for(std::chrono::nanoseconds most) {
  const auto done = [&] {
    if (state_->size() != 0 || state_->ended()) return true;
    state_->found_empty();
    end().ask();
    return state_->size() != 0 || state_->ended();
  };
  station::current()->wait_until(done, most);
  return state_->size() != 0;
}

void receiver::close() {
  end_.reset();
  const auto state = std::exchange(state_, nullptr);
  if (state == nullptr) return;
  state->receiver_gone.store(true, std::memory_order_seq_cst);
  for (send_packet dropped; state->pop(dropped);) dropped = send_packet{};
  state->ring_senders(true);
}

std::pair<sender, receiver> make_channel(std::size_t capacity, producers who) {
  auto state = std::make_shared<detail::channel_state>(capacity, who);
  return {sender{state}, receiver{state}};
}

}  // namespace catenet::bus
