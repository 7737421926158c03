// The server under simulation: a line protocol whose requests use all that streams can do. Answers come in
// the order of the requests.
//
//   id N             names the connection                  no answer
//   echo N ⏎ bytes   answers the N bytes that follow       received() to send(), large receives
//   pass C N ⏎ bytes the same by way of core C             mailboxes, chains on a foreign core, handles
//   make P N         answers N bytes of the pattern at P   fresh blocks, watermarks
//   file P N         the same from a file
//   hold MS          waits                                 timers
//   stop MS          stops reading for so long             pause, resume
//   bye, die         closes, resets
#pragma once

#include <catenet/engine/core.hpp>
#include <catenet/engine/protocol.hpp>

#include "test_peer.hpp"

#include <string>

namespace catenet::test {

class line_server final : public protocol {
 public:
  line_server(core& home, ledger& book) : home_(home), book_(book) {}
  void opened(stream& s) override;
  void received(stream& s, chain&& bytes) override;
  void ended(stream& s) override;
  void writable(stream& s) override;
  void drain(stream& s) override;
  void closed(stream& s) override;
  /// A connection's state, for a person.
  static std::string text(stream& s);

 private:
  class session;
  core& home_;
  ledger& book_;
};

}  // namespace catenet::test
