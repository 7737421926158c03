// A segment: one link of a chain, which names bytes that lie somewhere and holds one reference to who owns
// them.
//
//    chain ──▶ segment ──▶ segment ──▶ segment
//                │ block      │ foreign    │ file region
//                ▼            ▼            ▼
//              block        memory + release   {fd, offset, length}
//
// A block's descriptor has one segment built in, so a block that is in one chain costs nothing more; every
// further view of it takes an overflow segment of 32 bytes. A segment belongs to the pool that made it
// (`home`): only there are references counted, so only there may it end. Elsewhere it is put in the outbox
// and travels home.
#pragma once

#include <cstddef>
#include <cstdint>

namespace catenet {

struct block;
struct segment;

/// Whose bytes a segment names.
enum class segment_kind : std::uint8_t {
  block,     ///< part of a leased block (a view)
  foreign,   ///< memory of someone else, told by a release function when the last view ends
  constant,  ///< memory that lives as long as the process; nothing to release
  file,      ///< a region of a file: never in memory here, only sendable
  proxy,     ///< a view of bytes whose home is another pool, shared here by a count of this pool
  parcel,    ///< not in chains: many segments on their way home together
};

/// Pool number; a thread that rents has one.
using pool_id = std::uint16_t;
inline constexpr pool_id no_pool = 0xffff;

/// Memory that is not the slab's, with how to give it back. Counted at home only.
struct foreign_memory {
  std::uint32_t refs = 1;
  void (*release)(void* context, void* data,
                  std::size_t size) = nullptr;  ///< called once, on the home thread
  void* context = nullptr;
  void* data = nullptr;
  std::size_t size = 0;
};

/// An open file that segments refer to. Closed with the last reference when `owned`.
struct file_reference {
  std::uint32_t refs = 1;
  int fd = -1;
  bool owned = false;
  foreign_memory* keeper = nullptr;  ///< what keeps the descriptor open when it is not ours; one reference
};

/// Stands at one pool for a single segment of another pool, so that it can be shared here without atomics.
struct proxy_reference {
  std::uint32_t refs = 1;
  segment* original = nullptr;  ///< goes home when refs reaches 0
};

struct segment {
  union {
    segment* next;
    struct block* next_free;  ///< of a free block's built-in segment: the next free block
  };
  union {
    std::byte* data;       ///< first byte (every kind but file)
    std::uint64_t offset;  ///< first byte's place in the file (kind file)
  };
  union {
    struct block* blk;
    foreign_memory* foreign;
    file_reference* file;
    proxy_reference* proxy;
  };
  std::uint32_t length;  ///< bytes, never 0 inside a chain
  pool_id home;
  segment_kind kind;
  bool in_flight : 1;  ///< counted in its block's in_flight
  bool exclusive : 1;  ///< no other view overlaps these bytes, so its holder may change them in place
  bool charged : 1;    ///< an overflow segment for which its block's payer pays
  std::uint8_t spare : 5;

  /// Sets home, kind and the marks (to false).
  void label(pool_id at, segment_kind what) {
    home = at;
    kind = what;
    clear_marks();
  }
  /// All eight bits, so that it is a store and no more.
  void clear_marks() {
    in_flight = false;
    exclusive = false;
    charged = false;
    spare = 0;
  }
};
static_assert(sizeof(segment) == 32, "half a descriptor: a shared view costs 32 bytes");

/// A file region longer than this is several segments: `length` is 32 bits wide.
inline constexpr std::uint64_t file_segment_bytes_max = std::uint64_t{1} << 30;

}  // namespace catenet
