# Headers, archives, the CMake package and catenet.pc. Nothing holds the prefix, so an installed tree can be moved.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/catenet)

foreach(floor IN ITEMS slab engine protocols)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${floor}/include)
    install(DIRECTORY ${floor}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.hpp)
  endif()
endforeach()
install(TARGETS catenet catenet_slab catenet_engine catenet_protocols catenet_simulation EXPORT catenet
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT catenet NAMESPACE catenet:: FILE catenet-targets.cmake DESTINATION ${package_dir})

if(CATENET_LTO AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # The intermediate half of a fat object is of use to exactly this compiler, and an error to another GCC: leave it out.
  foreach(floor IN ITEMS slab engine protocols)
    install(CODE "execute_process(COMMAND \"${CMAKE_OBJCOPY}\" --wildcard --remove-section=.gnu.lto_* \
      --remove-section=.gnu.debuglto_* --strip-symbol=__gnu_lto_* \
      \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/libcatenet_${floor}.a\" COMMAND_ERROR_IS_FATAL ANY)")
  endforeach()
endif()

configure_package_config_file(cmake/catenet-config.cmake.in ${PROJECT_BINARY_DIR}/catenet-config.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/catenet-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/catenet-config.cmake ${PROJECT_BINARY_DIR}/catenet-config-version.cmake
              cmake/catenet_dependencies.cmake cmake/Findliburing.cmake cmake/Findbrotlienc.cmake
              DESTINATION ${package_dir})

# Only archives are installed, so that every user needs all that they need: it stands in Libs and Requires, where
# `pkg-config --libs` finds it without --static.
file(RELATIVE_PATH pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
set(pc_cflags "")
if(CATENET_CHECKS)
  set(pc_cflags " -DCATENET_CHECKS=1")
endif()
configure_file(cmake/catenet.pc.in ${PROJECT_BINARY_DIR}/catenet.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/catenet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
