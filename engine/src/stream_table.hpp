// Where a core's streams live: chunks of 64 KiB, aligned, filled from the front, so a stream is found by its
// slot, and its core by masking its address; no pointer a stream is spent on either.
#pragma once

#include <catenet/engine/stream.hpp>

#include "fault.hpp"

#include <mimalloc.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace catenet {

class stream_table {
 public:
  /// A slot that no stream ever has: the token of the core's watches bears it.
  static constexpr std::uint32_t slot_of_watches = 1023;

  explicit stream_table(core& of) : core_(of) {}
  ~stream_table() {
    for (chunk* c : chunks_) mi_free(c);
  }
  stream_table(const stream_table&) = delete;
  stream_table& operator=(const stream_table&) = delete;

  /// A free stream with a fresh generation, or null when memory ran out.
  stream* take() {
    stream* s = free_;
    if (s != nullptr)
      free_ = static_cast<stream*>(s->session_);
    else if (s = fresh(); s == nullptr)
      return nullptr;
    s->session_ = nullptr;
    s->generation_ = (s->generation_ + 1) & 0xffffff;
    if (s->generation_ == 0) s->generation_ = 1;
    ++live_;
    return s;
  }

  void give(stream* s) {
    s->session_ = free_;
    free_ = s;
    --live_;
  }

  [[nodiscard]] stream* at(std::uint32_t slot, std::uint32_t generation) const {
    const std::uint32_t c = slot >> slot_bits;
    const std::uint32_t i = slot & (slots - 1);
    if (c >= chunks_.size() || i >= per_chunk || (c + 1 == chunks_.size() && i >= filled_)) return nullptr;
    stream* s = chunks_[c]->streams() + i;
    const bool same = s->generation_ == generation || faulty(fault::stale_handle);
    return same && s->fd_ >= 0 ? s : nullptr;
  }

  template <class F>
  void for_each(F&& f) {
    for (std::size_t c = 0; c != chunks_.size(); ++c) {
      const std::size_t used = c + 1 == chunks_.size() ? filled_ : per_chunk;
      for (std::size_t i = 0; i != used; ++i)
        if (stream& s = chunks_[c]->streams()[i]; s.fd_ >= 0) f(s);
    }
  }

  [[nodiscard]] std::size_t live() const { return live_; }

  static core& core_of(const stream* s) { return *chunk_of(s)->owner; }
  static std::uint32_t slot_of(const stream* s) {
    chunk* c = chunk_of(s);
    return c->index << slot_bits | static_cast<std::uint32_t>(s - c->streams());
  }

 private:
  static constexpr std::size_t chunk_size = 64 << 10;
  static constexpr unsigned slot_bits = 10;
  static constexpr std::uint32_t slots = 1 << slot_bits;

  struct chunk {
    core* owner;
    std::uint32_t index;
    stream* streams() { return reinterpret_cast<stream*>(reinterpret_cast<std::byte*>(this) + 64); }
  };
  static constexpr std::uint32_t per_chunk = (chunk_size - 64) / sizeof(stream);
  static_assert(per_chunk < slots);

  static chunk* chunk_of(const stream* s) {
    return reinterpret_cast<chunk*>(reinterpret_cast<std::uintptr_t>(s) & ~(chunk_size - 1));
  }

  stream* fresh() {
    if (chunks_.empty() || filled_ == per_chunk) {
      void* memory = mi_malloc_aligned(chunk_size, chunk_size);
      if (memory == nullptr) return nullptr;
      chunks_.push_back(new (memory) chunk{&core_, static_cast<std::uint32_t>(chunks_.size())});
      filled_ = 0;
    }
    return new (chunks_.back()->streams() + filled_++) stream;
  }

  core& core_;
  std::vector<chunk*> chunks_;
  std::uint32_t filled_ = 0;  // streams constructed in the last chunk
  stream* free_ = nullptr;
  std::size_t live_ = 0;
};

}  // namespace catenet
