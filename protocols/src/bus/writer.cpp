// Writers: handing out room, across blocks too, and committing.
#include <catenet/bus/writer.hpp>

#include "bus/control.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

namespace catenet::bus {

using detail::grip;
using detail::slot_piece;
using detail::space;

namespace {

constexpr std::chrono::milliseconds retry_every{
    1};  // how soon who waits sees blocks that came home elsewhere

flush_policy filled(flush_policy p) {
  if (p.bytes == 0) p.bytes = ~std::uint64_t{0};
  if (p.count == 0) p.count = ~std::uint32_t{0};
  return p;
}

}  // namespace

// ---- beginning and end

shared_blocks::~shared_blocks() { current_.let_go(); }

writer::writer(flusher& to, writer_options options)
    : to_(to.state()),
      log_(std::make_shared<detail::writer_log>()),
      stock_(std::make_shared<detail::space_stock>()),
      options_(options),
      policy_(filled(to.policy())),
      station_(station::current()) {
  if (options_.format != nullptr) {
    std::array<std::byte, frame::header_bytes_limit> scratch;
    varying_header_ = options_.format->write(0, scratch.data()) != options_.format->header_bytes_max;
    fixed_header_ = varying_header_ ? 0 : options_.format->header_bytes_max;
  }
  const std::lock_guard lock(to_->mutex);
  to_->writers.push_back(log_);
}

writer::writer(flusher& to, shared_blocks& in, writer_options options) : writer(to, options) {
  shared_ = &in;
  stock_ = in.stock_;
}

writer::~writer() {
  leave();
  assert(owed_ == 0 && "a writer ends after its slots");
  log_->closed.store(true, std::memory_order_release);
  to_->mark(*log_, true);
}

// ---- spaces

// Takes over a hold on a space. False, and the hold is the caller's still, when memory ran out.
bool writer::hold_on(space* to) {
  auto* g = detail::make_control<grip>();
  if (g == nullptr) return false;
  leave();
  g->in = to;
  g->home = to->at_home();
  grip_ = g;
  cursor_ = 0;
  ++owed_;
  return true;
}

void writer::leave() {
  grip* g = std::exchange(grip_, nullptr);
  if (g == nullptr) return;
  g->left = true;
  if (g->open == 0) finish_leaving(g);
}

// Passes the hold on to the flusher, behind everything that was committed in the space.
void writer::finish_leaving(grip* g) {
  --owed_;
  log_->entries.append({g->in, 0, 0, false, true});
  log_->entries.publish();
  if (g->mapped != nullptr) detail::drop_anchor(g->mapped);
  detail::end_control(g);
}

// Goes on to the next space, now that ours is full.
bool writer::go_on() {
  if (shared_ != nullptr) return go_on_shared();
  if (spare_.empty()) return false;
  space* fresh = stock_->open(std::move(spare_.back()), 1);
  if (fresh == nullptr) return false;
  spare_.pop_back();
  if (hold_on(fresh)) return true;
  fresh->drop();
  return false;
}

bool writer::go_on_shared() {
  const auto give_up = [](space* s) {
    s->drop();
    return false;
  };
  space* next = shared_->current_.go_on(grip_ == nullptr ? nullptr : grip_->in, [this](std::uint32_t holds) {
    lease block = lease::of(options_.block_bytes);
    if (!spare_.empty()) {
      block = std::move(spare_.back());
      spare_.pop_back();
    }
    return block ? stock_->open(std::move(block), holds) : nullptr;
  });
  return next != nullptr && (hold_on(next) || give_up(next));
}

// ---- reserving

bool writer::impossible(std::uint64_t bytes) const {
  return bytes > options_.message_bytes_max || to_->ended.load(std::memory_order_relaxed) ||
         (options_.format != nullptr && bytes > options_.format->payload_bytes_max);
}

std::uint32_t writer::header_bytes(std::uint64_t message_bytes) const {
  if (!varying_header_) [[likely]]
    return fixed_header_;
  std::array<std::byte, frame::header_bytes_limit> scratch;
  return options_.format->write(message_bytes, scratch.data());
}

std::uint64_t writer::room_here() const {
  if (grip_ == nullptr) return 0;
  const std::uint64_t used = shared_ == nullptr ? cursor_ : grip_->in->word.handed_out();
  return grip_->in->capacity - std::min<std::uint64_t>(used, grip_->in->capacity);
}

// Up to `most` bytes of the space that is being filled; none when it is full.
slot_piece writer::claim(std::uint64_t most) {
  const std::uint64_t capacity = grip_->in->capacity;
  const std::uint64_t start = shared_ == nullptr ? cursor_ : grip_->in->word.take(most);
  if (start >= capacity) return {};
  const auto length = static_cast<std::uint32_t>(std::min(most, capacity - start));
  if (shared_ == nullptr) cursor_ += length;
  return {grip_, static_cast<std::uint32_t>(start), length};
}

void writer::open_piece(const slot_piece& p) {
  ++p.at->open;
  ++owed_;
}

void writer::close_piece(const slot_piece& p) {
  --owed_;
  if (--p.at->open == 0 && p.at->left) finish_leaving(p.at);
}

bool writer::make(std::uint64_t bytes, slot& into) {
  if (impossible(bytes)) [[unlikely]]
    return false;
  into.header_ = header_bytes(bytes);
  into.size_ = bytes;
  const std::uint64_t whole = into.header_ + bytes;
  if (whole == 0) {  // an empty message without a header: there is nothing to write
    into.of_ = this;
    return true;
  }
  if (grip_ != nullptr && log_->entries.room() > owed_ && room_here() >= whole) [[likely]] {
    into.first_ = claim(whole);
    if (into.first_.length == whole) [[likely]] {
      open_piece(into.first_);
      into.of_ = this;
      return true;
    }
    // Others of the shared space were faster; what we got of it is where the message begins.
  } else {
    into.first_ = {};
  }
  if (into.first_.length != 0) open_piece(into.first_);
  if (!make_across(whole - into.first_.length, into)) return false;
  into.of_ = this;
  return true;
}

// Blocks for so many bytes more, all or none of them: who waits with some in hand could wait for one who does
// the same.
bool writer::gather_blocks(std::uint64_t bytes) {
  const size_class_table& classes = pool::current()->classes();
  const std::uint64_t largest = classes.size(classes.count() - 1);
  std::uint64_t have = 0;
  for (const lease& l : spare_) have += l.bytes().size();
  while (have < bytes) {
    lease l = lease::of(std::max<std::uint64_t>(options_.block_bytes, std::min(bytes - have, largest)));
    if (!l) {
      spare_.clear();
      return false;
    }
    have += l.bytes().size();
    spare_.push_back(std::move(l));
  }
  return true;
}

// Gathers the (rest of the) message's room from this space and the following ones.
bool writer::make_across(std::uint64_t left, slot& into) {
  const std::uint64_t here = room_here();
  bool fits = here >= left || gather_blocks(left - here);
  constexpr std::size_t entries_a_space = 2;  // a range, and leaving
  fits = fits && log_->entries.make_room(owed_ + entries_a_space * (spare_.size() + 2));
  std::size_t pieces = into.first_.length != 0 ? 1 : 0;
  while (fits && left != 0) {
    const slot_piece p = grip_ == nullptr ? slot_piece{} : claim(left);
    if (p.length == 0) {
      fits = go_on() && log_->entries.make_room(owed_ + entries_a_space);
      continue;
    }
    open_piece(p);
    left -= p.length;
    if (pieces++ == 0) {
      into.first_ = p;
    } else {
      if (into.rest_ == nullptr) into.rest_ = std::make_unique<slot::pieces>();
      into.rest_->push_back(p);
    }
  }
  spare_.clear();
  if (fits) return true;
  // What was claimed becomes a hole: only a shared space that filled up meanwhile, or memory, can bring us
  // here.
  if (pieces != 0) close_piece(into.first_);
  if (into.rest_ != nullptr)
    for (const slot_piece& p : *into.rest_) close_piece(p);
  into.rest_.reset();
  return false;
}

// ---- waiting

bool pending_slot::await_ready() {
  return of_.impossible(bytes_) || (of_.waiting_.empty() && of_.make(bytes_, got_));
}

void pending_slot::await_suspend(std::coroutine_handle<> who) {
  who_ = who;
  const bool first = of_.waiting_.empty();
  of_.waiting_.push_back(*this);
  if (!first) return;
  if (of_.retry_ == nullptr) {
    assert(of_.station_ != nullptr && "who waits has a station to be resumed by");
    of_.retry_ = std::make_unique<alarm>(*of_.station_, [w = &of_] { w->serve(); });
  }
  of_.ask_for_block();
}

// What the pool is asked for, for the first who waits: one block for all of the message, or the largest, of
// which it needs several then.
writer::need writer::needed() const {
  const size_class_table& classes = pool::current()->classes();
  const std::uint64_t largest = classes.size(classes.count() - 1);
  const std::uint64_t bytes = waiting_.front().bytes_;
  const std::uint64_t whole = header_bytes(bytes) + bytes;
  return {classes.fitting(std::max<std::uint64_t>(options_.block_bytes, std::min(whole, largest))),
          whole > largest};
}

// Asks the pool for the first block, or keeps the place in its queue.
void writer::ask_for_block() {
  const size_class wanted = needed().cls;
  auto soon = retry_every;
  if (!request_ || !request_->waiting() || request_->cls() != wanted) {
    request_.reset();
    request_.emplace(wanted, *this);
    if (block* b = pool::current()->rent_or_wait(*request_)) {
      spare_.emplace_back(b);  // it came free this moment: served from the station's turn, as the others are
      soon = {};
    }
  }
  retry_->set(alarm::clock::now() + soon);
}

// Where one block is not enough the others are looked for in the next turn: while this one is dealt out the
// class counts as wanted, and the depot lends nothing of it.
void writer::block_came(waiter& asked, lease block) {
  writer& self = static_cast<request&>(asked).by;
  self.spare_.push_back(std::move(block));
  self.station_->note_work();
  if (self.needed().several)
    self.retry_->set(alarm::clock::now());
  else
    self.serve();
}

// Who has a block in hand, and finds no others, lays it where all can see it and is out of the way for a
// while: of many who need several at once, one finds enough.
void writer::back_off() {
  pool::current()->spill_all();
  retry_->set(alarm::clock::now() + retry_every);
}

// Serves who waits, in order, as far as the blocks go. Whoever is resumed may withdraw others, and wait
// again.
void writer::serve() {
  while (!waiting_.empty()) {
    pending_slot& first = waiting_.front();
    const bool in_hand = !spare_.empty();
    if (!impossible(first.bytes_) && !make(first.bytes_, first.got_))
      return in_hand ? back_off() : ask_for_block();
    waiting_.pop_front();
    first.who_.resume();
  }
  spare_.clear();
  request_.reset();
  retry_->stop();
}

// ---- telling the flusher

void writer::flush() {
  count_ = 0;
  bytes_ = 0;
  to_->mark(*log_, true);
}

void writer::at_turn_end() {
  if (count_ != 0) flush();
}

void writer::committed(std::uint64_t bytes) {
  ++count_;
  bytes_ += bytes;
  if (count_ >= policy_.count || bytes_ >= policy_.bytes) [[unlikely]]
    return flush();
  if (policy_.after.count() != 0 && to_->dirty.is_missed(*log_)) to_->mark(*log_, false);
  if (policy_.end_of_turn && station_ != nullptr) station_->run_at_turn_end(*this);
}

// ---- slots

std::span<std::byte> slot::bytes() const {
  if (first_.at == nullptr) return {};
  const std::uint64_t here = first_.length > header_ ? first_.length - header_ : 0;
  return {first_.at->in->data + first_.start + std::min(header_, first_.length), std::min(here, size_)};
}

void slot::put(std::uint64_t offset, std::span<const std::byte> from) {
  assert(offset + from.size() <= size_);
  of_->scatter(*this, header_ + offset, from);
}

void slot::cancel() {
  if (writer* w = std::exchange(of_, nullptr)) w->withdraw(*this);
}

void slot::commit(std::uint64_t length) {
  assert(of_ != nullptr && length <= size_);
  std::exchange(of_, nullptr)->publish(*this, length);
}

std::optional<packet> slot::commit_as_packet(std::uint64_t length) {
  assert(of_ != nullptr && length <= size_);
  auto made = of_->packet_of(*this, length);
  commit(length);
  return made;
}

// Calls f(piece, from, to) for what the bytes [begin, end) of the room, header included, are of each piece.
template <class F>
void writer::for_parts(const slot& of, std::uint64_t begin, std::uint64_t end, F&& f) {
  std::uint64_t at = 0;
  const auto visit = [&](const slot_piece& p) {
    const std::uint64_t from = std::max(begin, at);
    const std::uint64_t to = std::min(end, at + p.length);
    if (from < to)
      f(p, p.start + static_cast<std::uint32_t>(from - at), p.start + static_cast<std::uint32_t>(to - at));
    at += p.length;
  };
  if (of.first_.at == nullptr) return;
  visit(of.first_);
  if (of.rest_ != nullptr)
    for (const slot_piece& p : *of.rest_) visit(p);
}

void writer::scatter(const slot& into, std::uint64_t offset, std::span<const std::byte> from) {
  for_parts(into, offset, offset + from.size(),
            [&](const slot_piece& p, std::uint32_t begin, std::uint32_t end) {
              std::memcpy(p.at->in->data + begin, from.data(), end - begin);
              from = from.subspan(end - begin);
            });
}

// Takes back what a slot did not use at its end, where nothing was handed out behind it.
void writer::give_back(const slot_piece& p, std::uint32_t used) {
  if (shared_ == nullptr && p.at == grip_ && p.start + p.length == cursor_) cursor_ = p.start + used;
}

void writer::withdraw(slot& s) {
  if (s.first_.at == nullptr) return;
  if (s.rest_ != nullptr) {
    give_back(s.rest_->back(), 0);
    for (const slot_piece& p : *s.rest_) close_piece(p);
    s.rest_.reset();
  } else {
    give_back(s.first_, 0);
  }
  close_piece(s.first_);
}

void writer::publish(slot& s, std::uint64_t length) {
  if (s.first_.at == nullptr) return;
  std::array<std::byte, frame::header_bytes_limit> header;
  std::uint32_t header_length = 0;
  if (options_.format != nullptr) {
    header_length = options_.format->write(length, header.data());
    scatter(s, s.header_ - header_length, std::span{header}.first(header_length));
  }
  const std::uint64_t begin = s.header_ - header_length;
  const std::uint64_t end = s.header_ + length;
  detail::log& log = log_->entries;
  if (s.rest_ == nullptr) [[likely]] {
    if (begin != end) {
      log.commit(s.first_.at->in, s.first_.start + static_cast<std::uint32_t>(begin),
                 s.first_.start + static_cast<std::uint32_t>(end));
    }
    give_back(s.first_, static_cast<std::uint32_t>(end));
  } else {
    detail::log::piece last;
    for_parts(s, begin, end, [&](const slot_piece& p, std::uint32_t from, std::uint32_t to) {
      if (last.in != nullptr) {
        last.more = true;
        log.append(last);
      }
      last = {p.at->in, from, to, false, false};
    });
    if (last.in != nullptr) log.append(last);
    log.publish();
    for (const slot_piece& p : *s.rest_) close_piece(p);
    s.rest_.reset();
  }
  close_piece(s.first_);
  if (begin != end) committed(end - begin);
}

// ---- packets of what was written

std::optional<packet> writer::packet_of(const slot& s, std::uint64_t length) {
  if (length == 0) return packet{};
  std::vector<packet> parts;
  bool enough = true;
  std::optional<packet> only;
  for_parts(s, s.header_, s.header_ + length, [&](const slot_piece& p, std::uint32_t from, std::uint32_t to) {
    auto part = packet_of(*p.at, from, to - from);
    enough = enough && part;
    if (s.rest_ == nullptr)
      only = std::move(part);
    else if (part)
      parts.push_back(std::move(*part));
  });
  if (!enough) return std::nullopt;
  return only ? std::move(only) : packet::join(parts);
}

std::optional<packet> writer::packet_of(grip& g, std::uint32_t start, std::uint32_t length) {
  if (g.home) {
    ++g.in->home_block->refs;
    return packet::adopt(g.in->home_block, g.in->data + start, length);
  }
  if (g.mapped == nullptr) {
    chain all = g.in->map();
    if (all.empty()) return std::nullopt;
    g.mapped = detail::make_anchor(std::move(all));
    if (g.mapped == nullptr) return std::nullopt;
  }
  ++g.mapped->refs;
  return packet::adopt(g.mapped, g.in->data + start, length);
}

}  // namespace catenet::bus
