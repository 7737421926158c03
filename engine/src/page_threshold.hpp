// Measuring the threshold of page reference at first use.
#pragma once

#include <thread>

namespace catenet {

/// Measures on a thread of its own, once in a process: that thread, to be joined, the first time, and none
/// later, nor where no thread is to be had.
[[nodiscard]] std::thread measure_page_reference_once();

}  // namespace catenet
