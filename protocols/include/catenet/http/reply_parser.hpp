// Reads answers' heads out of a chain: strict and incremental. A head is gathered in a block of its own (512
// B first, more as it grows), so that the body behind it moves on without a copy and nothing pins the block
// it came in.
//
// The same bytes give the same result, however they are cut up. Rules: RFC 9112 §4-§6; docs/http-client.md
// lists what is refused.
#pragma once

#include <catenet/http/fault.hpp>
#include <catenet/http/head_parser.hpp>
#include <catenet/http/limits.hpp>
#include <catenet/http/reply_head.hpp>
#include <catenet/slab/chain.hpp>
#include <catenet/slab/lease.hpp>

#include <cstdint>

namespace catenet::http {

/// One head at a time. Stays on one core.
class reply_parser {
 public:
  using progress = head_parser::progress;

  /// Reads on from `input`. On `complete` the input begins behind the head, whose views point into this
  /// parser.
  progress next(chain& input, const limits& most, reply_head& head);

  [[nodiscard]] const fault& why() const { return fault_; }
  /// No byte of a head has been seen.
  [[nodiscard]] bool untouched() const { return length_ == 0; }
  /// Forgets the head that was read, for the next one.
  void reset();

 private:
  bool grow();

  lease block_;
  std::uint32_t length_ = 0;  // bytes gathered
  head_scan scan_;
  fault fault_;
};

}  // namespace catenet::http
