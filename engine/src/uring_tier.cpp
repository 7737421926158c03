// The ladder of io_uring's set-up, and a probe of each feature.
#include "uring_tier.hpp"

#include <catenet/engine/log.hpp>

#include <cerrno>
#include <fstream>
#include <optional>
#include <string>

namespace catenet {

namespace {

constexpr unsigned submission_entries = 1024;
constexpr unsigned completion_entries = 8192;  // an overflow loses nothing, but costs a system call

// Newer than liburing 2.3's header: include/uapi/linux/io_uring.h.
constexpr unsigned feature_bundle = 1u << 14;    // IORING_FEAT_RECVSEND_BUNDLE, 6.10
constexpr unsigned feature_min_wait = 1u << 15;  // IORING_FEAT_MIN_TIMEOUT, 6.12

// SUBMIT_ALL is 5.18, COOP_TASKRUN 5.19, SINGLE_ISSUER 6.0, DEFER_TASKRUN 6.1.
constexpr unsigned base_flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;

std::string sysctl_value(const char* path) {
  std::ifstream in(path);
  std::string value;
  std::getline(in, value);
  return value;
}

std::string advice_for(int code) {
  const std::string disabled = sysctl_value("/proc/sys/kernel/io_uring_disabled");
  if (!disabled.empty() && disabled != "0" && code == EPERM)
    return "the sysctl kernel.io_uring_disabled is " + disabled + "; set it to 0, or use --io epoll";
  if (code == ENOSYS)
    return "this kernel has no io_uring, or a seccomp profile hides it (Docker's default one does)";
  if (code == EPERM)
    return "a seccomp profile or security module refuses io_uring (Docker's default profile does)";
  if (code == ENOMEM) return "RLIMIT_MEMLOCK is too low for the ring; raise it (ulimit -l)";
  if (code == EINVAL) return "the kernel is older than 6.0, which this back end needs";
  return {};
}

int queue_init(unsigned flags, io_uring& ring) {
  io_uring_params params{};
  params.flags = flags;
  params.cq_entries = completion_entries;
  return io_uring_queue_init_params(submission_entries, &ring, &params);
}

// Collects what is there and, for the log, why the rest is not.
class finding {
 public:
  finding(io_features without, uring_tier& tier) : without_(without), tier_(tier) {}

  void look(io_feature f, bool there, std::optional<io_feature> upon = {}) {
    if (there && !without_.has(f)) return tier_.features.add(f);
    const io_feature_facts& facts = io_features_known[static_cast<std::size_t>(f)];
    missing_ += missing_.empty() ? "" : ", ";
    missing_ += facts.name;
    if (without_.has(f))
      missing_ += " (left out by --io-without)";
    else if (upon && !tier_.features.has(*upon))
      missing_ += " (it needs " + std::string(io_features_known[static_cast<std::size_t>(*upon)].name) + ")";
    else
      missing_ += " (kernel " + std::string(facts.since) + " brought it; this one refuses it)";
  }
  [[nodiscard]] const std::string& missing() const { return missing_; }

 private:
  io_features without_;
  uring_tier& tier_;
  std::string missing_;
};

// The fastest rung first.
int climb(io_features without, uring_tier& tier, io_uring& ring) {
  const bool single = !without.has(io_feature::single);
  int result = -EINVAL;
  if (single && !without.has(io_feature::defer)) {
    tier.setup_flags = base_flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    result = queue_init(tier.setup_flags, ring);
  }
  if (single && result == -EINVAL) {
    tier.setup_flags = base_flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN;
    result = queue_init(tier.setup_flags, ring);
  }
  if (result == -EINVAL) {
    tier.setup_flags = base_flags | IORING_SETUP_COOP_TASKRUN;
    result = queue_init(tier.setup_flags, ring);
  }
  return result;
}

bool has_opcode(io_uring& ring, int opcode) {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  const bool there = probe != nullptr && io_uring_opcode_supported(probe, opcode) != 0;
  io_uring_free_probe(probe);
  return there;
}

// A filter may allow to make a ring and not to use it.
int enter_once(io_uring& ring) {
  io_uring_prep_nop(io_uring_get_sqe(&ring));
  const int result = io_uring_submit_and_wait(&ring, 1);
  io_uring_cqe* c = nullptr;
  if (result >= 0 && io_uring_peek_cqe(&ring, &c) == 0) io_uring_cqe_seen(&ring, c);
  return result;
}

// A kernel that knows no registered memory for this refuses the send as such; another looks for the
// descriptor.
bool sends_from_registered_memory(io_uring& ring) {
  msghdr nothing{};
  io_uring_sqe* s = io_uring_get_sqe(&ring);
  io_uring_prep_sendmsg_zc(s, -1, &nothing, 0);
  s->ioprio |= IORING_RECVSEND_FIXED_BUF;
  io_uring_cqe* c = nullptr;
  if (io_uring_submit_and_wait(&ring, 1) < 0 || io_uring_peek_cqe(&ring, &c) != 0) return false;
  const bool there = c->res == -EBADF;
  io_uring_cqe_seen(&ring, c);
  return there;
}

// An enter of our own writes the submission ring's tail as liburing's would: that needs slots that name
// themselves.
bool slots_name_themselves(const io_uring& ring) {
  for (unsigned i = 0; i != ring.sq.ring_entries; ++i)
    if (ring.sq.array[i] != i) return false;
  return true;
}

}  // namespace

error uring_failed(const char* what, int code) { return {what, "io_uring", code, advice_for(code)}; }

error set_up_ring(const uring_tier& tier, io_uring& ring) {
  const int result = queue_init(tier.setup_flags, ring);
  return result < 0 ? uring_failed("io_uring_setup", -result) : error{};
}

error probe_uring(io_features without, uring_tier& tier) {
  io_uring ring{};
  const int result = climb(without, tier, ring);
  if (result < 0) return uring_failed("io_uring_setup", -result);
  if (const int refused = enter_once(ring); refused < 0) {
    io_uring_queue_exit(&ring);
    return uring_failed("io_uring_enter", -refused);
  }
  finding found(without, tier);
  found.look(io_feature::ring_fd, io_uring_register_ring_fd(&ring) > 0);
  found.look(io_feature::message, has_opcode(ring, IORING_OP_MSG_RING));
  found.look(io_feature::single, (tier.setup_flags & IORING_SETUP_SINGLE_ISSUER) != 0);
  found.look(io_feature::defer, (tier.setup_flags & IORING_SETUP_DEFER_TASKRUN) != 0, io_feature::single);
  found.look(io_feature::large, true);
  found.look(io_feature::bundle, (ring.features & feature_bundle) != 0);
  found.look(io_feature::zc, has_opcode(ring, IORING_OP_SENDMSG_ZC));
  found.look(io_feature::fixed, tier.features.has(io_feature::zc) && sends_from_registered_memory(ring),
             io_feature::zc);
  found.look(io_feature::min_wait, (ring.features & feature_min_wait) != 0 && slots_name_themselves(ring));
  io_uring_queue_exit(&ring);
  log(log_level::info, "io_uring: in use are " + tier.features.text());
  if (!found.missing().empty())
    log(log_level::warning,
        "io_uring: goes without " + found.missing() + "; slower, and nothing else is lost");
  return {};
}

}  // namespace catenet
