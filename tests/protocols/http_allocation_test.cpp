// A keep-alive request allocates nothing, neither from malloc nor from mimalloc.
#include <catenet/slab/sanitizer.hpp>

#include "support/http_test_server.hpp"

#include <gtest/gtest.h>
#include <mimalloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

// Where who rented what is written down (CATENET_CHECKS), that takes memory, too.
#if !defined(CATENET_ASAN) && !defined(CATENET_TSAN) && !defined(CATENET_CHECKS)

namespace {
std::atomic<std::uint64_t> allocations{0};
thread_local bool counted = false;
}  // namespace

// What the server's thread asks of the C++ heap is counted; mimalloc has its own count.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  if (counted) ++allocations;
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace catenet::test {
namespace {

// Blocks that mimalloc has given out on this thread.
std::size_t mimalloc_blocks() {
  std::size_t used = 0;
  mi_heap_visit_blocks(
      mi_heap_get_default(), false,
      [](const mi_heap_t*, const mi_heap_area_t* area, void*, std::size_t, void* sum) {
        *static_cast<std::size_t*>(sum) += area->used;
        return true;
      },
      &used);
  return used;
}

TEST(http_allocation, a_keep_alive_request_allocates_nothing) {
  http_test_server server{[](http::server& web) {
    web.get("/", [](http::request&, http::response& rs) { rs.text("Hello, World!"); });
    web.get("/item/{id}", [](http::request& rq, http::response& rs) {
      rs.header("X-Id", rq.param("id")).header("Cache-Control", "no-store").json("{\"a\":1}");
    });
    web.get("/count/{on}", [](http::request& rq, http::response& rs) {
      counted = rq.param("on") == "1";
      rs.text("mimalloc ", mimalloc_blocks());
    });
  }};
  const std::string requests =
      "GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\nGET /item/7 HTTP/1.1\r\nHost: a\r\nCookie: "
      "a=b\r\n\r\n";
  http_test_client client{server.port()};
  const auto ask = [&](const std::string& bytes, int answers) {
    client.send(bytes);
    std::string body;
    for (int i = 0; i != answers; ++i) body = client.read().body;
    return body;
  };
  for (int i = 0; i != 100; ++i) ask(requests, 2);  // free lists and caches fill
  const std::string before = ask("GET /count/1 HTTP/1.1\r\nHost: a\r\n\r\n", 1);
  for (int i = 0; i != 1000; ++i) ask(requests, 2);
  const std::string after = ask("GET /count/0 HTTP/1.1\r\nHost: a\r\n\r\n", 1);
  EXPECT_EQ(allocations, 0u);
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace catenet::test

#endif
