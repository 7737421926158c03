// Masking, 64 bytes a step, and keys for our own client.
#include "ws/mask_chain.hpp"

#include <openssl/rand.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace catenet::ws {

namespace {

// Two words side by side: one vector register on every 64-bit machine that GCC and Clang know.
using vector [[gnu::vector_size(16)]] = std::uint64_t;

vector load(const std::byte* from) {
  vector v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
void store(std::byte* to, vector v) { std::memcpy(to, &v, sizeof v); }

}  // namespace

void apply_mask(std::span<std::byte> bytes, mask_key key) {
  std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint32_t four;
  std::memcpy(&four, key.data(), sizeof four);
  const std::uint64_t eight = std::uint64_t{four} << 32 | four;  // the same in either byte order
  const vector sixteen = {eight, eight};
  for (; left >= 64; left -= 64, at += 64) {
    const vector a = load(at) ^ sixteen, b = load(at + 16) ^ sixteen;
    const vector c = load(at + 32) ^ sixteen, d = load(at + 48) ^ sixteen;
    store(at, a);
    store(at + 16, b);
    store(at + 32, c);
    store(at + 48, d);
  }
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    word ^= eight;
    std::memcpy(at, &word, sizeof word);
  }
  for (std::size_t i = 0; i != left; ++i) at[i] ^= key[i & 3];
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
  thread_local std::array<unsigned char, 256> drawn;
  thread_local std::size_t used = drawn.size();
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
