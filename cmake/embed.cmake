# A file inside a program:
#
#   include(cmake/embed.cmake)
#   catenet_embed(example_chat ${CMAKE_CURRENT_SOURCE_DIR}/chat/page.html chat_page)
#
#   #include "embedded/chat_page.hpp"
#   std::string_view page = catenet::embedded::chat_page();   // the file's bytes, for the life of the program
#
# The source is made again whenever the file changes. This file is its own script: the part at the end is what the build runs.

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(CATENET_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE} CACHE INTERNAL "The script that catenet_embed runs")

  function(catenet_embed target file symbol)
    get_filename_component(file ${file} ABSOLUTE)
    set(folder ${CMAKE_CURRENT_BINARY_DIR}/embedded/${target})
    set(source ${folder}/embedded/${symbol}.cpp)
    set(header ${folder}/embedded/${symbol}.hpp)
    add_custom_command(
      OUTPUT ${source} ${header}
      COMMAND ${CMAKE_COMMAND} -DFILE=${file} -DSYMBOL=${symbol} -DSOURCE=${source} -DHEADER=${header} -P ${CATENET_EMBED_SCRIPT}
      DEPENDS ${file} ${CATENET_EMBED_SCRIPT}
      COMMENT "Embedding ${symbol}"
      VERBATIM)
    target_sources(${target} PRIVATE ${source} ${header})
    target_include_directories(${target} PRIVATE ${folder})
  endfunction()
  return()
endif()

foreach(parameter IN ITEMS FILE SYMBOL SOURCE HEADER)
  if(NOT DEFINED ${parameter})
    message(FATAL_ERROR "embed.cmake: -D${parameter}=... is missing")
  endif()
endforeach()

get_filename_component(name ${FILE} NAME)
file(READ ${FILE} hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n  " lines "${hex}")  # sixteen bytes a line
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${lines}")

file(WRITE ${HEADER} "// Made from ${name} by embed.cmake; do not edit.
#pragma once

#include <string_view>

namespace catenet::embedded {

std::string_view ${SYMBOL}() noexcept;

}  // namespace catenet::embedded
")

# The zero at the end is not part of the file; without it an empty file would be an array of no elements.
file(WRITE ${SOURCE} "// Made from ${name} by embed.cmake; do not edit.
#include \"${SYMBOL}.hpp\"

namespace {

constexpr unsigned char bytes[] = {
  ${bytes}0};

}  // namespace

std::string_view catenet::embedded::${SYMBOL}() noexcept {
  return {reinterpret_cast<const char*>(bytes), sizeof bytes - 1};
}
")
