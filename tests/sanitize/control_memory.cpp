// Control objects from malloc instead of mimalloc, for the thread sanitizer: mimalloc's library is not built
// with it, so that memory which one thread frees and another gets would be told as a race between the two.
// These definitions stand before the library's, as they are the program's own; every mi_ function that is
// used is here.
#include <cstddef>
#include <cstdlib>
#include <new>

extern "C" {
void* mi_malloc(std::size_t bytes);
void* mi_malloc_small(std::size_t bytes);
void* mi_mallocn(std::size_t count, std::size_t bytes);
void* mi_malloc_aligned(std::size_t bytes, std::size_t alignment);
void* mi_new_n(std::size_t count, std::size_t bytes);
void mi_free(void* at);

void* mi_malloc(std::size_t bytes) { return std::malloc(bytes); }
void* mi_malloc_small(std::size_t bytes) { return std::malloc(bytes); }
void* mi_mallocn(std::size_t count, std::size_t bytes) { return std::calloc(count, bytes); }
void* mi_malloc_aligned(std::size_t bytes, std::size_t alignment) {
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}
// Behind mi_stl_allocator, which containers ask.
void* mi_new_n(std::size_t count, std::size_t bytes) {
  if (void* const at = std::calloc(count, bytes)) return at;
  throw std::bad_alloc();
}
void mi_free(void* at) { std::free(at); }
}
