// How a flusher finds what its writers committed and makes a chain of it.
#include <catenet/bus/flusher.hpp>
#include <catenet/slab/sanitizer.hpp>

#include <mimalloc.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace catenet::bus {

namespace detail {

#ifdef CATENET_TSAN
// Memory that the reader gives back and the writer gets again: the sanitizer knows that malloc puts the one
// before the other, and nothing of mimalloc.
void* log_memory::allocate(std::size_t bytes) { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); }
void log_memory::release(void* at) { std::free(at); }
#else
void* log_memory::allocate(std::size_t bytes) { return mi_malloc_aligned(bytes, 64); }
void log_memory::release(void* at) { mi_free(at); }
#endif

// What nobody took is dropped; the holds that the writer passed on end with it.
writer_log::~writer_log() {
  const std::uint64_t all = entries.reach();
  for (log::piece p; entries.peek(p, all); entries.pop(p))
    if (p.left) p.in->drop();
}

void flusher_state::mark(writer_log& which, bool now) {
  if (ended.load(std::memory_order_relaxed)) return;
  if (now) hurry.store(true, std::memory_order_relaxed);
  const bool fresh = dirty.mark(which);
  if (fresh && policy.after.count() != 0) note_first();
  if (fresh || now) wake_up();
}

// The time runs from here, not from when the flusher's thread is up. What a flush under way takes along may
// leave its time behind: then the next flush comes early.
void flusher_state::note_first() {
  std::int64_t none = 0;
  const std::chrono::nanoseconds now = alarm::clock::now().time_since_epoch();
  first_ns.compare_exchange_strong(none, now.count(), std::memory_order_relaxed);
}

void flusher_state::forget_dirty() {
  dirty.take_all([](const std::shared_ptr<writer_log>&) {});
}

}  // namespace detail

using detail::space;
using detail::writer_log;

flusher::flusher(flush_policy policy) : state_(std::make_shared<detail::flusher_state>(policy)) {}

flusher::flusher(station& at, flush_policy policy, sink deliver_to) : flusher(policy) {
  sink_ = std::move(deliver_to);
  state_->wake = at.make_bell();
  state_->wake->answer = [this] { on_bell(); };
  timer_ = std::make_unique<alarm>(at, [this] { deliver(); });
}

flusher::~flusher() {
  state_->ended.store(true, std::memory_order_relaxed);
  if (state_->wake) state_->wake->answer = {};
  run_.in = nullptr;
  let_go_of_views();
  state_->forget_dirty();
  busy_.clear();
  const std::lock_guard lock(state_->mutex);
  state_->writers.clear();
}

void flusher::request() {
  state_->demand.store(true, std::memory_order_release);
  state_->wake_up();
}

void flusher::on_bell() {
  const bool now = state_->hurry.exchange(false, std::memory_order_relaxed) ||
                   state_->demand.load(std::memory_order_relaxed);
  if (now || policy().after.count() == 0) return deliver();
  if (timer_->armed()) return;
  const std::chrono::nanoseconds first{state_->first_ns.load(std::memory_order_relaxed)};
  const auto begun = first.count() == 0 ? alarm::clock::now() : alarm::clock::time_point{first};
  timer_->set(begun + policy().after);
}

void flusher::deliver() {
  timer_->stop();
  state_->first_ns.store(0, std::memory_order_relaxed);
  if (chain all = take(); !all.empty()) sink_(std::move(all));
}

chain flusher::take() {
  collect();
  if (!drain()) return {};
  let_go_of_views();
  if (!ended_.empty()) forget_ended();
  return std::move(out_);
}

// The last hold on a space may end with its view, and the space with it: so the view is moved out first.
void flusher::let_go_of_views() {
  for (space* s : seen_) const chain view = std::move(s->seen);
  seen_.clear();
}

// Finds the logs that have something: the dirty list in one exchange, and on demand everybody.
void flusher::collect() {
  state_->dirty.take_all([this](std::shared_ptr<writer_log> log) { add(std::move(log)); });
  if (!state_->demand.load(std::memory_order_relaxed) ||
      !state_->demand.exchange(false, std::memory_order_acquire))
    return;
  const std::lock_guard lock(state_->mutex);
  for (const auto& log : state_->writers) add(log);
}

void flusher::add(std::shared_ptr<writer_log> log) {
  const bool closed = log->closed.load(std::memory_order_acquire);
  log->reach = log->entries.reach();
  if (closed) ended_.push_back(log.get());
  if (!std::exchange(log->busy, true)) busy_.push_back(std::move(log));
}

// Writes out all that is in reach. False when memory ran out; the next call goes on from there.
bool flusher::drain() {
  for (;;) {
    if (midway_ == nullptr) {
      if (!refresh()) return false;
      midway_ = choose();
      if (midway_ == nullptr) return close_run();
    }
    if (!emit_message(*midway_)) return false;
    midway_ = nullptr;
  }
}

// Sees to it that every busy log shows its next piece, and that those which have none are busy no more.
bool flusher::refresh() {
  for (std::size_t i = 0; i != busy_.size();) {
    writer_log& log = *busy_[i];
    if (log.next.in == nullptr && !find_next(log)) return false;
    if (log.next.in != nullptr) {
      ++i;
      continue;
    }
    log.busy = false;
    busy_.erase(busy_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return true;
}

// The log to go on with: the one whose next message follows on the run under way, so that neighbours in a
// block become one segment; else the first.
writer_log* flusher::choose() {
  for (const auto& log : busy_)
    if (log->next.in == run_.in && log->next.start == run_.end) return log.get();
  return busy_.empty() ? nullptr : busy_.front().get();
}

// Shows the log's next piece in `next`, or null there. Spaces that the writer has left are let go on the way,
// for which the run under way has to be told first: false when that found no memory.
bool flusher::find_next(writer_log& log) {
  while (log.entries.peek(log.next, log.reach)) {
    if (!log.next.left) return true;
    if (log.next.in == run_.in && !close_run()) break;
    log.entries.pop(log.next);
    log.next.in->drop();
  }
  const bool out_of_memory = log.next.in != nullptr && log.next.left && log.next.in == run_.in;
  log.next.in = nullptr;
  return !out_of_memory;
}

// Adds one message, with all its pieces, to the run. When memory runs out (false) it is called again for the
// rest.
bool flusher::emit_message(writer_log& from) {
  for (;;) {
    detail::log::piece& p = from.next;
    if (p.in != run_.in || p.start != run_.end) {
      if (!close_run()) return false;
      run_ = {p.in, p.start, p.start};
    }
    run_.end = p.end;
    const bool more = p.more;
    from.entries.pop(p);
    p.in = nullptr;
    if (!more) return true;
    from.entries.peek(p, from.reach);  // is there: a message is published whole
  }
}

// Makes a segment of the run under way. False when memory ran out.
bool flusher::close_run() {
  if (run_.in == nullptr) return true;
  space& in = *run_.in;
  const std::uint32_t length = run_.end - run_.start;
  if (in.at_home()) {
    ++in.home_block->refs;
    segment* s = pool::current()->segment_for(in.home_block);
    if (s == nullptr) {
      --in.home_block->refs;
      return false;
    }
    s->data = in.data + run_.start;
    s->length = length;
    out_.append_segment(s);
  } else {
    if (in.seen.empty()) {
      in.seen = in.map();
      if (in.seen.empty()) return false;
      seen_.push_back(&in);
    }
    auto part = in.seen.share(run_.start, length);
    if (!part) return false;
    out_.append(std::move(*part));
  }
  run_.in = nullptr;
  return true;
}

// Writers that have ended, and of whose messages the last has been told.
void flusher::forget_ended() {
  const std::lock_guard lock(state_->mutex);
  std::erase_if(state_->writers, [this](const auto& log) {
    return std::find(ended_.begin(), ended_.end(), log.get()) != ended_.end();
  });
  ended_.clear();
}

}  // namespace catenet::bus
