// See outbox.hpp.
#include "ws/outbox.hpp"

#include <algorithm>
#include <utility>

namespace catenet::ws {

void outbox::add(chain&& frame) {
  bytes_ += frame.bytes();
  entries_.push_back({std::move(frame), {}, false});
}

void outbox::add_published(chain&& frame, std::string_view topic, bool conflate) {
  bytes_ += frame.bytes();
  published_bytes_ += frame.bytes();
  entries_.push_back({std::move(frame), std::string{conflate ? topic : std::string_view{}}, true});
  if (conflate) latest_.emplace(entries_.back().topic, std::prev(entries_.end()));
}

bool outbox::replace(chain& frame, std::string_view topic) {
  const auto found = latest_.find(topic);
  if (found == latest_.end()) return false;
  chain& old = found->second->frame;
  bytes_ += frame.bytes() - old.bytes();
  published_bytes_ += frame.bytes() - old.bytes();
  old = std::move(frame);
  return true;
}

bool outbox::drop_oldest() {
  const auto oldest = std::ranges::find_if(entries_, [](const entry& e) { return e.published; });
  if (oldest == entries_.end()) return false;
  forget(oldest);
  return true;
}

chain outbox::take_next() {
  chain next = std::move(entries_.front().frame);
  bytes_ -= next.bytes();
  if (entries_.front().published) published_bytes_ -= next.bytes();
  forget(entries_.begin());
  return next;
}

// Keys of latest_ lie in the entries, so they go first.
void outbox::forget(place at) {
  bytes_ -= at->frame.bytes();
  if (at->published) published_bytes_ -= at->frame.bytes();
  if (const auto named = latest_.find(at->topic); named != latest_.end() && named->second == at)
    latest_.erase(named);
  entries_.erase(at);
}

void outbox::clear() {
  latest_.clear();
  entries_.clear();
  bytes_ = published_bytes_ = 0;
}

}  // namespace catenet::ws
