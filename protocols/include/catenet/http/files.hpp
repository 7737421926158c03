// Files of a directory as answers: opened beneath it, sent as file regions, never copied here.
//
//   web.get("/assets/{path...}", http::files("/srv/assets"));
#pragma once

#include <catenet/http/handler.hpp>

#include <string>

namespace catenet::http {

/// A handler that answers GET and HEAD with the file that the parameter `path` names beneath `directory`
/// (opened now; throws std::runtime_error, saying why, when that cannot be done). A directory is answered
/// with its index.html.
///
/// Nothing outside the directory can be reached: the path is opened with openat2's RESOLVE_BENEATH
/// (Linux 5.6), so neither ".." nor a symbolic link leads out; ".", "..", empty segments, backslashes and NUL
/// are refused before that. What is refused or not there is 404; what is no regular file is 404 too. The
/// answer has Content-Type (by the name's ending), Last-Modified and a strong ETag of size and time;
/// If-None-Match is honoured with 304 (RFC 9110 §13.1.2).
handler files(const std::string& directory);

}  // namespace catenet::http
