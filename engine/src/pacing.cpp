// Who paces, asked of the socket, and who does not in its place.
#include "pacing.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <string_view>

namespace catenet {

void leave_out_pacing(int fd, const endpoint& where) {
  constexpr std::string_view paces = "bbr";
  constexpr std::string_view instead = "reno";
  if (!where.is_loopback()) return;
  std::array<char, 16> name{};  // TCP_CA_NAME_MAX
  socklen_t length = name.size();
  if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &length) != 0) return;
  if (!std::string_view(name.data()).starts_with(paces)) return;
  // A host that refuses it goes on pacing, which is as right and only slower.
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, instead.data(), static_cast<socklen_t>(instead.size()));
}

}  // namespace catenet
