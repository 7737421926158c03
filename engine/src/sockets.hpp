// Listening sockets.
#pragma once

#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/error.hpp>

#include <sys/types.h>

#include <atomic>
#include <string>
#include <vector>

namespace catenet {

/// Opens a socket for each core that listens on one address: several TCP sockets share the port by
/// SO_REUSEPORT, a UNIX socket is duplicated. `where` gets the port that port 0 became. On failure nothing
/// stays open.
error open_listeners(endpoint& where, const engine_options& how, std::vector<int>& into);

/// The file that a UNIX socket listens at. Where somebody removed it and another listens at its path now,
/// that one's stays.
class socket_file {
 public:
  /// `where` is listened at now. Does nothing for what is not a path.
  explicit socket_file(const endpoint& where);
  /// Once, however often it is asked for. Any thread.
  void remove();

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  std::atomic<bool> removed_{false};
};

}  // namespace catenet
