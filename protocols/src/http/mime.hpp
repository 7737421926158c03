// Media types by the ending of a name.
#pragma once

#include <string_view>

namespace catenet::http {

/// "text/html; charset=utf-8" for "a/B.HTML"; "application/octet-stream" for what is not known.
std::string_view media_type_of(std::string_view name);

/// Whether compressing such content is worth while: text and what is made of it.
bool is_compressible(std::string_view media_type);

}  // namespace catenet::http
