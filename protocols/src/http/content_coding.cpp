// gzip by zlib, brotli by its own library. What comes out is written straight into blocks.
#include "http/content_coding.hpp"

#include <catenet/http/fields.hpp>

#include <brotli/encode.h>
#include <zlib.h>

#include <algorithm>

namespace catenet::http {

namespace {

constexpr std::size_t piece_bytes = 4096;
constexpr int gzip_window = 15 + 16;         // zlib's way to ask for a gzip wrapping
constexpr Bytef gzip_first_byte = 0x1f;      // of each member's header
constexpr int any_inflate_window = 15 + 32;  // gzip or zlib, told by the first bytes

Bytef* zlib_in(std::span<const std::byte> bytes) {
  return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));  // zlib only reads it
}

class gzip_compressor final : public compressor {
 public:
  explicit gzip_compressor(int level)
      : good_(deflateInit2(&z_, level, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY) == Z_OK) {}
  ~gzip_compressor() override {
    if (good_) deflateEnd(&z_);
  }
  gzip_compressor(const gzip_compressor&) = delete;
  gzip_compressor& operator=(const gzip_compressor&) = delete;
  [[nodiscard]] bool good() const { return good_; }

  bool add(const chain& in, chain& out, until how) override {
    for (const std::span<const std::byte> piece : in) {
      z_.next_in = zlib_in(piece);
      z_.avail_in = static_cast<uInt>(piece.size());
      if (!run(out, Z_NO_FLUSH)) return false;
    }
    z_.avail_in = 0;
    return how == until::more || run(out, how == until::end ? Z_FINISH : Z_SYNC_FLUSH);
  }

 private:
  bool run(chain& out, int flush) {
    for (;;) {
      reservation room = out.reserve(piece_bytes);
      if (!room) return false;
      z_.next_out = reinterpret_cast<Bytef*>(room.bytes().data());
      z_.avail_out = static_cast<uInt>(room.bytes().size());
      const int result = deflate(&z_, flush);
      const bool filled = z_.avail_out == 0;
      room.commit(room.bytes().size() - z_.avail_out);
      if (result == Z_STREAM_ERROR) return false;
      if (!filled) return flush != Z_FINISH || result == Z_STREAM_END;
    }
  }

  z_stream z_{};
  bool good_;
};

class brotli_compressor final : public compressor {
 public:
  explicit brotli_compressor(int level) : state_(BrotliEncoderCreateInstance(nullptr, nullptr, nullptr)) {
    if (state_ == nullptr) return;
    BrotliEncoderSetParameter(state_, BROTLI_PARAM_QUALITY, static_cast<std::uint32_t>(std::min(level, 9)));
    BrotliEncoderSetParameter(state_, BROTLI_PARAM_LGWIN, 18);  // 256 KiB: what a stream may take is bounded
  }
  ~brotli_compressor() override { BrotliEncoderDestroyInstance(state_); }
  brotli_compressor(const brotli_compressor&) = delete;
  brotli_compressor& operator=(const brotli_compressor&) = delete;
  [[nodiscard]] bool good() const { return state_ != nullptr; }

  bool add(const chain& in, chain& out, until how) override {
    for (const std::span<const std::byte> piece : in)
      if (!run(piece, out, BROTLI_OPERATION_PROCESS)) return false;
    return how == until::more ||
           run({}, out, how == until::end ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH);
  }

 private:
  bool run(std::span<const std::byte> in, chain& out, BrotliEncoderOperation operation) {
    auto* next_in = reinterpret_cast<const std::uint8_t*>(in.data());
    std::size_t left_in = in.size();
    do {
      reservation room = out.reserve(piece_bytes);
      if (!room) return false;
      auto* next_out = reinterpret_cast<std::uint8_t*>(room.bytes().data());
      std::size_t left_out = room.bytes().size();
      if (BrotliEncoderCompressStream(state_, operation, &left_in, &next_in, &left_out, &next_out, nullptr) ==
          BROTLI_FALSE)
        return false;
      room.commit(room.bytes().size() - left_out);
    } while (left_in != 0 || BrotliEncoderHasMoreOutput(state_) == BROTLI_TRUE);
    return true;
  }

  BrotliEncoderState* state_;
};

template <class T>
std::unique_ptr<compressor> made(int level) {
  auto one = std::make_unique<T>(level);
  if (!one->good()) return nullptr;
  return one;
}

}  // namespace

std::unique_ptr<compressor> compressor::make(coding c, int level) {
  switch (c) {
    case coding::gzip:
      return made<gzip_compressor>(level);
    case coding::brotli:
      return made<brotli_compressor>(level);
    case coding::identity:
      break;
  }
  return nullptr;
}

struct expander::state {
  z_stream z{};
  std::uint64_t left;
  bool members = false;  // another may follow the one that ended (gzip, RFC 1952 §2.2)
  bool ended = false;
  ~state() { inflateEnd(&z); }

  // Whether what follows the end of a member begins another one.
  bool next_member() {
    if (!members || *z.next_in != gzip_first_byte || inflateReset2(&z, gzip_window) != Z_OK) return false;
    ended = false;
    return true;
  }
  // Expands into `room` what goes in, over the ends of members. Any other result than Z_OK is a fault.
  int fill(std::span<std::byte> room) {
    z.next_out = reinterpret_cast<Bytef*>(room.data());
    z.avail_out = static_cast<uInt>(room.size());
    while (z.avail_in != 0 && z.avail_out != 0) {
      if (ended && !next_member()) return Z_DATA_ERROR;
      const int result = inflate(&z, Z_NO_FLUSH);
      ended = result == Z_STREAM_END;
      if (result != Z_OK && !ended) return result;
    }
    return Z_OK;
  }
};

expander::expander(std::unique_ptr<state> s) : state_(std::move(s)) {}
expander::~expander() = default;

std::unique_ptr<expander> expander::make(std::string_view content_encoding, std::uint64_t bytes_max) {
  const bool members =
      equal_ignoring_case(content_encoding, "gzip") || equal_ignoring_case(content_encoding, "x-gzip");
  if (!members && !equal_ignoring_case(content_encoding, "deflate")) return nullptr;
  auto s = std::make_unique<state>();
  s->left = bytes_max;
  s->members = members;
  if (inflateInit2(&s->z, any_inflate_window) != Z_OK) return nullptr;
  return std::unique_ptr<expander>{new expander{std::move(s)}};
}

expander::progress expander::add(const chain& in, chain& out) {
  state& s = *state_;
  for (const std::span<const std::byte> piece : in) {
    s.z.next_in = zlib_in(piece);
    s.z.avail_in = static_cast<uInt>(piece.size());
    while (s.z.avail_in != 0) {
      reservation room = out.reserve(piece_bytes);
      if (!room) return progress::too_long;
      const int result = s.fill(room.bytes());
      const std::size_t written = room.bytes().size() - s.z.avail_out;
      room.commit(written);
      if (written > s.left) return progress::too_long;
      s.left -= written;
      if (result != Z_OK) return progress::broken;
    }
  }
  return s.ended ? progress::end : progress::more;
}

}  // namespace catenet::http
