// gzip by zlib, for what tests send and get.
#pragma once

#include <zlib.h>

#include <string>

namespace catenet::test {

inline std::string gzip(const std::string& plain) {
  z_stream z{};
  deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string packed(plain.size() + 1000, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  z.avail_in = static_cast<uInt>(plain.size());
  z.next_out = reinterpret_cast<Bytef*>(packed.data());
  z.avail_out = static_cast<uInt>(packed.size());
  deflate(&z, Z_FINISH);
  packed.resize(packed.size() - z.avail_out);
  deflateEnd(&z);
  return packed;
}

/// At most a MiB; "broken" when it is no whole gzip.
inline std::string gunzip(const std::string& packed) {
  z_stream z{};
  inflateInit2(&z, 15 + 32);
  std::string plain(1 << 20, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  z.avail_in = static_cast<uInt>(packed.size());
  z.next_out = reinterpret_cast<Bytef*>(plain.data());
  z.avail_out = static_cast<uInt>(plain.size());
  const int result = inflate(&z, Z_FINISH);
  plain.resize(plain.size() - z.avail_out);
  inflateEnd(&z);
  return result == Z_STREAM_END ? plain : "broken";
}

}  // namespace catenet::test
