// Accounts: charging, limits, and the order of payers.
#include <catenet/slab/account.hpp>

#include <bit>
#include <cassert>
#include <new>

namespace catenet {

account* account::open(account& parent, const account_limits* limits, void* owner) {
  void* room = detail::allocate_control(sizeof(account));
  if (room == nullptr) return nullptr;
  ++parent.children_;
  return new (room) account(&parent, limits, owner);
}

void account::close() {
  closed_ = true;
  end_if_done();
}

void account::end_if_done() {
  if (!closed_ || own_ != 0 || children_ != 0) return;
  account* above = parent_;
  this->~account();
  detail::release_control(this);
  --above->children_;
  above->end_if_done();
}

ledger& account::root() {
  account* a = this;
  while (a->parent_ != nullptr) a = a->parent_;
  return static_cast<ledger&>(*a);
}

bool account::charge(std::uint64_t bytes) {
  for (account* a = this; a != nullptr; a = a->parent_) {
    const account_limits* l = a->limits_;
    if (l == nullptr || l->hard_bytes == 0 || a->bytes() + bytes <= l->hard_bytes) continue;
    if (l->refused != nullptr) l->refused(*a, bytes, l->context);
    return false;
  }
  add(bytes);
  return true;
}

void account::credit(std::uint64_t bytes) {
  sub(bytes);
  end_if_done();
}

void account::add(std::uint64_t bytes) {
  ledger& r = root();
  r.charged_ += bytes;
  own_ += bytes;
  r.place(*this, own_ - bytes);
  note_soft();
  for (account* a = parent_; a != nullptr; a = a->parent_) {
    a->below_ += bytes;
    a->note_soft();
  }
}

void account::sub(std::uint64_t bytes) {
  assert(own_ >= bytes && "more credited than was charged");
  ledger& r = root();
  r.credited_ += bytes;
  own_ -= bytes;
  r.place(*this, own_ + bytes);
  note_soft();
  for (account* a = parent_; a != nullptr; a = a->parent_) {
    a->below_ -= bytes;
    a->note_soft();
  }
}

// Tells about a crossing of the soft limit, once each way.
void account::note_soft() {
  if (limits_ == nullptr || limits_->soft_bytes == 0) return;
  const bool over = bytes() > limits_->soft_bytes;
  if (over == over_soft_) return;
  over_soft_ = over;
  auto* tell = over ? limits_->over : limits_->under;
  if (tell != nullptr) tell(*this, limits_->context);
}

bool account::pay_for(block* b) {
  if (!charge(b->capacity())) return false;
  b->payer = this;
  return true;
}

bool account::pay_for(chain& c) {
  const pool* here = pool::current();
  // A block that is in the chain twice is met twice: the first time it gets its payer.
  std::uint64_t bytes = 0;
  for (segment* s = c.head(); s != nullptr; s = s->next) {
    if (s->kind != segment_kind::block || s->home != here->id() || s->blk->payer != nullptr) continue;
    s->blk->payer = this;
    bytes += s->blk->capacity();
  }
  if (bytes == 0) return true;
  if (charge(bytes)) return true;
  for (segment* s = c.head(); s != nullptr; s = s->next)
    if (s->kind == segment_kind::block && s->home == here->id() && s->blk->payer == this &&
        bytes >= s->blk->capacity()) {
      s->blk->payer = nullptr;
      bytes -= s->blk->capacity();
    }
  return false;
}

void pool::uncharge(block* b) {
  account* payer = b->payer;
  b->payer = nullptr;
  payer->credit(b->capacity());
}

// An overflow segment that the block's payer pays for. Null at its hard limit, or when memory ran out.
segment* pool::charged_segment(account& payer) {
  segment* s = take_segment();
  if (s == nullptr) return nullptr;
  if (!payer.charge(sizeof(segment))) {
    keep_segment(s);
    return nullptr;
  }
  s->charged = true;
  return s;
}

void pool::uncharge_segment(segment* s) {
  s->charged = false;
  s->blk->payer->credit(sizeof(segment));
}

// ---- the order of payers
// -------------------------------------------------------------------------------------

ledger::~ledger() { assert(own_ == 0 && children_ == 0 && "a ledger ends after the accounts below it"); }

std::size_t ledger::bucket_of(std::uint64_t bytes) {
  const auto width = static_cast<std::size_t>(std::bit_width(bytes));
  if (width <= 4) return static_cast<std::size_t>(bytes);
  return (width - 3) * 8 + static_cast<std::size_t>(bytes >> (width - 4) & 7);
}

void ledger::place(account& a, std::uint64_t before) {
  const std::size_t old = bucket_of(before), now = bucket_of(a.own_);
  if (champion_ != nullptr && (&a == champion_ ? a.own_ < before : a.own_ > champion_->own_))
    champion_ = &a == champion_ ? nullptr : &a;
  if (old == now && before != 0 && a.own_ != 0) return;
  if (before != 0) {
    buckets_[old].erase(buckets_[old].s_iterator_to(a));
    if (buckets_[old].empty()) filled_[old / 64] &= ~(std::uint64_t{1} << old % 64);
  }
  if (a.own_ != 0) {
    buckets_[now].push_front(a);
    filled_[now / 64] |= std::uint64_t{1} << now % 64;
  }
}

account* ledger::largest() {
  if (champion_ != nullptr) return champion_;
  const std::size_t top = top_bucket();
  if (top == no_bucket) return nullptr;
  for (account& a : buckets_[top])
    if (champion_ == nullptr || a.own_ > champion_->own_) champion_ = &a;
  return champion_;
}

account* ledger::among_largest() {
  if (champion_ != nullptr) return champion_;
  const std::size_t top = top_bucket();
  return top == no_bucket ? nullptr : &buckets_[top].front();
}

std::size_t ledger::top_bucket() const {
  for (std::size_t word = filled_.size(); word-- != 0;)
    if (filled_[word] != 0) return word * 64 + static_cast<std::size_t>(std::bit_width(filled_[word])) - 1;
  return no_bucket;
}

}  // namespace catenet
