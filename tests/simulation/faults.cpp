// The switch of the faults that the engine commits on purpose.
#include "fault.hpp"

namespace catenet {

namespace {
fault on = fault::none;
unsigned period = 1;
unsigned count = 0;
}  // namespace

bool faulty(fault which) { return which == on && ++count % period == 0; }

void commit_fault(fault which, unsigned every) {
  on = which;
  period = every;
  count = 0;
}

}  // namespace catenet
