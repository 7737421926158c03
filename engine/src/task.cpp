// Coroutine frames come from mimalloc, like every control object.
#include <catenet/engine/task.hpp>

#include <mimalloc.h>

#include <new>

namespace catenet::detail {

void* allocate_frame(std::size_t bytes) {
  void* frame = mi_malloc(bytes);
  if (frame == nullptr) throw std::bad_alloc();
  return frame;
}

void free_frame(void* frame) { mi_free(frame); }

}  // namespace catenet::detail
