# How every target of this repository is compiled: warnings, sanitizers, link-time optimisation. All of it is PRIVATE to
# our targets, except what changes the meaning of a public header (CATENET_CHECKS).

if(CATENET_LTO AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Clang has no fat objects with GNU ld, and archives of bitcode only would be of no use to anyone else.
  message(STATUS "catenet: CATENET_LTO is for GCC; left out with ${CMAKE_CXX_COMPILER_ID}")
endif()

# One target of ours, of any kind.
function(catenet_compile target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 sees overlaps that cannot be in std::string's operator+ (GCC bug 105651).
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
  if(CATENET_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(CATENET_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${CATENET_SANITIZE} -fno-sanitize-recover=all
                                             -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${CATENET_SANITIZE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CATENET_SANITIZE MATCHES "undefined")
      # It asks the kernel by a pipe whether an object can be read, and there are tests that have no descriptor left.
      target_compile_options(${target} PRIVATE -fno-sanitize=vptr)
    endif()
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # The instrumented code confuses GCC's flow analysis, in the standard library too; the plain builds keep the warning.
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
    endif()
    if(CATENET_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${target} PRIVATE -Wno-tsan)  # "atomic_thread_fence is not supported": known, not ours to mend
    endif()
  endif()
endfunction()

# A program of ours. `lto` or `no_lto`: tests link the plain half of the fat objects, which takes a fraction of the time.
function(catenet_program target lto)
  catenet_compile(${target})
  if(CATENET_LTO AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    if(lto STREQUAL "lto")
      target_compile_options(${target} PRIVATE -flto=auto -fno-fat-lto-objects)
      target_link_options(${target} PRIVATE -flto=auto)
    else()
      target_link_options(${target} PRIVATE -fno-lto)
    endif()
  endif()
endfunction()

# CLI11 for a program, precompiled once a folder: a good third of the time of compiling a program goes to that header.
function(catenet_cli11 target)
  target_link_libraries(${target} PRIVATE CLI11::CLI11)
  get_property(first DIRECTORY PROPERTY catenet_cli11_first)
  if(first)
    target_precompile_headers(${target} REUSE_FROM ${first})
  else()
    target_precompile_headers(${target} PRIVATE <CLI/CLI.hpp>)
    set_property(DIRECTORY PROPERTY catenet_cli11_first ${target})
  endif()
endfunction()

# A floor: static library catenet_NAME (catenet::NAME) of all that lies in src/, with the public headers in include/.
function(catenet_floor name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS src/*.cpp)
  if(NOT sources)
    # A floor that has headers only so far. An archive needs one object.
    file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/headers_only.cpp CONTENT "// no source yet\n")
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/headers_only.cpp)
  endif()
  set(target catenet_${name})
  add_library(${target} STATIC ${sources})
  add_library(catenet::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON CXX_EXTENSIONS OFF)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  if(CATENET_CHECKS)
    # Public: inline functions of the headers test it, and both sides have to agree.
    target_compile_definitions(${target} PUBLIC CATENET_CHECKS=1)
  endif()
  catenet_compile(${target})
  # Clang counts sign conversions among -Wconversion, GCC does not: the milder of the two holds.
  target_compile_options(${target} PRIVATE -Wconversion -Wno-sign-conversion)
  if(CATENET_LTO AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -flto=auto -ffat-lto-objects)
  endif()
endfunction()
