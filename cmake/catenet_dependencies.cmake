# What catenet links, found the same way by its own build and, installed beside the package file, by those who use it.
#   catenet_mimalloc, catenet_liburing, catenet_brotlienc: imported targets made here; the others come from CMake's own modules.
include(CMakeFindDependencyMacro)

# One wrapper: here a missing package is an error, in a consumer it makes find_package(catenet) say so.
macro(_catenet_need)
  if(CATENET_IN_PACKAGE)
    find_dependency(${ARGN})
  else()
    find_package(${ARGN} REQUIRED)
  endif()
endmacro()

set(THREADS_PREFER_PTHREAD_FLAG ON)
_catenet_need(Threads)
_catenet_need(OpenSSL 3.0 COMPONENTS Crypto)
_catenet_need(ZLIB 1.2.11)
_catenet_need(Boost 1.81)  # headers only: Intrusive
_catenet_need(mimalloc 2.0)

# liburing and brotli ship no CMake package and a pkg-config file only, which is a program that a consumer may lack.
list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
_catenet_need(liburing 2.3)
_catenet_need(brotlienc)
list(REMOVE_ITEM CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})

# Debian's libmimalloc.so also exports malloc, free and operator new, so that merely linking it would take over the
# allocator of the whole process, a host program's too. The loader takes the first library that has a name: naming the C++ and
# C libraries ahead of it keeps malloc theirs and leaves mimalloc its mi_* names. --no-as-needed, because nothing
# refers to them yet that early on the link line.
set(_catenet_first "")
foreach(_lib IN ITEMS stdc++ c++ c)
  if(_lib IN_LIST CMAKE_CXX_IMPLICIT_LINK_LIBRARIES)
    string(APPEND _catenet_first "-l${_lib},")
  endif()
endforeach()
set(CATENET_MALLOC_STAYS "-Wl,--push-state,--no-as-needed,${_catenet_first}--pop-state")
if(NOT TARGET catenet_mimalloc)
  add_library(catenet_mimalloc INTERFACE IMPORTED GLOBAL)
  target_link_libraries(catenet_mimalloc INTERFACE mimalloc)
  target_link_options(catenet_mimalloc INTERFACE ${CATENET_MALLOC_STAYS})
endif()
unset(_catenet_first)
unset(_lib)
