// What a protocol module implements: it is told what happens to streams. There is one instance for each
// listener (or route) and core, shared by all its streams, so an idle connection needs no object of its own
// here.
#pragma once

#include <catenet/slab/chain.hpp>

namespace catenet {

class stream;
struct error;

/// Every call comes from the loop of the stream's core, never from within a call that the protocol makes, so
/// there is no recursion. In any of them the protocol may do anything to any stream of its core, closing
/// included; a stream stays valid until its closed() has returned.
class protocol {
 public:
  virtual ~protocol() = default;

  /// A connection was accepted (or made); reading is on.
  virtual void opened(stream&) {}
  /// A connection asked for by core::connect() could not be made; the stream ends, and closed() follows.
  virtual void refused(stream&, const error& /*why*/) {}
  /// Bytes came in, at least one. They belong to the callee.
  virtual void received(stream&, chain&& bytes) = 0;
  /// The peer sends no more (FIN); what it sent was all received before. Sending still works.
  virtual void ended(stream& s);
  /// What is unsent fell to the low watermark after send() had said `queued`.
  virtual void writable(stream&) {}
  /// The stream's deadline passed (it is cleared).
  virtual void expired(stream& s);
  /// The engine is stopping: finish what is under way, then close; idle streams close at once.
  virtual void drain(stream& s);
  /// The end, told exactly once: reset by the peer, aborted, or closed; stream::end() says which. Release the
  /// session here. The stream must not be used after this returns.
  virtual void closed(stream&) {}
  /// How long its peers may take nothing of what is unsent before they are reset; `general` is what the
  /// engine's options say. Asked each time that it is looked at.
  [[nodiscard]] virtual std::uint32_t send_stall_ms(std::uint32_t general) const { return general; }
};

}  // namespace catenet
