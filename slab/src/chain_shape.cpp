// Chains: changing their shape but not what they say (headroom, gathering, compacting), and checking them.
#include <catenet/slab/chain.hpp>

#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

namespace catenet {

namespace {

bool is_ours(const segment* s) {
  const pool* p = pool::current();
  return s->kind == segment_kind::block && p != nullptr && s->home == p->id();
}

// Room in the smallest class that holds `bytes`; what a copy of so many bytes would pin.
std::size_t room_for(std::size_t bytes) {
  const size_class_table& classes = pool::current()->classes();
  return classes.size(classes.fitting(bytes));
}

}  // namespace

chain chain::copy_of(std::span<const iovec> pieces) {
  chain made;
  for (const iovec& piece : pieces) {
    if (made.append_copy({static_cast<const std::byte*>(piece.iov_base), piece.iov_len})) continue;
    made.clear();
    break;
  }
  return made;
}

std::size_t chain::headroom() const {
  if (head_ == nullptr || !is_ours(head_)) return 0;
  const block* b = head_->blk;
  if (b->refs != 1 || b->in_flight != 0) return 0;
  return static_cast<std::size_t>(head_->data - b->data);
}

bool chain::prepend_copy(std::span<const std::byte> bytes) {
  const std::size_t into_head = std::min(bytes.size(), headroom());
  const auto rest = bytes.first(bytes.size() - into_head);
  if (!rest.empty()) {
    // The front part ends at its block's end, so that its headroom is what was not needed.
    chain before = of_size(rest.size());
    if (before.empty()) return false;
    const std::byte* from = rest.data();
    for (segment* s = before.head_; s != nullptr; s = s->next) {
      if (s == before.head_) s->data = s->blk->data + s->blk->capacity() - s->length;
      std::memcpy(s->data, from, s->length);
      from += s->length;
    }
    if (into_head != 0) grow_head(bytes.last(into_head));
    prepend(std::move(before));
    return true;
  }
  if (into_head != 0) grow_head(bytes);
  return true;
}

void chain::grow_head(std::span<const std::byte> bytes) {
  head_->data -= bytes.size();
  head_->length += static_cast<std::uint32_t>(bytes.size());
  bytes_ += bytes.size();
  std::memcpy(head_->data, bytes.data(), bytes.size());
}

bool chain::gather(std::size_t n) {
  if (n > bytes_) return false;
  if (n == 0 || (head_->kind != segment_kind::file && head_->length >= n)) return true;
  std::size_t passed = 0;
  for (const segment* s = head_; passed < n; s = s->next) {
    if (s->kind == segment_kind::file) return false;
    passed += s->length;
  }
  lease whole = lease::of(n);
  if (!whole || whole.bytes().size() < n) return false;
  copy_to(whole.bytes().first(n));
  consume(n);
  prepend(chain{std::move(whole), 0, n});
  return true;
}

bool chain::append_string(std::string&& text) {
  if (text.empty()) return true;
  if (text.size() <= copy_bytes_max) return append_copy(text);
  void* room = detail::allocate_control(sizeof(std::string));
  if (room == nullptr) return false;
  auto* kept = new (room) std::string(std::move(text));
  const auto release = [](void* context, void*, std::size_t) {
    std::destroy_at(static_cast<std::string*>(context));
    detail::release_control(context);
  };
  if (append_foreign(kept->data(), kept->size(), release, kept)) return true;
  text = std::move(*kept);
  release(kept, nullptr, 0);
  return false;
}

void chain::compact() {
  chain packed;
  while (head_ != nullptr) {
    segment* s = head_;
    head_ = s->next;
    bytes_ -= s->length;
    // Worth a copy when a quarter of the block would do, and a smaller block (or the tail before it) is to be
    // had.
    const bool wasteful = is_ours(s) && !s->in_flight && s->length < s->blk->capacity() / 4 &&
                          (packed.tail_room() >= s->length || room_for(s->length) < s->blk->capacity());
    if (wasteful && packed.append_copy({s->data, s->length}))
      pool::current()->drop(s);
    else
      packed.append_segment(s);
  }
  tail_ = nullptr;
  *this = std::move(packed);
}

const char* chain::validate() const {
  std::uint64_t sum = 0;
  const segment* last = nullptr;
  const pool* p = pool::current();
  for (const segment* s = head_; s != nullptr; s = s->next) {
    if (s->length == 0) return "a segment is empty";
    if (s->kind == segment_kind::block && p != nullptr && s->home == p->id()) {
      const block* b = s->blk;
      if (b->refs == 0 || b->state < block_state::rented) return "a segment names a block that is not rented";
      if (s->data < b->data || s->data + s->length > b->data + b->capacity())
        return "a segment leaves its block";
      if (s == &b->own && !b->own_used) return "a built-in segment is not marked as used";
    }
    sum += s->length;
    last = s;
  }
  if (sum != bytes_) return "the byte count is not the sum of the segments";
  if (last != tail_) return "the tail is not the last segment";
  return nullptr;
}

}  // namespace catenet
