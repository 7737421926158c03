// Chains that several cores hold: the common count, and a core's views of what lies behind it.
#include <catenet/slab/remote.hpp>

#include <memory>
#include <new>

namespace catenet {

namespace detail {

void drop_common(common_chain* c) {
  // Acquire and release: whoever ends it sees all that the others did with the bytes.
  if (c->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  std::destroy_at(c);
  release_control(c);
}

}  // namespace detail

std::optional<remote> remote::share() {
  std::optional<remote> twin{std::in_place};
  if (common_ == nullptr) {
    void* room = detail::allocate_control(sizeof(detail::common_chain));
    if (room == nullptr) {
      twin.reset();
      return twin;
    }
    common_ = new (room) detail::common_chain;
    common_->bytes = std::move(own_);
    // From here on nobody may change the bytes in place.
    for (segment* s = common_->bytes.head(); s != nullptr; s = s->next) s->exclusive = false;
  }
  common_->refs.fetch_add(1, std::memory_order_relaxed);
  twin->common_ = common_;
  return twin;
}

std::optional<chain> remote::take() {
  std::optional<chain> views{std::in_place};
  if (common_ == nullptr) {
    *views = std::move(own_);
    return views;
  }
  if (!view_common(*views)) views.reset();
  return views;
}

// Views of the common chain, all behind one holder whose end gives our share of the common count back.
bool remote::view_common(chain& views) {
  pool& p = *pool::current();
  auto* holder = static_cast<foreign_memory*>(detail::allocate_control(sizeof(foreign_memory)));
  if (holder == nullptr) return false;
  const auto release = [](void* context, void*, std::size_t) {
    detail::drop_common(static_cast<detail::common_chain*>(context));
  };
  // One reference of our own until all views are made; on failure the views end, but not the share they stand
  // for.
  *holder = {1, [](void*, void*, std::size_t) {}, common_, nullptr, 0};
  bool complete = true;
  for (const segment* s = common_->bytes.head(); s != nullptr && complete; s = s->next) {
    segment* view = s->kind == segment_kind::file ? view_file(*s, *holder, p) : view_memory(*s, *holder, p);
    complete = view != nullptr;
    if (complete) views.append_segment(view);
  }
  if (!complete) views.clear();
  if (complete) {
    holder->release = release;
    common_ = nullptr;
  }
  p.drop_foreign(holder);
  return complete;
}

segment* remote::view_memory(const segment& of, foreign_memory& holder, pool& p) {
  segment* view =
      p.new_segment(of.kind == segment_kind::constant ? segment_kind::constant : segment_kind::foreign);
  if (view == nullptr) return nullptr;
  view->data = of.data;
  view->length = of.length;
  view->foreign = &holder;
  if (view->kind == segment_kind::foreign) ++holder.refs;
  return view;
}

segment* remote::view_file(const segment& of, foreign_memory& holder, pool& p) {
  auto* file = static_cast<file_reference*>(detail::allocate_control(sizeof(file_reference)));
  if (file == nullptr) return nullptr;
  segment* view = p.new_segment(segment_kind::file);
  if (view == nullptr) {
    detail::release_control(file);
    return nullptr;
  }
  ++holder.refs;
  *file = {1, of.file->fd, false, &holder};
  view->offset = of.offset;
  view->length = of.length;
  view->file = file;
  return view;
}

}  // namespace catenet
