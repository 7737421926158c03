// Which sanitizer this is compiled with, told alike for GCC and Clang: CATENET_ASAN, CATENET_TSAN or none.
#pragma once

#if defined(__SANITIZE_ADDRESS__)  // GCC's words
#define CATENET_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define CATENET_TSAN 1
#elif defined(__has_feature)  // Clang's
#if __has_feature(address_sanitizer)
#define CATENET_ASAN 1
#elif __has_feature(thread_sanitizer)
#define CATENET_TSAN 1
#endif
#endif
