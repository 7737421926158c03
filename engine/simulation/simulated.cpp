// How far an operation comes in a turn.
#include "simulated.hpp"

#include <catenet/slab/pool.hpp>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string_view>

namespace catenet {

namespace {
constexpr std::uint32_t no_link = ~0u;
constexpr std::size_t small_block_bytes = 4_KiB;
constexpr std::size_t wide_block_bytes = 64_KiB;
constexpr std::size_t large_block_bytes = 256_KiB;
constexpr std::int64_t unix_base = 1'800'000'000;
constexpr unsigned pieces_per_turn = 8;  // of one receive

bool none(token t) { return t.value == 0; }

// Whether the block that a send reads has gone home, or to another.
bool gone(const sent_piece& p) {
  return p.of != nullptr && (p.of->generation != p.generation || p.of->in_flight == 0 || p.of->refs == 0);
}

// Over what a send reads; a change of a byte shows.
std::uint64_t checksum(const std::vector<sent_piece>& pieces) {
  std::uint64_t sum = 0;
  for (const sent_piece& p : pieces)
    sum = sum * 31 + std::hash<std::string_view>{}({reinterpret_cast<const char*>(p.data), p.length});
  return sum;
}
}  // namespace

simulated::simulated(simulated_network& network, backend_context context)
    : net_(network), counters_(context.counters), core_(context.core) {}

simulated::~simulated() {
  for (const completion& c : done_)
    if (c.data != nullptr) lease{c.data}.reset();
  for (link& l : net_.links) {
    if (l.at != this) continue;
    net_.violated("a core ended with a connection that was not closed");
    l.at = nullptr;
    if (l.large == nullptr) continue;
    pool::current()->unlend(l.large);
    lease{std::exchange(l.large, nullptr)}.reset();
  }
}

error simulated::start() {
  small_ = pool::current()->classes().fitting(small_block_bytes);
  wide_ = pool::current()->classes().fitting(wide_block_bytes);
  large_ = pool::current()->classes().fitting(large_block_bytes);
  return {};
}

void simulated::tell(token t, std::int32_t result, bool more, block* data) {
  done_.push_back({t, result, more, data});
}

void simulated::look_at(link& l) {
  if (!std::exchange(l.queued, true)) queue_.push_back(net_.index_of(l));
  net_.arrange(core_, 0);
}

void simulated::look_at_listeners() {
  listeners_queued_ = true;
  net_.arrange(core_, 0);
}

// ---- asking

// The connection behind a descriptor; that the token is this connection's is checked.
link* simulated::use(int fd, token t) {
  counters_.submissions.add(1);
  link* l = net_.link_of(fd);
  if (l == nullptr) return nullptr;
  if (l->generation == 0) {
    l->slot = t.slot();
    l->generation = t.generation();
    if (by_slot_.size() <= l->slot) by_slot_.resize(l->slot + 1u, no_link);
    if (by_slot_[l->slot] != no_link) net_.violated("two open connections have the same slot");
    by_slot_[l->slot] = net_.index_of(*l);
  }
  if (l->at == this && l->slot == t.slot() && l->generation == t.generation()) return l;
  net_.violated("an operation names the descriptor of another connection");
  return nullptr;
}

link* simulated::begin_reading(int fd, token t) {
  link* l = use(fd, t);
  if (l == nullptr) return nullptr;
  if (!none(l->reader)) net_.violated("a receive begins while another is under way");
  l->reader = t;
  ++l->reads;
  l->cancel_reader = false;
  look_at(*l);
  return l;
}

int simulated::open_socket(const endpoint& to, bool) {
  if (net_.open_count >= net_.options.descriptors_max) return -EMFILE;
  link& l = net_.links[net_.open_link(to)];
  l.at = this;
  return l.fd;
}

void simulated::connect(int fd, token t, const endpoint&) {
  if (const link* l = begin_writing(fd, t)) net_.schedule(event_kind::call, l->index, net_.latency());
}

void simulated::receive(int fd, token t) {
  if (link* l = begin_reading(fd, t)) l->once = false;
}

void simulated::receive_once(int fd, token t) {
  if (link* l = begin_reading(fd, t)) l->once = true;
}

void simulated::receive_wide(int fd, token t) { receive_once(fd, t); }

void simulated::poll_readable(int fd, token t) { begin_reading(fd, t); }

void simulated::receive_large(int fd, token t, std::uint64_t bytes_max) {
  if (bytes_max == 0) net_.violated("a large receive of nothing");
  if (link* l = begin_reading(fd, t)) l->large_max = std::min<std::uint64_t>(bytes_max, large_block_bytes);
}

link* simulated::begin_writing(int fd, token t) {
  link* l = use(fd, t);
  if (l == nullptr) return nullptr;
  if (!none(l->writer)) net_.violated("a send begins while another is under way");
  if (l->out.fin) net_.violated("a send begins after FIN was said");
  l->writer = t;
  l->cancel_writer = false;
  look_at(*l);
  return l;
}

void simulated::poll_writable(int fd, token t) { begin_writing(fd, t); }

void simulated::send(int fd, token t, const chain& bytes, bool) {
  link* l = begin_writing(fd, t);
  if (l == nullptr) return;
  l->pieces.clear();
  l->piece = l->offset = 0;
  l->sent = 0;
  for (const segment* s = bytes.head(); s != nullptr && s->kind != segment_kind::file; s = s->next) {
    const bool own = s->kind == segment_kind::block && s->home == pool::current()->id();
    l->pieces.push_back(
        {s->data, s->length, own ? s->blk : nullptr, own ? s->blk->generation : std::uint16_t{0}});
  }
  if (l->pieces.empty()) net_.violated("a send of nothing");
}

bool simulated::send_zero_copy(int fd, token t, std::uint32_t id, const chain& bytes, bool more_follows) {
  if (net_.options.zero_copy_late_us_max == 0) return false;
  send(fd, t, bytes, more_follows);
  link* l = net_.link_of(fd);
  if (l == nullptr || l->writer.value != t.value) return true;
  l->zero_copy = true;
  l->zero_copy_id = id;
  return true;
}

void simulated::cancel(token t) {
  counters_.submissions.add(1);
  const bool of_accept = t.what() == operation::accept;
  const bool known = !of_accept && t.slot() < by_slot_.size() && by_slot_[t.slot()] != no_link;
  link* const l = known ? &net_.links[by_slot_[t.slot()]] : nullptr;
  const bool of_reader = l != nullptr && l->reader.value == t.value;
  if (of_reader) ++l->cancels;
  // What is just being worked on is not found; nor is, and that need not be told, what has ended.
  if (net_.random.chance(net_.options.cancel_misses)) {
    if (of_reader) l->missed_read = l->reads;
    tell(token{operation::cancel, t.slot(), of_accept ? 0 : t.generation()}, -ENOENT);
    return net_.arrange(core_, 0);
  }
  if (of_accept) {
    for (simulated_listener& s : net_.listeners)
      if (s.at == this && s.accept.value == t.value) s.cancelled = true;
    return look_at_listeners();
  }
  if (l == nullptr) return;
  if (of_reader) l->cancel_reader = true;
  if (l->writer.value == t.value) l->cancel_writer = true;
  look_at(*l);
}

void simulated::note_misses(std::span<const completion> told) {
  for (const completion& c : told) {
    const std::uint32_t slot = c.about.slot();
    if (c.about.what() != operation::cancel || c.about.generation() == 0) continue;
    if (slot >= by_slot_.size() || by_slot_[slot] == no_link) continue;
    const link& l = net_.links[by_slot_[slot]];
    if (l.generation == c.about.generation()) misses_.push_back({l.index, l.missed_read, l.cancels});
  }
}

void simulated::check_misses() {
  for (const told_miss& m : misses_) {
    const link& l = net_.links[m.link];
    if (!none(l.reader) && l.reads == m.read && l.cancels == m.cancels)
      net_.violated("a cancel that missed was not asked again");
  }
  misses_.clear();
}

void simulated::close(int fd, token t) {
  link* l = use(fd, t);
  if (l == nullptr) return;
  if (!none(l->reader) || !none(l->writer))
    net_.violated("a descriptor is closed with an operation under way");
  by_slot_[l->slot] = no_link;
  net_.close_server(*l);
  tell(t, 0);
  net_.arrange(core_, 0);
}

void simulated::shut_down(int fd, bool both) {
  link* l = net_.link_of(fd);
  if (l == nullptr) return;
  if (!l->out.fin) {
    l->out.fin = true;
    if (!l->reset_arrived) net_.move_out(*l);
  }
  if (both) l->reading_ended = true;
  look_at(*l);
}

void simulated::reset(int fd) {
  link* l = net_.link_of(fd);
  if (l == nullptr || std::exchange(l->reset_arrived, true)) return;
  net_.schedule(event_kind::reset_peer, net_.index_of(*l), net_.latency());
  look_at(*l);
}

std::uint64_t simulated::progress_mark(int fd) {
  const link* l = net_.link_of(fd);
  return l == nullptr ? 0 : l->acknowledged;
}

// What a socket takes at once of what is wanted: 0 when the connection has no room.
std::size_t simulated::room_now(link& l, std::size_t wanted) {
  if (!none(l.writer) && l.writer.what() != operation::writable)
    net_.violated("bytes are sent at once while a send is under way");
  const std::size_t n = std::min(wanted, room(l));
  return n > 1 && net_.random.chance(net_.options.split_send) ? net_.random.between(1, n) : n;
}

std::int64_t simulated::send_file(int fd, int file, std::uint64_t offset, std::size_t length) {
  link* l = net_.link_of(fd);
  if (l == nullptr) return -EBADF;
  if (l->reset_arrived || l->out.fin) return -EPIPE;
  const std::size_t n = room_now(*l, length);
  if (n == 0) return -EAGAIN;
  const std::size_t before = l->out.bytes.size();
  l->out.bytes.resize(before + n);
  const ssize_t got = pread(file, l->out.bytes.data() + before, n, static_cast<off_t>(offset));
  l->out.bytes.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  net_.move_out(*l);
  return got < 0 ? -errno : got;
}

std::int64_t simulated::send_now(int fd, const chain& bytes, std::uint64_t bytes_max, bool) {
  link* l = net_.link_of(fd);
  if (l == nullptr) return -EBADF;
  if (l->reset_arrived || l->out.fin) return -EPIPE;
  std::size_t left = room_now(*l, bytes_max);
  if (left == 0) return -EAGAIN;
  const auto sent = static_cast<std::int64_t>(left);
  for (const segment* s = bytes.head(); left != 0; s = s->next) {
    const std::size_t part = std::min<std::size_t>(left, s->length);
    l->out.bytes.append(reinterpret_cast<const char*>(s->data), part);
    left -= part;
  }
  net_.move_out(*l);
  return sent;
}

// Files are real, and as good as in memory: only the moment is drawn.
bool simulated::read_ahead(token t, int, std::uint64_t, std::size_t length) {
  tell(t, static_cast<std::int32_t>(length));
  net_.arrange(core_, net_.latency());
  return true;
}

std::int32_t simulated::peek(int fd) {
  const link* l = net_.link_of(fd);
  if (l == nullptr) return -EBADF;
  if (l->in.readable() != 0) return 1;
  if (l->reset_arrived) return -ECONNRESET;
  return l->in.fin_arrived || l->reading_ended ? 0 : -EAGAIN;
}

void simulated::close_now(int fd) {
  if (simulated_listener* s = net_.listener_of(fd)) {
    if (!none(s->accept)) net_.violated("a listener is closed with an accept under way");
    for (const std::uint32_t index : s->backlog) net_.schedule(event_kind::reset_peer, index, net_.latency());
    s->backlog.clear();
    s->at = nullptr;
    s->fd = -1;
    return net_.close_descriptor(fd);
  }
  link* l = net_.link_of(fd);
  if (l == nullptr) return;
  if (l->generation != 0) net_.violated("a descriptor with operations is closed at once");
  net_.close_server(*l);
}

endpoint simulated::address_of(int fd, bool peer) {
  const link* l = net_.link_of(fd);
  if (l == nullptr) return {};
  if (!peer) return l->to;
  endpoint made;
  const std::uint32_t index = net_.index_of(*l);
  static_cast<void>(endpoint::parse("10." + std::to_string(index >> 16 & 255) + "." +
                                        std::to_string(index >> 8 & 255) + "." + std::to_string(index & 255) +
                                        ":40000",
                                    made));
  return made;
}

clock_reading simulated::clock() {
  const std::uint64_t ms = net_.clock_base_ms + net_.now_us / 1000;
  return {ms, unix_base + static_cast<std::int64_t>(net_.now_us / 1'000'000)};
}

void simulated::wake_peer(backend& other, int) { net_.arrange(static_cast<simulated&>(other).core_, 0); }

// ---- a turn

void simulated::wait(std::vector<completion>& into, std::int64_t) {
  counters_.enters.add(1);
  check_misses();
  seeded_random& random = net_.random;
  if (random.chance(net_.options.spurious_wake)) {
    if (!queue_.empty() || listeners_queued_ || !done_.empty()) net_.arrange(core_, 0);
    return;
  }
  serving_.swap(queue_);
  for (std::size_t i = serving_.size(); i > 1; --i) std::swap(serving_[i - 1], serving_[random.below(i)]);
  for (const std::uint32_t index : serving_) {
    link& l = net_.links[index];
    l.queued = false;
    if (l.at != this) continue;
    if (random.chance(net_.options.late))
      look_at(l);
    else
      serve(l);
  }
  serving_.clear();
  if (std::exchange(listeners_queued_, false))
    for (simulated_listener& s : net_.listeners)
      if (s.at == this) serve_listener(s);

  notify();
  std::size_t told = done_.size();
  if (random.chance(net_.options.held_back)) told = random.below(told + 1);
  counters_.completions.add(told);
  note_misses(std::span(done_).first(told));
  into.insert(into.end(), done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(told));
  done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(told));
  if (!done_.empty()) net_.arrange(core_, 0);
}

void simulated::serve(link& l) {
  seeded_random& random = net_.random;
  // A cancel may come before the data or behind it.
  if (!none(l.reader) && (!l.cancel_reader || random.chance(500))) serve_reader(l);
  if (!none(l.reader) && l.cancel_reader) {
    if (l.reader.what() == operation::receive_large)
      end_large(l, -ECANCELED);
    else
      end_reader(l, -ECANCELED);
  }
  if (!none(l.writer) && (!l.cancel_writer || random.chance(500))) serve_writer(l);
  if (!none(l.writer) && l.cancel_writer)
    end_writer(l, l.sent != 0 ? static_cast<std::int32_t>(l.sent) : -ECANCELED);
}

// ---- receiving

void simulated::end_reader(link& l, std::int32_t result, block* data) {
  l.cancel_reader = false;
  tell(std::exchange(l.reader, token{}), result, false, data);
}

void simulated::serve_reader(link& l) {
  switch (l.reader.what()) {
    case operation::poll:
      if (l.in.readable() != 0 || l.in.fin_arrived || l.reset_arrived || l.reading_ended) end_reader(l, 1);
      return;
    case operation::receive_large:
      return serve_large(l);
    default:
      return serve_receive(l);
  }
}

void simulated::offer(lease block) { offered_.push_back(std::move(block)); }

block* simulated::rent(size_class c) {
  block* b = nullptr;
  if (!net_.random.chance(net_.options.no_block)) {
    if (c == small_ && !offered_.empty()) {
      b = offered_.back().release();
      offered_.pop_back();
    } else {
      b = pool::current()->rent_for(c, priority::read);  // never before a stream that waits for one
    }
  }
  if (b == nullptr) counters_.out_of_blocks.add(1);
  return b;
}

void simulated::serve_receive(link& l) {
  seeded_random& random = net_.random;
  for (unsigned i = 0; i != pieces_per_turn && l.in.readable() != 0; ++i) {
    block* b = rent(l.reader.what() == operation::receive_wide ? wide_ : small_);
    if (b == nullptr) return end_reader(l, -ENOBUFS);
    std::size_t n = std::min(l.in.readable(), b->capacity());
    if (n > 1 && random.chance(net_.options.short_receive)) n = random.between(1, n);
    std::memcpy(b->data, l.in.bytes.data() + l.in.taken, n);
    l.in.take(n);
    net_.move_in(l);
    const auto result = static_cast<std::int32_t>(n);
    if (l.once || random.chance(net_.options.receive_ends)) return end_reader(l, result, b);
    tell(l.reader, result, true, b);
  }
  if (l.in.readable() != 0) return look_at(l);
  if (l.reset_arrived) return end_reader(l, -ECONNRESET);
  if (l.in.fin_arrived || l.reading_ended) end_reader(l, 0);
}

// One block, filled over as many turns as it takes.
void simulated::serve_large(link& l) {
  const bool over = l.in.fin_arrived || l.reading_ended || l.reset_arrived;
  if (l.large == nullptr) {
    if (l.in.readable() == 0 && !over) return;
    if (l.in.readable() == 0) return end_large(l, l.reset_arrived ? -ECONNRESET : 0);
    l.large = rent(large_);
    if (l.large == nullptr) return end_large(l, -ENOBUFS);
    pool::current()->lend(l.large);
    l.large_max = std::min<std::uint64_t>(l.large_max, l.large->capacity());
  }
  const std::size_t n = std::min<std::size_t>(l.in.readable(), l.large_max - l.large_filled);
  std::memcpy(l.large->data + l.large_filled, l.in.bytes.data() + l.in.taken, n);
  l.large_filled += n;
  l.in.take(n);
  net_.move_in(l);
  if (l.large_filled == l.large_max || over || net_.random.chance(net_.options.receive_ends)) end_large(l, 0);
}

void simulated::end_large(link& l, std::int32_t result) {
  block* data = std::exchange(l.large, nullptr);
  if (data != nullptr) pool::current()->unlend(data);
  if (data != nullptr && l.large_filled == 0) lease{std::exchange(data, nullptr)}.reset();
  end_reader(l, data != nullptr ? static_cast<std::int32_t>(l.large_filled) : result, data);
  l.large_filled = 0;
}

// ---- sending

void simulated::end_writer(link& l, std::int32_t result) {
  l.cancel_writer = false;
  if (l.zero_copy) return end_zero_copy(l, result);
  l.pieces.clear();
  l.sent = 0;
  tell(std::exchange(l.writer, token{}), result);
}

// Of a send that took something there is a notification later, in no order; of another at once.
void simulated::end_zero_copy(link& l, std::int32_t result) {
  seeded_random& random = net_.random;
  l.zero_copy = false;
  l.sent = 0;
  tell(std::exchange(l.writer, token{}), result);
  if (result <= 0) {
    l.pieces.clear();
    return tell(token{operation::released, l.zero_copy_id, 0}, std::min(result, -1));
  }
  const std::uint64_t wait_us = random.between(1, net_.options.zero_copy_late_us_max);
  held_.push_back({l.zero_copy_id, net_.now_us + wait_us, checksum(l.pieces),
                   random.chance(net_.options.zero_copy_copies), std::move(l.pieces)});
  l.pieces.clear();
  net_.arrange(core_, wait_us);
}

// The notifications that are due; what they are about must have stayed as it was.
void simulated::notify() {
  const auto later = std::partition(held_.begin(), held_.end(),
                                    [this](const held_memory& h) { return h.due_us <= net_.now_us; });
  for (auto h = held_.begin(); h != later; ++h) {
    for (const sent_piece& p : h->pieces)
      if (gone(p)) return net_.violated("a block went home before the zero-copy send that read it was over");
    if (checksum(h->pieces) != h->checksum)
      return net_.violated("memory changed before the zero-copy send that read it was over");
    tell(token{operation::released, h->id, 0}, h->copied ? 1 : 0);
  }
  held_.erase(held_.begin(), later);
  if (held_.empty()) return;
  const auto next =
      std::min_element(held_.begin(), held_.end(),
                       [](const held_memory& a, const held_memory& b) { return a.due_us < b.due_us; });
  net_.arrange(core_, next->due_us - net_.now_us);
}

std::size_t simulated::room(const link& l) const {
  const std::size_t held = l.out.bytes.size() - l.out.taken;
  return net_.options.socket_buffer - std::min(held, net_.options.socket_buffer);
}

void simulated::serve_writer(link& l) {
  seeded_random& random = net_.random;
  const auto sent = static_cast<std::int32_t>(l.sent);
  if (l.writer.what() == operation::connect && (l.open || l.refused))
    return end_writer(l, l.refused ? -ECONNREFUSED : 0);
  if (l.reset_arrived || l.out.fin)
    return end_writer(l, sent != 0 ? sent : random.chance(500) ? -ECONNRESET : -EPIPE);
  if (l.writer.what() == operation::connect) return;
  std::size_t n = room(l);
  if (l.writer.what() == operation::writable) {
    if (n != 0) end_writer(l, 1);
    return;
  }
  if (n == 0) return;
  if (n > 1 && random.chance(net_.options.split_send)) n = random.between(1, n);
  copy_out(l, n);
  net_.move_out(l);
  if (l.piece == l.pieces.size() || random.chance(net_.options.short_send))
    end_writer(l, static_cast<std::int32_t>(l.sent));
  else if (room(l) != 0)
    look_at(l);
}

// Reads the memory that the send named, which must still be what it was.
void simulated::copy_out(link& l, std::size_t n) {
  while (n != 0 && l.piece != l.pieces.size()) {
    const sent_piece& p = l.pieces[l.piece];
    if (gone(p)) return net_.violated("a block went home while a send was reading it");
    const std::size_t part = std::min<std::size_t>(n, p.length - l.offset);
    l.out.bytes.append(reinterpret_cast<const char*>(p.data) + l.offset, part);
    l.sent += part;
    n -= part;
    l.offset += static_cast<std::uint32_t>(part);
    if (l.offset != p.length) continue;
    l.offset = 0;
    ++l.piece;
  }
}

// ---- accepting

void simulated::accept(int listener, token t) {
  counters_.submissions.add(1);
  simulated_listener* s = net_.listener_of(listener);
  if (s == nullptr) return net_.violated("an accept on something that does not listen");
  if (!none(s->accept)) net_.violated("an accept begins while another is under way");
  s->at = this;
  s->accept = t;
  s->cancelled = false;
  look_at_listeners();
}

void simulated::serve_listener(simulated_listener& s) {
  const bool first = !s.cancelled || net_.random.chance(500);
  while (first && !none(s.accept) && !s.backlog.empty()) accept_one(s);
  if (!none(s.accept) && s.cancelled) tell(std::exchange(s.accept, token{}), -ECANCELED);
}

void simulated::accept_one(simulated_listener& s) {
  seeded_random& random = net_.random;
  static constexpr int failures[] = {-EMFILE, -ENFILE, -ENOMEM, -ENOBUFS, -ECONNABORTED, -EINTR};
  if (net_.open_count >= net_.options.descriptors_max) return tell(std::exchange(s.accept, token{}), -EMFILE);
  if (random.chance(net_.options.accept_fails))
    return tell(std::exchange(s.accept, token{}), failures[random.below(std::size(failures))]);
  const std::uint32_t index = s.backlog.front();
  s.backlog.pop_front();
  link& l = net_.links[index];
  l.fd = net_.open_descriptor(simulated_network::descriptor_kind::link, index);
  l.at = this;
  const bool more = !random.chance(net_.options.receive_ends);
  tell(more ? s.accept : std::exchange(s.accept, token{}), l.fd, more);
}

}  // namespace catenet
