// Files that are passed on while they come. Who uploads sends one binary message at /upload/NAME, up to
// 1 GiB; who listens at /download/NAME gets it in pieces, each a binary message, and then a text message with
// the count of all its bytes, which is the uploader's answer too. The server never holds the whole.
#pragma once

#include <catenet/ws/connection.hpp>
#include <catenet/ws/options.hpp>

#include <string_view>

namespace catenet::examples {

/// Both take what all routes of the chat have in common. The caller lets people in, and then calls
/// begin_upload or begin_download from `opened`.
ws::options uploading(ws::options base);
ws::options downloading(ws::options base);

void begin_upload(ws::connection& c, std::string_view name);
void begin_download(ws::connection& c, std::string_view name);

}  // namespace catenet::examples
