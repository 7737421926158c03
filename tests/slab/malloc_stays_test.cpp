// Linking catenet must not replace the allocator of the program that embeds it, although the mimalloc library
// it links exports malloc and operator new (cmake/catenet_dependencies.cmake says how that is kept out).
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <mimalloc.h>

#include <string>

namespace {

// The file of the library that the name is bound to in this process.
std::string owner_of(const char* name) {
  void* const address = dlsym(RTLD_DEFAULT, name);
  Dl_info info{};
  if (address == nullptr || dladdr(address, &info) == 0) return "";
  return info.dli_fname;
}

TEST(malloc_stays, with_the_program) {
  for (const char* name : {"malloc", "free", "_Znwm", "_ZdlPv"}) {
    const std::string owner = owner_of(name);
    EXPECT_FALSE(owner.empty()) << name;
    EXPECT_EQ(owner.find("mimalloc"), std::string::npos) << name << " is bound to " << owner;
  }
}

TEST(malloc_stays, while_mimalloc_serves_its_own_names) {
  // Also makes this program need the library for certain, without which the test above could not fail.
  void* const memory = mi_malloc(100);
  EXPECT_NE(memory, nullptr);
  mi_free(memory);
  EXPECT_NE(owner_of("mi_malloc").find("mimalloc"), std::string::npos) << owner_of("mi_malloc");
}

}  // namespace
