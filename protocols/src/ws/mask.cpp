// Masking, four vector registers a step, and keys for our own client.
#include "ws/mask_chain.hpp"

#include <openssl/rand.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace catenet::ws {

namespace {

// One register of every 64-bit machine that GCC and Clang know, and one of those that have AVX2.
using vector16 [[gnu::vector_size(16)]] = std::uint64_t;
using vector32 [[gnu::vector_size(32)]] = std::uint64_t;

// Masks as many whole steps as there are; returns where the rest begins. Inlined, so that it is compiled for
// the machine of its caller.
template <class Vector>
[[gnu::always_inline]] inline std::byte* mask_steps(std::byte* at, const std::byte* end,
                                                    std::uint64_t eight) {
  constexpr std::ptrdiff_t step = 4 * sizeof(Vector);
  Vector mask;
  for (std::size_t i = 0; i != sizeof mask / sizeof eight; ++i) mask[i] = eight;
  for (; end - at >= step; at += step) {
    Vector a, b, c, d;
    std::memcpy(&a, at, sizeof a);
    std::memcpy(&b, at + sizeof a, sizeof b);
    std::memcpy(&c, at + 2 * sizeof a, sizeof c);
    std::memcpy(&d, at + 3 * sizeof a, sizeof d);
    a ^= mask, b ^= mask, c ^= mask, d ^= mask;
    std::memcpy(at, &a, sizeof a);
    std::memcpy(at + sizeof a, &b, sizeof b);
    std::memcpy(at + 2 * sizeof a, &c, sizeof c);
    std::memcpy(at + 3 * sizeof a, &d, sizeof d);
  }
  return at;
}

using steps = std::byte* (*)(std::byte*, const std::byte*, std::uint64_t);

std::byte* mask_plainly(std::byte* at, const std::byte* end, std::uint64_t eight) {
  return mask_steps<vector16>(at, end, eight);
}

#ifdef __x86_64__
[[gnu::target("avx2")]] std::byte* mask_by_avx2(std::byte* at, const std::byte* end, std::uint64_t eight) {
  return mask_steps<vector32>(at, end, eight);
}
steps best_steps() { return __builtin_cpu_supports("avx2") ? mask_by_avx2 : mask_plainly; }
#else
steps best_steps() { return mask_plainly; }
#endif

// Word by word, then byte by byte.
void mask_rest(std::byte* at, const std::byte* end, std::uint64_t eight, mask_key key) {
  for (; end - at >= 8; at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    word ^= eight;
    std::memcpy(at, &word, sizeof word);
  }
  for (std::size_t i = 0; at != end; ++at, ++i) *at ^= key[i & 3];
}

std::uint64_t twice(mask_key key) {
  std::uint32_t four;
  std::memcpy(&four, key.data(), sizeof four);
  return std::uint64_t{four} << 32 | four;  // the same in either byte order
}

// From so many bytes on it pays to begin at the border of a register: what crosses cache lines costs twice.
constexpr std::size_t aligned_bytes_min = 512;

}  // namespace

void apply_mask(std::span<std::byte> bytes, mask_key key) {
  std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size();
  if (bytes.size() >= aligned_bytes_min) {
    static const steps most = best_steps();
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(at) % sizeof(vector32);
    mask_rest(at, at + before, twice(key), key);
    key = advanced(key, before);
    at = most(at + before, end, twice(key));
  }
  at = mask_plainly(at, end, twice(key));
  mask_rest(at, end, twice(key), key);
}

bool apply_mask(chain& bytes, mask_key key) {
  bool all_ours = true;
  for (const segment* s = bytes.head(); s != nullptr; s = s->next) all_ours = all_ours && s->exclusive;
  if (!all_ours) {
    chain copy = chain::of_size(bytes.bytes());
    std::uint64_t at = 0;
    for (const segment* s = copy.head(); s != nullptr; s = s->next)
      at += bytes.copy_to({s->data, s->length}, at);
    if (at != bytes.bytes()) return false;
    bytes = std::move(copy);
  }
  for (const segment* s = bytes.head(); s != nullptr; s = s->next) {
    apply_mask({s->data, s->length}, key);
    key = advanced(key, s->length);
  }
  return true;
}

mask_key fresh_mask() {
  // A call of the generator costs far more than the four bytes, so they are drawn a few hundred at a time.
  static thread_local std::array<unsigned char, 256> drawn;
  static thread_local std::size_t used = drawn.size();
  if (used == drawn.size()) {
    if (RAND_bytes(drawn.data(), static_cast<int>(drawn.size())) != 1) {
      std::fputs("catenet: the system's random generator failed; no masks can be made\n", stderr);
      std::abort();
    }
    used = 0;
  }
  mask_key key;
  std::memcpy(key.data(), drawn.data() + used, key.size());
  std::memset(drawn.data() + used, 0, key.size());
  used += key.size();
  return key;
}

}  // namespace catenet::ws
