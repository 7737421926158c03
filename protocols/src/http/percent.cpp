// Percent-encoding, and its way back.
#include "http/percent.hpp"

#include "http/chars.hpp"

namespace catenet::http {

bool decode_path(std::string_view path, std::string& into) {
  into.clear();
  into.reserve(path.size());
  for (std::size_t i = 0; i != path.size(); ++i) {
    if (path[i] != '%') {
      into.push_back(path[i]);
      continue;
    }
    if (path.size() - i < 3) return false;
    const int high = hex_value(static_cast<unsigned char>(path[i + 1]));
    const int low = hex_value(static_cast<unsigned char>(path[i + 2]));
    if (high < 0 || low < 0) return false;
    const auto c = static_cast<char>(high * 16 + low);
    if (is(c, char_control) || c == '\t') return false;
    into.push_back(c == '/' ? encoded_slash : c);
    i += 2;
  }
  return true;
}

std::string encode_8bit(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string all;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80)
      all += c;
    else
      all.append({'%', digits[byte >> 4], digits[byte & 15]});
  }
  return all;
}

}  // namespace catenet::http
