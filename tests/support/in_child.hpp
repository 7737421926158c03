// A test in a process of its own: for what cannot be taken back, such as signals, limits and filters.
#pragma once

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <iterator>
#include <type_traits>

namespace catenet::test {

/// What a child ends with where the sandbox that the tests run in allows no filter.
inline constexpr int no_filter_here = 77;

/// Runs `body` in a child process. Its status: what `body` returns, or, when it returns nothing, whether an
/// expectation failed in it; 128 and more: the signal that ended it.
template <class F>
int in_child(F body) {
  const pid_t child = fork();
  if (child == 0) {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      _exit(testing::Test::HasFailure() ? 1 : 0);
    } else {
      _exit(body());
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// From here on, the system call fails with that errno in this thread and those that it makes. Whether such a
/// filter is allowed here.
inline bool refuse_system_call(long call, int code) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(code)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace catenet::test
