// Two hosts on this machine: network namespaces of the test's own, joined by a pair of virtual Ethernet
// devices. Needs root and iproute2; what is missing is told, for the test to be skipped.
//
//   here (the calling thread, until the object ends)  v0 10.99.0.1 ══ v1 10.99.0.2  there
#pragma once

#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace catenet::test {

/// How the far device takes a packet.
enum class far_device : std::uint8_t {
  plain,  ///< as veth does: it stays the sender's packet until the far host has it, for which it is copied
  takes_pages,  ///< as hardware does: its own copy is made behind the sender's back, by way of an XDP program
};

class two_hosts {
 public:
  static constexpr std::string_view here = "10.99.0.1:0";

  explicit two_hosts(far_device device) { join(device); }
  ~two_hosts() {
    if (before_ >= 0) enter(before_);
    for (const int fd : {before_, here_, there_, program_, link_})
      if (fd >= 0) ::close(fd);
  }
  two_hosts(const two_hosts&) = delete;
  two_hosts& operator=(const two_hosts&) = delete;

  /// What could not be had, and why; empty when all is there.
  [[nodiscard]] const std::string& missing() const { return missing_; }

  /// Runs f there: sockets belong to the host that they are made on.
  template <class F>
  void there(F f) {
    enter(there_);
    f();
    enter(here_);
  }

 private:
  void join(far_device device) {
    before_ = this_namespace();
    if (before_ < 0 || unshare(CLONE_NEWNET) != 0) return miss("a network namespace (unshare)");
    here_ = this_namespace();
    if (unshare(CLONE_NEWNET) != 0) return miss("a second one (unshare)");
    there_ = this_namespace();
    enter(here_);
    const std::string far = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(there_);
    if (!ip("link add v0 type veth peer name v1 netns " + far) || !ip("addr add 10.99.0.1/24 dev v0") ||
        !ip("link set lo up") || !ip("link set v0 up"))
      return miss("a pair of veth devices (ip)");
    there([&] {
      if (!ip("addr add 10.99.0.2/24 dev v1") || !ip("link set v1 up")) return miss("the far device (ip)");
      if (device == far_device::takes_pages && !take_pages()) miss("an XDP program (bpf)");
    });
  }

  static int this_namespace() { return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }
  static void enter(int ns) { setns(ns, CLONE_NEWNET); }
  static bool ip(const std::string& what) {
    return std::system(("ip " + what + " 2>/dev/null").c_str()) == 0;
  }
  void miss(const char* what) {
    if (missing_.empty()) missing_ = std::string(what) + ": " + std::strerror(errno);
  }

  static int bpf(int command, bpf_attr& about) {
    return static_cast<int>(syscall(SYS_bpf, command, &about, sizeof about));
  }

  // A program that lets everything pass. With one attached, veth makes packets of its own from those that it
  // is handed, which are then done with: to the sender, as if a card had read them.
  bool take_pages() {
    std::array<bpf_insn, 2> program{};
    program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
    program[0].imm = XDP_PASS;
    program[1].code = BPF_JMP | BPF_EXIT;
    bpf_attr load{};
    load.prog_type = BPF_PROG_TYPE_XDP;
    load.insns = reinterpret_cast<std::uintptr_t>(program.data());
    load.insn_cnt = program.size();
    load.license = reinterpret_cast<std::uintptr_t>("GPL");
    program_ = bpf(BPF_PROG_LOAD, load);
    bpf_attr attach{};
    attach.link_create.prog_fd = static_cast<std::uint32_t>(program_);
    attach.link_create.target_ifindex = if_nametoindex("v1");
    attach.link_create.attach_type = BPF_XDP;
    link_ = program_ < 0 ? -1 : bpf(BPF_LINK_CREATE, attach);
    return link_ >= 0;
  }

  int before_ = -1, here_ = -1, there_ = -1, program_ = -1, link_ = -1;
  std::string missing_;
};

}  // namespace catenet::test
