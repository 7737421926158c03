// Subscribing, leaving and publishing.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/ws/connection.hpp>
#include <catenet/ws/hub.hpp>

#include "ws/service.hpp"

#include <new>
#include <optional>

namespace catenet::ws {

namespace {
constexpr std::size_t subscription_bytes = sizeof(subscription) + sizeof(subscription*);  // and its topic's entry
}

// ---- shared topics

topic_reference::~topic_reference() {
  if (topic_ != nullptr) registry_->release(*topic_);
}

topic_reference topic_reference::again() const {
  topic_->refs.fetch_add(1, std::memory_order_relaxed);  // not from 0: this one counts
  return {*registry_, *topic_};
}

topic_reference topic_registry::get(std::string_view name) {
  const std::lock_guard lock(mutex_);
  auto found = topics_.find(name);
  if (found == topics_.end()) {
    auto made = std::make_unique<shared_topic>(name, cores_);
    const std::string_view key = made->name;
    found = topics_.emplace(key, std::move(made)).first;
  }
  found->second->refs.fetch_add(1, std::memory_order_relaxed);
  return {*this, *found->second};
}

topic_reference topic_registry::find(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto found = topics_.find(name);
  if (found == topics_.end()) return {};
  found->second->refs.fetch_add(1, std::memory_order_relaxed);
  return {*this, *found->second};
}

void topic_registry::release(shared_topic& t) {
  std::uint32_t refs = t.refs.load(std::memory_order_relaxed);
  while (refs > 1)
    if (t.refs.compare_exchange_weak(refs, refs - 1, std::memory_order_release, std::memory_order_relaxed))
      return;
  const std::lock_guard lock(mutex_);
  if (t.refs.fetch_sub(1, std::memory_order_acq_rel) == 1) topics_.erase(topics_.find(t.name));
}

// ---- the topics of a core

bool local_topics::subscribe(connection& who, std::string_view name) {
  auto found = topics_.find(name);
  if (found != topics_.end()) {
    for (const subscription* s = who.subscriptions_; s != nullptr; s = s->next)
      if (s->to == found->second.get()) return false;
  }
  auto* made = new subscription{&who, nullptr, who.subscriptions_, 0};
  if (made == nullptr) return false;
  if (found == topics_.end()) {
    auto topic = std::make_unique<local_topic>(registry_.get(name));
    shared_topic& shared = *topic->shared.get();
    found = topics_.emplace(shared.name, std::move(topic)).first;
    shared.at[home_.index()].store(found->second.get(), std::memory_order_release);
  }
  local_topic& t = *found->second;
  made->to = &t;
  made->index = static_cast<std::uint32_t>(t.subscribers.size());
  t.subscribers.push_back(made);
  counters.session_bytes.add(subscription_bytes);
  if (who.has(connection::flag_deflate)) t.shared->deflating.fetch_add(1, std::memory_order_relaxed);
  who.subscriptions_ = made;
  return true;
}

bool local_topics::unsubscribe(connection& who, std::string_view name) {
  const auto found = topics_.find(name);
  if (found == topics_.end()) return false;
  for (subscription** link = &who.subscriptions_; *link != nullptr; link = &(*link)->next) {
    subscription* s = *link;
    if (s->to != found->second.get()) continue;
    *link = s->next;
    remove(s);
    return true;
  }
  return false;
}

void local_topics::leave(connection& who) {
  while (who.subscriptions_ != nullptr) {
    subscription* s = who.subscriptions_;
    who.subscriptions_ = s->next;
    remove(s);
  }
}

// The last subscriber takes the free place. fan_out() relies on that.
void local_topics::remove(subscription* s) {
  local_topic& t = *s->to;
  if (s->who->has(connection::flag_deflate)) t.shared->deflating.fetch_sub(1, std::memory_order_relaxed);
  subscription* last = t.subscribers.back();
  t.subscribers[s->index] = last;
  last->index = s->index;
  t.subscribers.pop_back();
  counters.session_bytes.sub(subscription_bytes);
  delete s;
  if (!t.subscribers.empty()) return;
  t.shared->at[home_.index()].store(nullptr, std::memory_order_release);
  const auto found = topics_.find(t.shared->name);
  const std::unique_ptr<local_topic> ended = std::move(found->second);  // it holds the key
  topics_.erase(found);
}

// ---- publishing

std::size_t local_topics::publish(std::string_view name, publication&& p, const connection* except) {
  counters.published.add(1);
  if (!p) {
    counters.dropped.add(1);
    return 0;
  }
  const auto here = topics_.find(name);
  if (here == topics_.end()) {
    if (const topic_reference elsewhere = registry_.find(name)) tell_others(elsewhere, p);
    return 0;
  }
  tell_others(here->second->shared, p);
  return fan_out(*here->second, p, except);
}

// One letter to each other core that has subscribers. The letters of this core to another arrive in order.
void local_topics::tell_others(const topic_reference& t, publication& p) {
  for (std::size_t i = 0; i != all_.size(); ++i) {
    if (i == home_.index() || t->at[i].load(std::memory_order_acquire) == nullptr) continue;
    // Compressed before it is told, so that not every core has to.
    if (t->deflating.load(std::memory_order_relaxed) != 0 && p.payload_bytes() >= deflate.bytes_min)
      static_cast<void>(p.deflated(window_bits_max, deflate.level, shelf));
    std::optional<publication> twin = p.share();
    if (!twin) {
      counters.dropped.add(1);
      continue;
    }
    local_topics* there = all_[i].get();
    home_.owner().at(static_cast<unsigned>(i)).post([there, topic = t.again(), q = std::move(*twin)]() mutable {
      if (local_topic* local = topic->at[there->home_.index()].load(std::memory_order_relaxed))
        there->fan_out(*local, q, nullptr);
    });
  }
}

// Nothing called here runs a handler, so all that can happen to the list meanwhile is that the subscriber in hand
// is closed and leaves: going from the back, whoever takes its place was served already.
std::size_t local_topics::fan_out(local_topic& t, publication& p, const connection* except) {
  std::size_t took = 0;
  bool more = true;
  for (std::size_t i = t.subscribers.size(); more;) {
    connection& one = *t.subscribers[--i]->who;
    more = i != 0;  // when it was the last subscriber and leaves, the topic is gone
    if (&one != except && one.owner().deliver(one, p)) ++took;
  }
  counters.messages_out.add(took);
  return took;
}

// ---- the hub

hub::hub(engine& of) : engine_(of), registry_(std::make_unique<topic_registry>(of.cores())) {
  for (unsigned i = 0; i != of.cores(); ++i)
    cores_.push_back(std::make_unique<local_topics>(of.at(i), *registry_, cores_));
}
hub::~hub() = default;

local_topics& hub::at(core& c) { return *cores_[c.index()]; }

bool hub::publish(std::string_view topic, std::string payload, bool is_text) {
  local_topics* first = cores_.front().get();
  return engine_.at(0).post([first, name = std::string(topic), bytes = std::move(payload), is_text] {
    first->publish(name, publication{is_text ? message::text(bytes) : message::binary(as_bytes(bytes))}, nullptr);
  });
}

ws::statistics hub::statistics() const {
  ws::statistics sum;
  for (const std::unique_ptr<local_topics>& one : cores_) {
    const core_counters& c = one->counters;
    sum.connections += c.connections.get();
    sum.opened += c.opened.get();
    sum.messages_in += c.messages_in.get();
    sum.messages_out += c.messages_out.get();
    sum.published += c.published.get();
    sum.dropped += c.dropped.get();
    sum.slow_closed += c.slow_closed.get();
    sum.failed += c.failed.get();
    sum.session_bytes += c.session_bytes.get();
  }
  return sum;
}

}  // namespace catenet::ws
