// A page body: bytes that never change again (a static file's cache, a prepared answer, one message to many),
// kept in pages that the kernel can send by reference. It is a chain segment like any other memory; where it
// is long enough a stream sends it by sendfile from the memfd beneath, and nothing is copied, on loopback
// either.
//
//   page_body ─▶ pages [at, at + bytes) of an extent (a memfd, mapped read-only)
//   view()    ─▶ segment: data in the mapping, and by its release function known to be such pages
//
// Nothing tells when a peer has read a page that was sent by reference. So pages are never written again:
// when the last view ends, a hole is punched; a send that still reads them keeps the old pages, and who gets
// the range next gets new ones.
#pragma once

#include <catenet/slab/chain.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace catenet {

/// What its making may cost.
enum class body_life : std::uint8_t {
  lasting,  ///< sent often: from 1 MiB on in large folios (2 MiB each), which cost about a quarter less to
            ///< send and some ms to make; up to 1 MiB of memory more than its bytes
  passing,  ///< sent to many once, as a published message is
};

/// A reference to the pages; copies share them. Thread-safe as a shared_ptr is. An empty one has no bytes.
class page_body {
 public:
  page_body() = default;
  /// Copies the bytes into pages of their own. Empty when there were none, or memory or descriptors ran out
  /// (errno says which). Any thread; takes a lock and system calls, so it is for what is made rarely and sent
  /// often.
  static page_body copy_of(std::span<const std::byte> bytes, body_life life = body_life::lasting);
  /// The same of a chain's memory; empty as well when the chain has a file region.
  static page_body copy_of(const chain& bytes, body_life life = body_life::lasting);

  [[nodiscard]] std::uint64_t bytes() const;
  explicit operator bool() const { return bytes() != 0; }

  /// The bytes [offset, offset + length), cut to what there is, as a chain that keeps the pages. For the
  /// calling thread's pool. Empty when the range is, or no segment was to be had.
  [[nodiscard]] chain view(std::uint64_t offset = 0, std::uint64_t length = ~std::uint64_t{0}) const;

  /// The whole as memory; valid while this (or a copy, or a view) lives.
  [[nodiscard]] std::span<const std::byte> memory() const;

  struct pages;  ///< private to the engine

 private:
  explicit page_body(std::shared_ptr<const pages> of) : pages_(std::move(of)) {}
  std::shared_ptr<const pages> pages_;
};

/// What all page bodies of the process take.
struct page_body_statistics {
  std::uint64_t bodies = 0;
  std::uint64_t bytes = 0;    ///< of their pages
  std::uint64_t extents = 0;  ///< memfds, one descriptor each
};
[[nodiscard]] page_body_statistics page_bodies();

}  // namespace catenet
