# Finds liburing: the imported target catenet_liburing, and liburing_VERSION where pkg-config can tell it.
find_package(PkgConfig QUIET)
if(PKG_CONFIG_FOUND)
  pkg_check_modules(PC_liburing QUIET liburing)
endif()
find_path(liburing_INCLUDE_DIR liburing.h HINTS ${PC_liburing_INCLUDE_DIRS})
find_library(liburing_LIBRARY uring HINTS ${PC_liburing_LIBRARY_DIRS})
mark_as_advanced(liburing_INCLUDE_DIR liburing_LIBRARY)
if(PC_liburing_VERSION)
  set(liburing_VERSION ${PC_liburing_VERSION})
else()
  set(liburing_VERSION ${liburing_FIND_VERSION})  # not known: taken to be good, the compiler will tell
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(liburing REQUIRED_VARS liburing_LIBRARY liburing_INCLUDE_DIR
                                  VERSION_VAR liburing_VERSION)
if(liburing_FOUND AND NOT TARGET catenet_liburing)
  add_library(catenet_liburing UNKNOWN IMPORTED GLOBAL)
  set_target_properties(catenet_liburing PROPERTIES IMPORTED_LOCATION ${liburing_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${liburing_INCLUDE_DIR})
endif()
