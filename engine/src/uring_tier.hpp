// Which of io_uring's features this kernel and sandbox give, found out once at start-up.
#pragma once

#include <catenet/engine/error.hpp>
#include <catenet/engine/io_features.hpp>

#include <liburing.h>

namespace catenet {

/// What every core's ring is made with.
struct uring_tier {
  unsigned setup_flags = 0;
  io_features features;
};

/// Finds the highest tier, leaving out what `without` names, and logs once what is missing and why. An error
/// says who refuses io_uring altogether and what can be done.
error probe_uring(io_features without, uring_tier& tier);

/// A ring of that tier.
error set_up_ring(const uring_tier& tier, io_uring& ring);

/// An error of io_uring, with advice for its code.
error uring_failed(const char* what, int code);

}  // namespace catenet
