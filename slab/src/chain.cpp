// Chains: linking, splitting, sharing, copying.
#include <catenet/slab/chain.hpp>

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>

namespace catenet {

namespace {

pool& here() {
  pool* p = pool::current();
  assert(p != nullptr && "blocks that are leased or in flight are so on a thread that has a pool");
  return *p;
}

// A segment of this thread's pool. Null when it has none, or memory ran out.
segment* segment_here(segment_kind kind) {
  pool* p = pool::current();
  return p == nullptr ? nullptr : p->new_segment(kind);
}

bool counted_here(const segment* s, const pool& p) { return s->home == p.id(); }

// Counts one more reference to what `s` names. At home only.
void count_reference(segment* s) {
  switch (s->kind) {
    case segment_kind::block:
      ++s->blk->refs;
      break;
    case segment_kind::foreign:
      ++s->foreign->refs;
      break;
    case segment_kind::file:
      ++s->file->refs;
      break;
    case segment_kind::proxy:
      ++s->proxy->refs;
      break;
    case segment_kind::constant:
    case segment_kind::parcel:
      break;
  }
}

// Puts a segment of another pool behind a count of this one, so that it can be shared here; the returned
// segment takes its place. Null when memory ran out.
segment* adopt(segment* original, pool& p) {
  auto* proxy = static_cast<proxy_reference*>(detail::allocate_control(sizeof(proxy_reference)));
  if (proxy == nullptr) return nullptr;
  segment* local = p.new_segment(segment_kind::proxy);
  if (local == nullptr) {
    detail::release_control(proxy);
    return nullptr;
  }
  *proxy = {1, original};
  local->next = original->next;
  local->data = original->data;
  local->proxy = proxy;
  local->length = original->length;
  return local;
}

// A second segment for part of what `s` (at home here) names. Null when memory ran out.
segment* share_segment(segment* s, std::uint32_t offset, std::uint32_t length, pool& p) {
  segment* twin = s->kind == segment_kind::block ? p.segment_for(s->blk) : p.new_segment(s->kind);
  if (twin == nullptr) return nullptr;
  count_reference(s);
  if (s->kind == segment_kind::file)
    twin->offset = s->offset + offset;
  else
    twin->data = s->data + offset;
  twin->blk = s->blk;
  twin->length = length;
  return twin;
}

void advance(segment* s, std::uint32_t by) {
  if (s->kind == segment_kind::file)
    s->offset += by;
  else
    s->data += by;
  s->length -= by;
}

}  // namespace

chain::chain(lease&& from, std::size_t offset, std::size_t length) {
  assert(from && length != 0 && offset + length <= from.bytes().size());
  block* b = from.release();
  segment* s = here().segment_for(b);  // never null: a fresh lease has its built-in segment free
  s->data = b->data + offset;
  s->length = static_cast<std::uint32_t>(length);
  s->exclusive = true;
  append_segment(s);
}

chain chain::copy_of(std::span<const std::byte> bytes) {
  chain made;
  if (!made.append_copy(bytes)) made.clear();
  return made;
}

chain chain::of_size(std::uint64_t bytes) {
  chain made;
  pool* const p = pool::current();
  if (p == nullptr) [[unlikely]]
    return made;
  const size_class_table& classes = p->classes();
  while (made.bytes() != bytes) {
    const std::uint64_t left = bytes - made.bytes();
    // The smallest class that holds the rest, unless that wastes more than a quarter: then the largest class
    // that is filled, and what remains goes into a smaller one.
    size_class c = classes.fitting(left);
    if (classes.size(c) > left && classes.size(c) - left > left / 4) c = classes.within(left);
    lease l{p->rent(c)};
    if (!l) return {};
    const std::size_t length = std::min<std::uint64_t>(left, l.bytes().size());
    made.append(chain{std::move(l), 0, length});
  }
  return made;
}

std::size_t chain::segment_count() const {
  std::size_t count = 0;
  for (const segment* s = head_; s != nullptr; s = s->next) ++count;
  return count;
}

void chain::prepend(chain&& other) {
  if (this == &other) return;
  other.append(std::move(*this));
  *this = std::move(other);
}

// Free bytes behind the last segment that nobody else may see: ours when the block has no other reference.
std::size_t chain::tail_room() const {
  const pool* p = pool::current();
  if (p == nullptr || tail_ == nullptr || tail_->kind != segment_kind::block || !counted_here(tail_, *p))
    return 0;
  const block* b = tail_->blk;
  if (b->refs != 1 || b->in_flight != 0) return 0;
  return static_cast<std::size_t>(b->data + b->capacity() - (tail_->data + tail_->length));
}

bool chain::append_copy(std::span<const std::byte> bytes) {
  const std::size_t into_tail = std::min(bytes.size(), tail_room());
  if (into_tail != bytes.size()) {
    chain rest = of_size(bytes.size() - into_tail);
    if (rest.empty()) return false;
    const std::byte* from = bytes.data() + into_tail;
    for (segment* s = rest.head_; s != nullptr; s = s->next) {
      std::memcpy(s->data, from, s->length);
      from += s->length;
    }
    if (into_tail != 0) {
      std::memcpy(tail_->data + tail_->length, bytes.data(), into_tail);
      grow_tail(into_tail);
    }
    append(std::move(rest));
    return true;
  }
  if (into_tail == 0) return true;
  std::memcpy(tail_->data + tail_->length, bytes.data(), into_tail);
  grow_tail(into_tail);
  return true;
}

bool chain::append_constant(std::string_view text) {
  if (text.empty()) return true;
  segment* s = segment_here(segment_kind::constant);
  if (s == nullptr) return false;
  assert(text.size() <= 0xffffffffu);
  s->data = reinterpret_cast<std::byte*>(const_cast<char*>(text.data()));  // never written: not exclusive
  s->blk = nullptr;
  s->length = static_cast<std::uint32_t>(text.size());
  append_segment(s);
  return true;
}

bool chain::append_foreign(void* data, std::size_t size,
                           void (*release)(void* context, void* data, std::size_t size), void* context) {
  assert(size != 0 && size <= 0xffffffffu);
  auto* holder = static_cast<foreign_memory*>(detail::allocate_control(sizeof(foreign_memory)));
  if (holder == nullptr) return false;
  segment* s = segment_here(segment_kind::foreign);
  if (s == nullptr) {
    detail::release_control(holder);
    return false;
  }
  *holder = {1, release, context, data, size};
  s->data = static_cast<std::byte*>(data);
  s->foreign = holder;
  s->length = static_cast<std::uint32_t>(size);
  append_segment(s);
  return true;
}

bool chain::append_file(int fd, std::uint64_t offset, std::uint64_t length, bool owned) {
  auto* holder = static_cast<file_reference*>(detail::allocate_control(sizeof(file_reference)));
  chain regions;
  if (holder != nullptr) *holder = {0, fd, owned};
  while (holder != nullptr && regions.bytes() != length) {
    segment* s = segment_here(segment_kind::file);
    if (s == nullptr) break;
    s->offset = offset + regions.bytes();
    s->file = holder;
    s->length = static_cast<std::uint32_t>(std::min(length - regions.bytes(), file_segment_bytes_max));
    ++holder->refs;
    regions.append_segment(s);
  }
  if (regions.bytes() != length || length == 0) {
    // The regions made so far close an owned descriptor with the last of them; without any, it is closed
    // here.
    if (regions.empty()) {
      if (owned) ::close(fd);
      detail::release_control(holder);
    }
    return length == 0 && holder != nullptr;
  }
  append(std::move(regions));
  return true;
}

reservation chain::reserve(std::size_t least) {
  if (const std::size_t room = tail_room(); room >= least && room != 0)
    return reservation{*this, {tail_->data + tail_->length, room}};
  lease fresh = lease::of(std::max<std::size_t>(least, 1));
  if (!fresh || fresh.bytes().size() < least) return {};
  return reservation{*this, std::move(fresh)};
}

void reservation::commit(std::size_t written) {
  assert(written <= room_.size());
  if (written != 0) {
    if (fresh_)
      into_->append(chain{std::move(fresh_), 0, written});
    else
      into_->grow_tail(written);
  }
  fresh_.reset();
  room_ = {};
}

void chain::grow_tail(std::size_t by) {
  tail_->length += static_cast<std::uint32_t>(by);
  bytes_ += by;
}

void chain::consume(std::uint64_t n) {
  if (n >= bytes_) return clear();
  bytes_ -= n;
  pool* p = pool::current();
  while (n >= head_->length) {
    segment* s = head_;
    n -= s->length;
    head_ = s->next;
    if (p != nullptr)
      p->drop(s);
    else
      pool::drop_from_outside(s);
  }
  if (n != 0) advance(head_, static_cast<std::uint32_t>(n));
}

std::optional<chain> chain::split(std::uint64_t n) {
  if (n >= bytes_) return std::move(*this);
  chain front;
  if (n == 0) return front;
  segment** link = &head_;
  segment* last_whole = nullptr;
  std::uint64_t passed = 0;
  while (passed + (*link)->length <= n) {
    passed += (*link)->length;
    last_whole = *link;
    link = &(*link)->next;
  }
  if (const auto part = static_cast<std::uint32_t>(n - passed); part != 0) {
    pool* const p = pool::current();
    if (p == nullptr) return std::nullopt;
    segment* border = *link;
    if (!counted_here(border, *p)) {
      border = adopt(border, *p);
      if (border == nullptr) return std::nullopt;
      if (tail_ == *link) tail_ = border;
      *link = border;
    }
    segment* cut = share_segment(border, 0, part, *p);
    if (cut == nullptr) return std::nullopt;
    cut->exclusive = border->exclusive;  // the two parts do not overlap
    advance(border, part);
    cut->next = border;
    *link = cut;
    last_whole = cut;
  }
  front.head_ = head_;
  front.tail_ = last_whole;
  front.bytes_ = n;
  head_ = last_whole->next;
  last_whole->next = nullptr;
  bytes_ -= n;
  return front;
}

bool chain::share_into(chain& twin, std::uint64_t offset, std::uint64_t length) {
  if (offset >= bytes_) return true;
  length = std::min(length, bytes_ - offset);
  pool* const p = pool::current();
  if (p == nullptr) [[unlikely]]
    return false;
  for (segment** link = &head_; length != 0; link = &(*link)->next) {
    if (offset >= (*link)->length) {
      offset -= (*link)->length;
      continue;
    }
    if (!counted_here(*link, *p)) {
      segment* local = adopt(*link, *p);
      if (local == nullptr) return false;
      if (tail_ == *link) tail_ = local;
      *link = local;
    }
    segment* s = *link;
    const auto part = static_cast<std::uint32_t>(std::min<std::uint64_t>(length, s->length - offset));
    segment* view = share_segment(s, static_cast<std::uint32_t>(offset), part, *p);
    if (view == nullptr) return false;
    s->exclusive = false;
    view->exclusive = false;
    twin.append_segment(view);
    offset = 0;
    length -= part;
  }
  return true;
}

std::size_t chain::copy_to(std::span<std::byte> out, std::uint64_t offset) const {
  std::size_t copied = 0;
  for (const segment* s = head_; s != nullptr && copied != out.size(); s = s->next) {
    if (offset >= s->length) {
      offset -= s->length;
      continue;
    }
    if (s->kind == segment_kind::file) break;
    const std::size_t part = std::min<std::size_t>(s->length - offset, out.size() - copied);
    std::memcpy(out.data() + copied, s->data + offset, part);
    copied += part;
    offset = 0;
  }
  return copied;
}

std::string chain::to_string() const {
  std::string text(bytes_, '\0');
  text.resize(copy_to({reinterpret_cast<std::byte*>(text.data()), text.size()}));
  return text;
}

chain::exported chain::to_iovecs(std::span<iovec> out, std::uint64_t bytes_max) const {
  exported sum;
  for (const segment* s = head_; s != nullptr && sum.count != out.size() && sum.bytes != bytes_max;
       s = s->next) {
    if (s->kind == segment_kind::file) break;
    const std::size_t length = std::min<std::uint64_t>(s->length, bytes_max - sum.bytes);
    out[sum.count++] = {s->data, length};
    sum.bytes += length;
  }
  return sum;
}

void chain::mark_in_flight(bool on) {
  pool& p = here();
  for (segment* s = head_; s != nullptr; s = s->next) {
    if (s->kind != segment_kind::block || s->in_flight == on || !counted_here(s, p)) continue;
    s->in_flight = on;
    block* b = s->blk;
    const std::uint32_t before = b->in_flight;
    assert((!on || before != block::in_flight_max) && "more sends of one block than can be counted");
    if (on)
      ++b->in_flight;
    else
      --b->in_flight;
    if (on && before == 0) p.lend(b);
    if (!on && before == 1) p.unlend(b);
  }
}

void chain::drop_many(segment* s) {
  if (pool* p = pool::current()) return p->drop_list(s);
  while (s != nullptr) {
    segment* next = s->next;
    pool::drop_from_outside(s);
    s = next;
  }
}

}  // namespace catenet
