// Control objects of the bus, from mimalloc. They may be made on one thread and ended on another.
#pragma once

#include <mimalloc.h>

#include <new>
#include <utility>

namespace catenet::bus::detail {

/// Null when memory ran out.
template <class T, class... Args>
T* make_control(Args&&... args) {
  void* room = mi_malloc_aligned(sizeof(T), alignof(T));
  return room == nullptr ? nullptr : new (room) T(std::forward<Args>(args)...);
}

template <class T>
void end_control(T* object) {
  object->~T();
  mi_free(object);
}

}  // namespace catenet::bus::detail
