// From how many bytes on sending a page body by reference costs less than copying it: measured on this host.
#pragma once

#include <cstdint>
#include <span>

namespace catenet {

struct engine_options;

/// What one send of so many bytes costs its thread, both ways.
struct reference_cost {
  std::uint64_t bytes = 0;
  double copied_us = 0;
  double by_reference_us = 0;
};

/// Where the two ways cross, by costs at growing sizes: the least of them from which on, for it and all
/// longer ones, page reference pays; twice the longest when it never does. Hysteresis: at sizes from
/// `standing` on page reference is kept until a copy costs a tenth less, below it is taken up once it costs a
/// tenth less.
[[nodiscard]] std::uint64_t crossing(std::span<const reference_cost> costs, std::uint64_t standing);

/// Measures, logs and takes the threshold from then on, in this process: about 20 ms of processor time and
/// 34 descriptors, on connections of its own over loopback. Where that cannot be done it logs why, and the
/// threshold stays. The first page body that an engine sends whose options leave it open begins this, on a
/// thread of its own. Returns the threshold. Any thread.
std::uint64_t measure_page_reference();

/// The threshold that an engine goes by: its options', or where they leave it open the measured one (16 KiB
/// until it has been measured). Any thread.
[[nodiscard]] std::uint64_t page_reference_bytes_min(const engine_options& how);

}  // namespace catenet
