// Errors and errno as text.
#include <catenet/engine/error.hpp>

#include <cstring>

namespace catenet {

std::string errno_text(int code) {
  if (code == 0) return "0";
  const char* name = strerrorname_np(code);
  const char* what = strerrordesc_np(code);
  if (name == nullptr || what == nullptr) return "errno " + std::to_string(code);
  return std::string(name) + " (" + what + ")";
}

std::string error::text() const {
  std::string all = tried;
  if (!on.empty()) all += " " + on;
  if (code != 0) all += ": " + errno_text(code);
  if (!advice.empty()) all += "; " + advice;
  return all;
}

}  // namespace catenet
