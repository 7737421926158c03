// Faults that the engine commits on purpose, so that it is known that the simulation would find them. They
// exist in the build of the simulation tests only (CATENET_FAULTS); elsewhere each test of one is the
// constant false.
#pragma once

namespace catenet {

enum class fault {
  none,
  early_return,       // a send's blocks go home while the kernel reads them
  lost_rearm,         // a receive that found no block is not asked for again
  double_completion,  // the end of a send is told twice
  forgotten_cancel,   // an accept or receive is to end, and nobody tells the back end
  unrepeated_cancel,  // a cancel missed, and is not asked again
  stale_handle,       // a handle's generation is not looked at
  lost_wakeup,        // a letter is posted to a sleeping core, which is not woken
  lost_tail,          // a short send is taken for a whole one
  early_release,      // memory of a zero-copy send goes home with the send, not with its notification
};

#ifdef CATENET_FAULTS
/// True at every so-many-th time that the fault which is switched on could happen.
bool faulty(fault which);
/// Switches one on (or none) and starts its count.
void commit_fault(fault which, unsigned every);
#else
constexpr bool faulty(fault) { return false; }
#endif

}  // namespace catenet
