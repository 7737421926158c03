// Measuring the threshold of page reference at first use.
#pragma once

namespace catenet {

/// The first call in a process begins to measure, on a thread of its own; later ones cost a look. Where no
/// thread is to be had the usual threshold does. Any thread.
void measure_page_reference_once();

/// Waits for that thread, if there is one: an engine ends behind it. Any thread.
void end_measuring();

}  // namespace catenet
