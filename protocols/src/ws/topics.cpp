// Subscribing, leaving and publishing.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/ws/connection.hpp>
#include <catenet/ws/hub.hpp>

#include "ws/in_pages.hpp"
#include "ws/service.hpp"

#include <new>
#include <optional>

namespace catenet::ws {

namespace {
constexpr std::size_t subscription_bytes =
    sizeof(subscription) + sizeof(subscription*);  // and its topic's entry
constexpr std::uint32_t shelf_look_ms = 5000;
}  // namespace

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
    if (is_filter(name)) {
      filters_.add(name, *found->second);
      filter_count_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  found->second->refs.fetch_add(1, std::memory_order_relaxed);
  return {*this, *found->second};
}

void topic_registry::find(std::string_view name, std::vector<topic_reference>& into) {
  const std::shared_lock lock(mutex_);
  std::vector<shared_topic*> reached;
  if (const auto own = topics_.find(name); own != topics_.end() && !is_filter(name))
    reached.push_back(own->second.get());
  if (has_filters()) filters_.match(name, reached);
  for (shared_topic* t : reached) {
    t->refs.fetch_add(1, std::memory_order_relaxed);
    into.emplace_back(*this, *t);
  }
}

void topic_registry::release(shared_topic& t) {
  std::uint32_t refs = t.refs.load(std::memory_order_relaxed);
  while (refs > 1)
    if (t.refs.compare_exchange_weak(refs, refs - 1, std::memory_order_release, std::memory_order_relaxed))
      return;
  const std::lock_guard lock(mutex_);
  if (t.refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (is_filter(t.name)) {
    filters_.remove(t.name);
    filter_count_.fetch_sub(1, std::memory_order_relaxed);
  }
  topics_.erase(topics_.find(t.name));
}

// ---- the topics of a core

local_topics::local_topics(core& home, topic_registry& registry,
                           const std::vector<std::unique_ptr<local_topics>>& all)
    : shelf([this] { home_.timers().start(*this, shelf_look_ms); }),
      home_(home),
      registry_(registry),
      all_(all) {}

// Compressors that nobody needed for some seconds are given back.
void local_topics::expire() {
  if (!shelf.trim()) home_.timers().start(*this, shelf_look_ms);
}

// Either list may be long, seldom both: they are walked side by side.
subscription* local_topics::find(const connection& who, const local_topic& in) {
  auto member = in.subscribers.begin();
  for (subscription* s = who.subscriptions_; s != nullptr && member != in.subscribers.end();
       s = s->next, ++member) {
    if (s->to == &in) return s;
    if ((*member)->who == &who) return *member;
  }
  return nullptr;
}

bool local_topics::subscribe(connection& who, std::string_view name) {
  if (is_filter(name) && !is_good_filter(name)) return false;
  auto found = topics_.find(name);
  if (found != topics_.end() && find(who, *found->second) != nullptr) return false;
  auto* made = new subscription{&who, nullptr, who.subscriptions_, &who.subscriptions_, 0};
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
  if (made->next != nullptr) made->next->link = &made->next;
  who.subscriptions_ = made;
  return true;
}

bool local_topics::unsubscribe(connection& who, std::string_view name) {
  const auto found = topics_.find(name);
  if (found == topics_.end()) return false;
  subscription* s = find(who, *found->second);
  if (s == nullptr) return false;
  remove(s);
  return true;
}

void local_topics::leave(connection& who) {
  while (who.subscriptions_ != nullptr) remove(who.subscriptions_);
}

// The last subscriber takes the free place. fan_out() relies on that.
void local_topics::remove(subscription* s) {
  local_topic& t = *s->to;
  *s->link = s->next;
  if (s->next != nullptr) s->next->link = s->link;
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

std::size_t local_topics::publish(publication&& p, const connection* except) {
  counters.published.add(1);
  if (!p) {
    counters.dropped.add(1);
    return 0;
  }
  std::vector<topic_reference> reached;
  // Mostly there are no wildcards, and the topic has subscribers here: then nothing shared need be locked.
  const auto here = registry_.has_filters() ? topics_.end() : topics_.find(p.topic());
  if (here != topics_.end())
    reached.push_back(here->second->shared.again());
  else
    registry_.find(p.topic(), reached);
  if (reached.empty()) return 0;
  if (subscribers_here(reached) >= pages_receivers_min) move_into_pages(p.plain(), home_);
  tell_others(reached, p);
  return fan_out(reached, p, except);
}

std::size_t local_topics::publish_copy(std::string_view topic, std::span<const std::byte> bytes, bool is_text,
                                       const connection* except) {
  message copy{chain::copy_of(bytes), is_text};
  if (copy.size() == bytes.size()) return publish({topic, std::move(copy)}, except);
  counters.published.add(1);
  counters.dropped.add(1);
  return 0;
}

std::size_t local_topics::subscribers_here(std::span<const topic_reference> topics) const {
  std::size_t sum = 0;
  for (const topic_reference& t : topics)
    if (const local_topic* local = t->at[home_.index()].load(std::memory_order_relaxed))
      sum += local->subscribers.size();
  return sum;
}

void local_topics::tell_others(std::span<const topic_reference> topics, publication& p) {
  for (std::size_t i = 0; i != all_.size(); ++i)
    if (i != home_.index()) tell(i, topics, p);
}

// One letter to another core, if it has subscribers. The letters of this core to another arrive in order.
void local_topics::tell(std::size_t other, std::span<const topic_reference> topics, publication& p) {
  std::vector<topic_reference> wanted;
  bool deflating = false;
  for (const topic_reference& t : topics) {
    if (t->at[other].load(std::memory_order_acquire) == nullptr) continue;
    wanted.push_back(t.again());
    deflating = deflating || t->deflating.load(std::memory_order_relaxed) != 0;
  }
  if (wanted.empty()) return;
  // Compressed before it is told, so that not every core has to.
  if (deflating && p.payload_bytes() >= deflate.bytes_min)
    static_cast<void>(p.deflated(window_bits_max, deflate.level, shelf));
  std::optional<publication> twin = p.share();
  if (!twin) {
    counters.dropped.add(1);
    return;
  }
  local_topics* there = all_[other].get();
  home_.owner()
      .at(static_cast<unsigned>(other))
      .post([there, reached = std::move(wanted), q = std::move(*twin)]() mutable {
        there->fan_out(reached, q, nullptr);
      });
}

// Nothing called here runs a handler, so all that can happen to the list meanwhile is that the subscriber in
// hand is closed and leaves: going from the back, whoever takes its place was served already.
template <class Deliver>
void local_topics::each_subscriber(local_topic& t, const Deliver& deliver) {
  bool more = true;
  for (std::size_t i = t.subscribers.size(); more;) {
    connection& one = *t.subscribers[--i]->who;
    more = i != 0;  // when it was the last subscriber and leaves, the topic is gone
    deliver(one);
  }
}

std::size_t local_topics::fan_out(std::span<const topic_reference> topics, publication& p,
                                  const connection* except) {
  std::size_t took = 0;
  std::vector<connection*> served;  // where several topics may reach one connection
  for (const topic_reference& topic : topics) {
    local_topic* const local = topic->at[home_.index()].load(std::memory_order_relaxed);
    if (local == nullptr) continue;
    each_subscriber(*local, [&](connection& one) {
      if (&one == except || one.has(connection::flag_marked)) return;
      if (topics.size() > 1) {
        one.set(connection::flag_marked);
        served.push_back(&one);
      }
      if (one.owner().deliver(one, p)) ++took;
    });
  }
  for (connection* one : served) one->clear(connection::flag_marked);
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
    first->publish_copy(name, as_bytes(bytes), is_text, nullptr);
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
    sum.context_bytes += c.context_bytes.get();
  }
  return sum;
}

}  // namespace catenet::ws
