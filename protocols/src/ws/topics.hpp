// Topics: who is subscribed to what, on one core and across all.
//
//   topic_registry (locked, rare)   name ──▶ shared_topic ──at[0]──▶ local_topic of core 0 ──▶ its
//   subscribers
//                                                         ──at[1]──▶ local_topic of core 1 ──▶ its
//                                                         subscribers
//   local_topics (a core, no lock)  name ──▶ local_topic ──▶ shared_topic
//
// A shared_topic exists while some core has subscribers or a letter about it is under way. at[i] is written
// by core i only, before its subscriber can have told anybody that it subscribed; others read only whether it
// is null.
#pragma once

#include <catenet/engine/timer.hpp>
#include <catenet/slab/counter.hpp>
#include <catenet/ws/deflate.hpp>

#include "ws/filters.hpp"

#include <mimalloc.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace catenet {
class core;
}

namespace catenet::ws {

class connection;
class publication;
struct local_topic;

struct shared_topic {
  shared_topic(std::string_view called, std::size_t cores) : name(called), at(cores) {}
  std::string name;
  std::atomic<std::uint32_t> refs{0};  // goes from and to 0 under the registry's mutex only
  std::vector<std::atomic<local_topic*>> at;
  std::atomic<std::uint32_t> deflating{0};  // subscribers, on all cores, with permessage-deflate
};

/// A counted reference to a shared topic. Thread-safe.
class topic_registry;
class topic_reference {
 public:
  topic_reference() = default;
  topic_reference(topic_registry& of, shared_topic& to)
      : registry_(&of), topic_(&to) {}  // counted by the caller
  topic_reference(topic_reference&& other) noexcept
      : registry_(other.registry_), topic_(std::exchange(other.topic_, nullptr)) {}
  topic_reference& operator=(topic_reference&& other) noexcept {
    std::swap(registry_, other.registry_);
    std::swap(topic_, other.topic_);
    return *this;
  }
  ~topic_reference();

  [[nodiscard]] topic_reference again() const;
  [[nodiscard]] shared_topic* get() const { return topic_; }
  shared_topic* operator->() const { return topic_; }
  explicit operator bool() const { return topic_ != nullptr; }

 private:
  topic_registry* registry_ = nullptr;
  shared_topic* topic_ = nullptr;
};

/// All topics that anybody is subscribed to.
class topic_registry {
 public:
  explicit topic_registry(std::size_t cores) : cores_(cores) {}
  /// The topic, made when there is none.
  topic_reference get(std::string_view name);
  /// All topics that a name reaches: its own, and those with wildcards that it matches.
  void find(std::string_view name, std::vector<topic_reference>& into);
  [[nodiscard]] bool has_filters() const { return filter_count_.load(std::memory_order_relaxed) != 0; }

 private:
  friend class topic_reference;
  void release(shared_topic& t);

  std::size_t cores_;
  std::shared_mutex mutex_;
  filter_tree filters_;  // guarded by mutex_
  std::atomic<std::size_t> filter_count_{0};
  std::unordered_map<std::string_view, std::unique_ptr<shared_topic>>
      topics_;  // keys are the topics' own names
};

/// One connection's interest in one topic; in the connection's list, and named by index in the topic's.
struct subscription {
  connection* who;
  local_topic* to;
  subscription* next;   // of the connection
  subscription** link;  // what points here in that list
  std::uint32_t index;  // among the topic's subscribers
  static void* operator new(std::size_t bytes) noexcept { return mi_malloc_small(bytes); }
  static void operator delete(void* at) { mi_free(at); }
};
static_assert(sizeof(subscription) == 40);

struct local_topic {
  explicit local_topic(topic_reference&& s) : shared(std::move(s)) {}
  topic_reference shared;
  std::vector<subscription*, mi_stl_allocator<subscription*>> subscribers;
};

struct core_counters {
  counter connections, opened, messages_in, messages_out, published, dropped, slow_closed, failed,
      session_bytes, context_bytes;
};

/// The topics of one core, used on its thread only.
class local_topics : timer {
 public:
  local_topics(core& home, topic_registry& registry, const std::vector<std::unique_ptr<local_topics>>& all);

  bool subscribe(connection& who, std::string_view name);
  bool unsubscribe(connection& who, std::string_view name);
  /// Ends all subscriptions of a connection.
  void leave(connection& who);

  /// Hands the message to every subscriber of every core but `except`. Returns how many here took it.
  std::size_t publish(publication&& p, const connection* except);
  /// The same with a copy of the bytes. 0, counted as dropped, when the slab has no room for it.
  std::size_t publish_copy(std::string_view topic, std::span<const std::byte> bytes, bool is_text,
                           const connection* except);

  core_counters counters;
  deflate_shelf shelf;      // looked after by the timer
  deflate_options deflate;  // of the last route that has it enabled

 private:
  [[nodiscard]] std::size_t subscribers_here(std::span<const topic_reference> topics) const;
  void tell_others(std::span<const topic_reference> topics, publication& p);
  void tell(std::size_t other, std::span<const topic_reference> topics, publication& p);
  std::size_t fan_out(std::span<const topic_reference> topics, publication& p, const connection* except);
  template <class Deliver>
  void each_subscriber(local_topic& t, const Deliver& deliver);
  [[nodiscard]] static subscription* find(const connection& who, const local_topic& in);
  void remove(subscription* s);
  void expire() override;

  core& home_;
  topic_registry& registry_;
  const std::vector<std::unique_ptr<local_topics>>& all_;
  std::unordered_map<std::string_view, std::unique_ptr<local_topic>>
      topics_;  // keys are the topics' own names
};

}  // namespace catenet::ws
