// The notes behind CATENET_CHECKS: where each block was rented and returned last.
#include <catenet/slab/ownership.hpp>

#ifdef CATENET_CHECKS

#include <catenet/slab/pool.hpp>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

namespace catenet::detail {

namespace {

struct note {
  caller at;
  const char* tag = nullptr;
  pool_id by = no_pool;
};
struct notes {
  note rented, returned;
};

// Slow and simple: these builds look for mistakes.
std::mutex mutex;
std::unordered_map<const block*, notes>& all() {
  static std::unordered_map<const block*, notes> map;
  return map;
}

note made_now(const caller& who) {
  const pool* p = pool::current();
  return {who, tag_scope::current(), p == nullptr ? no_pool : p->id()};
}

void print(const char* what, const note& n) {
  std::fprintf(stderr, "  %s at %s:%u (%s)%s%s, pool %u\n", what, n.at.file_name(), n.at.line(),
               n.at.function_name(), n.tag == nullptr ? "" : ", tag ", n.tag == nullptr ? "" : n.tag, n.by);
}

// What is wrong with giving this block back, or null.
const char* objection(const block& b) {
  if (b.state == block_state::lent || b.in_flight != 0) return "the kernel still has";
  if (b.state != block_state::rented) return "nobody holds";
  return b.refs != 0 ? "somebody still refers to" : nullptr;
}

}  // namespace

void note_rent(block* b, const caller& who) {
  const std::lock_guard lock(mutex);
  all()[b].rented = made_now(who);
}

void note_return(block* b, const caller& who) {
  const std::lock_guard lock(mutex);
  notes& n = all()[b];
  const char* wrong = objection(*b);
  if (wrong == nullptr) {
    n.returned = made_now(who);
    return;
  }
  std::fprintf(stderr, "catenet: a block of %zu bytes is returned that %s\n", b->capacity(), wrong);
  print("rented last  ", n.rented);
  print("returned last", n.returned);
  print("returned now ", made_now(who));
  std::abort();
}

void check_move(const block& b, block_state to) {
  if (legal_move(b.state, to)) return;
  const std::lock_guard lock(mutex);
  std::fprintf(stderr, "catenet: a block of %zu bytes would go from %s to %s, which is no legal move\n",
               b.capacity(), name_of(b.state), name_of(to));
  const notes& n = all()[&b];
  print("rented last  ", n.rented);
  print("returned last", n.returned);
  std::abort();
}

void report_holder(const block* b) {
  const std::lock_guard lock(mutex);
  print("rented", all()[b].rented);
}

}  // namespace catenet::detail

#endif
