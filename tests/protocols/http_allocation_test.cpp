// A keep-alive request allocates nothing, neither from malloc nor from mimalloc: every call of either that
// the server's thread makes is counted, also one whose memory is given back at once. (The C++ heap asks
// malloc.)
#include "support/http_test_server.hpp"

#include <gtest/gtest.h>
#include <mimalloc.h>

#include <atomic>
#include <cstdlib>
#include <memory>

#ifdef CATENET_COUNTED_ALLOCATIONS  // set where the linker leads mimalloc's functions here
                                    // (tests/CMakeLists.txt)

namespace {
std::atomic<std::uint64_t> from_malloc{0}, from_mimalloc{0};
thread_local bool counted = false;

void* count(std::atomic<std::uint64_t>& sum, void* memory) {
  if (counted) ++sum;
  return memory;
}
}  // namespace

extern "C" {

// What mimalloc's name means once "--wrap" has given ours to its callers.
void* __real_mi_malloc(std::size_t bytes);
void* __real_mi_malloc_small(std::size_t bytes);
void* __real_mi_malloc_aligned(std::size_t bytes, std::size_t alignment);
void* __real_mi_mallocn(std::size_t number, std::size_t bytes);
void* __real_mi_new_n(std::size_t number, std::size_t bytes);

void* __wrap_mi_malloc(std::size_t bytes) { return count(from_mimalloc, __real_mi_malloc(bytes)); }
void* __wrap_mi_malloc_small(std::size_t bytes) {
  return count(from_mimalloc, __real_mi_malloc_small(bytes));
}
void* __wrap_mi_malloc_aligned(std::size_t bytes, std::size_t alignment) {
  return count(from_mimalloc, __real_mi_malloc_aligned(bytes, alignment));
}
void* __wrap_mi_mallocn(std::size_t number, std::size_t bytes) {
  return count(from_mimalloc, __real_mi_mallocn(number, bytes));
}
void* __wrap_mi_new_n(std::size_t number, std::size_t bytes) {
  return count(from_mimalloc, __real_mi_new_n(number, bytes));
}

// glibc's own, by the names that it exports for this.
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t number, std::size_t bytes);
void* __libc_realloc(void* memory, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);

void* malloc(std::size_t bytes) noexcept { return count(from_malloc, __libc_malloc(bytes)); }
void* calloc(std::size_t number, std::size_t bytes) noexcept {
  return count(from_malloc, __libc_calloc(number, bytes));
}
void* realloc(void* memory, std::size_t bytes) noexcept {
  return count(from_malloc, __libc_realloc(memory, bytes));
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  return count(from_malloc, __libc_memalign(alignment, bytes));
}

}  // extern "C"

#ifndef CATENET_CHECKS  // where who rented what is written down, that takes memory, too

namespace catenet::test {
namespace {

// Takes memory and gives it back, in a way that no compiler leaves out.
template <class Take, class Give>
void churn(Take take, Give give) {
  void* volatile memory = take(10);
  give(memory);
}

TEST(http_allocation, a_keep_alive_request_allocates_nothing) {
  http_test_server server{[](http::server& web) {
    web.get("/", [](http::request&, http::response& rs) { rs.text("Hello, World!"); });
    web.get("/item/{id}", [](http::request& rq, http::response& rs) {
      rs.header("X-Id", rq.param("id")).header("Cache-Control", "no-store").json("{\"a\":1}");
    });
    web.get("/malloc", [](http::request&, http::response& rs) {
      churn(&std::malloc, &std::free);
      rs.text("done");
    });
    web.get("/mimalloc", [](http::request&, http::response& rs) {
      churn(&mi_malloc, &mi_free);
      rs.text("done");
    });
    web.get("/new", [](http::request&, http::response& rs) {
      churn([](std::size_t n) -> void* { return new char[n]; },
            [](void* p) { delete[] static_cast<char*>(p); });
      rs.text("done");
    });
    web.get("/count/{on}", [](http::request& rq, http::response& rs) {
      counted = rq.param("on") == "1";
      rs.text("done");
    });
  }};
  const auto get = [](const std::string& target) { return "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n"; };
  const std::string requests =
      get("/") + "GET /item/7 HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nAccept: */*\r\n\r\n";
  http_test_client client{server.port()};
  const auto ask = [&](const std::string& bytes, int answers = 1) {
    client.send(bytes);
    for (int i = 0; i != answers; ++i) EXPECT_EQ(client.read().status, 200);
  };
  // What is counted while these are asked, by malloc and by mimalloc.
  const auto cost = [&](int times, const std::string& bytes, int answers) {
    ask(get("/count/1"));
    for (int i = 0; i != times; ++i) ask(bytes, answers);
    ask(get("/count/0"));
    return std::pair{from_malloc.exchange(0), from_mimalloc.exchange(0)};
  };
  using costs = std::pair<std::uint64_t, std::uint64_t>;
  for (int i = 0; i != 100; ++i) ask(requests, 2);  // free lists and caches fill
  EXPECT_EQ(cost(1000, requests, 2), costs(0, 0));
  EXPECT_EQ(cost(10, get("/malloc"), 1), costs(10, 0)) << "one that is given back at once is seen";
  EXPECT_EQ(cost(10, get("/mimalloc"), 1), costs(0, 10));
  EXPECT_EQ(cost(10, get("/new"), 1), costs(10, 0));
}

}  // namespace
}  // namespace catenet::test

#endif
#endif
