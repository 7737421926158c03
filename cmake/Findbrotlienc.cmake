# Finds brotli's encoder: the imported target catenet_brotlienc.
find_path(brotlienc_INCLUDE_DIR brotli/encode.h)
find_library(brotlienc_LIBRARY brotlienc)
mark_as_advanced(brotlienc_INCLUDE_DIR brotlienc_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(brotlienc REQUIRED_VARS brotlienc_LIBRARY brotlienc_INCLUDE_DIR)
if(brotlienc_FOUND AND NOT TARGET catenet_brotlienc)
  add_library(catenet_brotlienc UNKNOWN IMPORTED GLOBAL)
  set_target_properties(catenet_brotlienc PROPERTIES IMPORTED_LOCATION ${brotlienc_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${brotlienc_INCLUDE_DIR})
endif()
