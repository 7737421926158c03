// zlib over chains. Its memory comes from mimalloc, its output goes straight into blocks.
#include <catenet/ws/deflate.hpp>

#include <mimalloc.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

namespace catenet::ws {

namespace {

// What Z_SYNC_FLUSH ends with, and what is cut off on the wire (RFC 7692 §7.2.1).
constexpr std::array<std::byte, 4> tail = {std::byte{0x00}, std::byte{0x00}, std::byte{0xff},
                                           std::byte{0xff}};
constexpr int memory_level = 8;

void* allocate(void*, uInt items, uInt size) { return mi_mallocn(items, size); }
void release(void*, void* at) { mi_free(at); }

z_stream fresh_stream() {
  z_stream z{};
  z.zalloc = allocate;
  z.zfree = release;
  return z;
}

void set_input(z_stream& z, std::span<const std::byte> in) {
  z.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(in.data()));  // zlib only reads it
  z.avail_in = static_cast<uInt>(in.size());
}

void set_output(z_stream& z, std::span<std::byte> out) {
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
}

// After a final block others may follow (RFC 7692 §7.2.3.4), which may refer to what came before: the window
// stays where it is, so that a message of nothing but final blocks costs no more than another.
int inflate_blocks(z_stream& z) {
  int did = Z_OK;
  do {
    did = inflate(&z, Z_SYNC_FLUSH);
  } while (did == Z_STREAM_END && inflateResetKeep(&z) == Z_OK && z.avail_in != 0 && z.avail_out != 0);
  return did;
}

// Room for what `in_bytes` may become: blocks that grow with what is there already.
reservation room_behind(chain& out, std::size_t in_bytes) {
  return out.reserve(std::clamp<std::uint64_t>(std::max<std::uint64_t>(in_bytes, out.bytes()), 512, 64_KiB));
}

}  // namespace

// ---- inflating

struct inflater::stream_state {
  z_stream z = fresh_stream();
  bool ready =
      inflateInit2(&z, -window_bits_max) == Z_OK;  // the widest window reads what any was written with
  ~stream_state() {
    if (ready) inflateEnd(&z);
  }
};

inflater::inflater() : state_(std::make_unique<stream_state>()) {}
inflater::~inflater() = default;

void inflater::reset() {
  window_.clear();
  if (state_ && state_->ready) inflateReset(&state_->z);
}

void inflater::park() {
  if (!state_ || !state_->ready) return;
  std::array<std::byte, std::size_t{1} << window_bits_max> window;
  uInt size = 0;
  inflateGetDictionary(&state_->z, reinterpret_cast<Bytef*>(window.data()), &size);
  window_ = chain::copy_of(std::span{window}.first(size));
  if (window_.bytes() == size) state_.reset();  // else the slab is full, and it stays awake
}

bool inflater::wake() {
  if (state_) return state_->ready;
  state_ = std::make_unique<stream_state>();
  if (!state_->ready) return false;
  std::array<std::byte, std::size_t{1} << window_bits_max> window;
  const std::size_t size = window_.copy_to(window);
  if (size == 0) return true;
  window_.clear();
  return inflateSetDictionary(&state_->z, reinterpret_cast<const Bytef*>(window.data()),
                              static_cast<uInt>(size)) == Z_OK;
}

inflater::result inflater::feed(const chain& in, bool last, std::uint64_t bytes_max, chain& out) {
  if (!wake()) return result::no_memory;
  std::uint64_t left = bytes_max;
  for (const std::span<const std::byte> piece : in)
    if (const result r = run(piece, left, out); r != result::good) return r;
  if (!last) return result::good;
  if (const result r = run(tail, left, out); r != result::good) return r;
  // A message that was cut short ends within a block; zlib says with bit 7 that it is between two.
  return (state_->z.data_type & 128) != 0 ? result::good : result::broken;
}

inflater::result inflater::run(std::span<const std::byte> in, std::uint64_t& left, chain& out) {
  z_stream& z = state_->z;
  set_input(z, in);
  while (true) {
    reservation room = room_behind(out, std::size_t{4} * z.avail_in);
    if (!room) return result::no_memory;
    // One byte more than allowed tells that there is too much.
    const std::size_t most = left < room.bytes().size() ? left + 1 : room.bytes().size();
    set_output(z, room.bytes().first(most));
    const int did = inflate_blocks(z);
    const std::size_t made = most - z.avail_out;
    if (made > left) return result::too_big;
    left -= made;
    room.commit(made);
    if (did == Z_MEM_ERROR) return result::no_memory;
    if (did != Z_OK && did != Z_BUF_ERROR && did != Z_STREAM_END) return result::broken;
    if (z.avail_out != 0) return result::good;
  }
}

// ---- deflating

struct deflater::stream_state {
  stream_state(std::uint8_t window_bits, std::uint8_t level)
      : ready(deflateInit2(&z, level, Z_DEFLATED, -static_cast<int>(window_bits), memory_level,
                           Z_DEFAULT_STRATEGY) == Z_OK) {}
  ~stream_state() {
    if (ready) deflateEnd(&z);
  }
  z_stream z = fresh_stream();
  bool ready;
};

deflater::deflater(std::uint8_t window_bits, std::uint8_t level)
    : state_(std::make_unique<stream_state>(window_bits, level)), window_bits_(window_bits), level_(level) {}
deflater::~deflater() = default;
void deflater::reset() {
  if (state_->ready) deflateReset(&state_->z);
}

chain deflater::compress(const chain& message) {
  if (!state_->ready) return {};
  z_stream& z = state_->z;
  chain out;
  for (segment* s = message.head(); s != nullptr; s = s->next) {
    set_input(z, {s->data, s->length});
    const bool last = s->next == nullptr;
    do {
      reservation room = room_behind(out, z.avail_in / 2);
      if (!room) return {};
      set_output(z, room.bytes());
      const int did = deflate(&z, last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
      if (did != Z_OK && did != Z_BUF_ERROR) return {};
      room.commit(room.bytes().size() - z.avail_out);
    } while (z.avail_out == 0);
  }
  if (out.bytes() < tail.size()) return {};
  std::optional<chain> kept = out.split(out.bytes() - tail.size());
  return kept ? std::move(*kept) : chain{};
}

// ---- the shelf

std::unique_ptr<inflater> deflate_shelf::take_inflater() {
  used_ = true;
  if (inflaters_.empty()) return std::make_unique<inflater>();
  std::unique_ptr<inflater> one = std::move(inflaters_.back());
  inflaters_.pop_back();
  return one;
}

std::unique_ptr<deflater> deflate_shelf::take_deflater(std::uint8_t window_bits, std::uint8_t level) {
  used_ = true;
  const auto found = std::ranges::find_if(deflaters_, [&](const std::unique_ptr<deflater>& one) {
    return one->window_bits() == window_bits && one->level() == level;
  });
  if (found == deflaters_.end()) return std::make_unique<deflater>(window_bits, level);
  std::unique_ptr<deflater> one = std::move(*found);
  deflaters_.erase(found);
  return one;
}

void deflate_shelf::give(std::unique_ptr<inflater> one) {
  if (inflaters_.size() == kept_max) return;
  one->reset();
  if (empty() && filled_) filled_();
  inflaters_.push_back(std::move(one));
}

void deflate_shelf::give(std::unique_ptr<deflater> one) {
  if (deflaters_.size() == kept_max) deflaters_.erase(deflaters_.begin());  // windows of another size, maybe
  one->reset();
  if (empty() && filled_) filled_();
  deflaters_.push_back(std::move(one));
}

bool deflate_shelf::trim() {
  if (!std::exchange(used_, false)) {
    inflaters_.clear();
    deflaters_.clear();
  }
  return empty();
}

}  // namespace catenet::ws
