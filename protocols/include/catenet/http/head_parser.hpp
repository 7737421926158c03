// Reads request heads out of a chain: strict, incremental, and without copying where a head lies in one
// piece.
//
//   whole in the front segment      one pass; views point into the segment            (the fast path)
//   cut short, or across segments   gathered in one block, 512 B first, 4 KiB, … as it grows; each complete
//   line is
//                                   checked when it is complete, so what is wrong is found as early as it can
//                                   be
//
// Either way the same bytes give the same answer. Rules: RFC 9112 §2–§6; docs/http.md lists what is refused
// and how.
#pragma once

#include <catenet/http/fault.hpp>
#include <catenet/http/limits.hpp>
#include <catenet/http/request_head.hpp>
#include <catenet/slab/chain.hpp>
#include <catenet/slab/lease.hpp>

#include <cstdint>

namespace catenet::http {

/// How far a head was read.
struct head_scan {
  std::uint32_t line = 0;    ///< where the current line begins
  std::uint32_t at = 0;      ///< between line and here there is no control byte
  std::uint16_t fields = 0;  ///< complete ones
  bool first_done = false;   ///< the request line is complete and valid
};

/// One head at a time; takes 48 bytes, and a block only while an incomplete head is gathered. Stays on one
/// core.
class head_parser {
 public:
  enum class progress : std::uint8_t {
    more,      ///< everything was taken from the input; the head is not complete
    complete,  ///< `head` is filled in
    broken,    ///< why() says what is wrong; nothing more can be read
  };

  /// Reads on from `input`. On `complete`, when in_place(), the head's bytes are the first head.bytes ones of
  /// the input, still in it: split them off to keep the views, or consume them when done with them. Otherwise
  /// they were gathered: take_gathered() gives the block that holds them, and the input begins behind the
  /// head.
  progress next(chain& input, const limits& most, request_head& head);

  [[nodiscard]] bool in_place() const { return !block_; }
  [[nodiscard]] chain take_gathered();
  [[nodiscard]] const fault& why() const { return fault_; }
  /// For the log, of a head that is broken or not complete: method name, target and version, where the
  /// request line was read and is good; nothing else. `input` as next() left it.
  void recall(const chain& input, request_head& head) const;

  /// Nothing of a next head has been seen (empty lines before it do not count).
  [[nodiscard]] bool idle() const { return length_ == 0 && !cr_seen_; }
  /// Not even an empty line was skipped.
  [[nodiscard]] bool untouched() const { return idle() && empty_lines_ == 0; }
  /// Bytes rented for a partial head.
  [[nodiscard]] std::size_t rented_bytes() const { return block_.bytes().size(); }
  /// Forgets the head that was read, for the next one.
  void reset();

 private:
  progress skip_empty_lines(chain& input, const limits& most);
  progress gather(chain& input, const limits& most, request_head& head);
  bool grow();

  lease block_;
  std::uint32_t length_ = 0;  // bytes gathered
  head_scan scan_;
  std::uint8_t empty_lines_ = 0;
  bool cr_seen_ = false;  // a CR that begins an empty line
  fault fault_;
};

/// The fields of a trailer section (RFC 9112 §7.1.2), which are checked, and kept apart from the head's for
/// ever. Names that say how a message is framed, routed or authorised are left out (RFC 9110 §6.5.1).
class trailer_parser {
 public:
  using progress = head_parser::progress;
  /// Reads on; `complete` leaves the input behind the final CR LF.
  progress next(chain& input, const limits& most);
  [[nodiscard]] const fault& why() const { return fault_; }
  /// The text of the section, line by line with CR LF, as it was sent.
  [[nodiscard]] std::string_view text() const {
    return {reinterpret_cast<const char*>(block_.bytes().data()), length_};
  }
  /// The value of the first trailer of that name which may be used.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  /// Calls f(field) for each trailer that may be used.
  template <class F>
  void for_each(F&& f) const {
    for (std::string_view rest = text(); rest.size() > 2;) {
      field one;
      rest = cut_line(rest, one);
      if (allowed(one.name)) f(one);
    }
  }

 private:
  static std::string_view cut_line(std::string_view text, field& into);
  static bool allowed(std::string_view name);

  lease block_;
  std::uint32_t length_ = 0;
  head_scan scan_{0, 0, 0, true};
  fault fault_;
};

}  // namespace catenet::http
