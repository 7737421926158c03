// Cuts a stream of bytes into frames without copying a payload.
//
//   feed(chain) ─▶ [ header | payload | header | pay…  ] ─▶ next() ─▶ chain of each payload
#pragma once

#include <catenet/frame/format.hpp>
#include <catenet/slab/chain.hpp>

#include <cstdint>
#include <utility>

namespace catenet::frame {

struct limits {
  /// Longest payload that is accepted; checked as soon as a header is complete, before anything is gathered.
  std::uint64_t payload_bytes_max = 16_MiB;
};

/// The length of the frame whose header begins at the chain's first byte, checked against the limit. Consumes
/// nothing.
[[nodiscard]] header peek(const format& how, const chain& bytes, const limits& within);

/// Appends what came in to what waits. Pieces of up to 512 bytes behind an unfinished frame are copied
/// together, so that a peer that sends byte by byte does not pin a block a byte.
void gather(chain& into, chain&& bytes);

/// One a stream; used on one thread at a time. The format must outlive it.
class decoder {
 public:
  explicit decoder(const format& how, limits within = {}) : format_(&how), limits_(within) {}

  /// Takes what came in, in any pieces.
  void feed(chain&& bytes) { gather(bytes_, std::move(bytes)); }

  /// The next frame's payload (possibly empty) in `payload`, on status::frame only. After a fatal status
  /// every further call says the same.
  [[nodiscard]] status next(chain& payload);

  /// Bytes that are here and not cut yet. 0 after next() said `more`: a clean place for the stream to end.
  [[nodiscard]] std::uint64_t buffered() const { return bytes_.bytes(); }
  /// Bytes that the frame at the front still lacks, as far as is known: a hint for stream::expect(). 0 when
  /// its length is not known yet, or it is complete.
  [[nodiscard]] std::uint64_t missing() const;

 private:
  const format* format_;
  limits limits_;
  chain bytes_;
  header front_;  // of the frame at the front; `more` until it was read
};

/// Appends a frame to `out`: its header and payload. Up to 512 bytes of payload are copied behind the header,
/// longer ones are linked. False, and both chains unchanged, when the slab has no block for the header, or
/// the payload is longer than the format can tell.
[[nodiscard]] bool encode(const format& how, chain&& payload, chain& out);

}  // namespace catenet::frame
