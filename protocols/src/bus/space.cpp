// The beginning and end of a space.
#include <catenet/bus/space.hpp>

#include "bus/control.hpp"

#include <new>

namespace catenet::bus::detail {

namespace {

void release_hold(void* of, void*, std::size_t) { static_cast<space*>(of)->drop(); }

}  // namespace

space* space_stock::open(lease&& over, std::uint32_t holds) {
  space* made = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      made = free_.back();
      free_.pop_back();
    } else {
      made = make_control<space>();
      if (made == nullptr) return nullptr;
      all_.push_back(made);
      free_.reserve(all_.capacity());
    }
  }
  block* b = over.get();
  made->data = b->data;
  made->capacity = static_cast<std::uint32_t>(b->capacity());
  made->home_block = b;
  made->whole = chain{std::move(over), 0, b->capacity()};
  made->whole.head()->exclusive = false;
  made->stock = shared_from_this();
  made->word.open(holds);
  return made;
}

void space_stock::give(space* s) {
  const std::lock_guard lock(mutex_);
  free_.push_back(s);
}

space_stock::~space_stock() {
  for (space* s : all_) end_control(s);
}

void space::end() {
  whole.clear();
  const std::shared_ptr<space_stock> keep = std::move(stock);
  keep->give(this);
}

chain space::map() {
  chain made;
  word.hold();
  if (!made.append_foreign(data, capacity, &release_hold, this)) drop();
  return made;
}

}  // namespace catenet::bus::detail
