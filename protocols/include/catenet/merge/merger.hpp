// Merges message streams: N inputs (pipes, FIFOs, sockets, files) of frames [magic][size][payload] become one
// output of whole frames, in order within each input and fair in bytes between them.
//
//   input ─▶ (waits until its frame is complete) ─▶ whose turn, by weight ─▶ output
//              large: stays in the input's pipe, moved by splice
//              small, or longer than a pipe: gathered in blocks, whole runs written at once
//
// A frame is admitted when it is complete, so a slow or hostile input holds up nobody, and evicting one never
// leaves half a frame in the output. While the output is full nothing is read, and no input is blamed for it.
//
// Frames that are gathered take memory of the engine's slab: let its capacity hold a frame of the greatest
// length for each input, and one more. Where there is none left and nothing is put out that would free some,
// the input that holds most of it in an unfinished frame is evicted.
#pragma once

#include <catenet/engine/callback.hpp>
#include <catenet/engine/core.hpp>
#include <catenet/engine/error.hpp>
#include <catenet/engine/tiers.hpp>
#include <catenet/frame/format.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace catenet::merge {

struct options {
  const frame::format* how = &frame::magic_u32;
  std::uint64_t frame_bytes_max = 16_MiB;   ///< longest payload
  std::uint32_t deadline_ms = 0;            ///< from a frame's first byte to its last; 0: none
  std::uint64_t rate_min = 0;               ///< bytes/s that an unfinished frame has to grow by; 0: none
  std::uint64_t splice_bytes_min = 32_KiB;  ///< frames from this size on are spliced, shorter ones copied
  /// A turn of the heaviest input: no more than the pipe of an input holds, else it runs dry in its turn.
  std::uint64_t quantum_bytes = 64_KiB;
};

/// What became of one input.
struct input_statistics {
  std::string name;
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;  ///< of whole frames, headers included, that were put out
  bool ended = false;
  std::string evicted;  ///< why; empty when it was not
};

struct statistics {
  std::vector<input_statistics> inputs;
  tier_totals out{};  ///< copied and spliced; Σ bytes = Σ bytes of the inputs, and less what an error cut off
  std::uint64_t output_full = 0;  ///< times that the output took nothing more
};

/// Lives on one core and is used on its thread only, from adding inputs to its end. It must end before the
/// core does.
class merger {
 public:
  merger(core& on, options how);
  ~merger();
  merger(const merger&) = delete;
  merger& operator=(const merger&) = delete;

  /// Where frames go. Takes the descriptor over. A pipe is reopened, so that the flags of others who have it
  /// are not touched. Before start().
  error output(int fd);
  /// One more input, from 1 byte of weight on; takes the descriptor over. `name` is for messages. Before
  /// start() or after, while the merger runs.
  error input(int fd, std::string name, std::uint32_t weight = 1);

  /// `tell` is called when an input is evicted, with its name and the reason; the input's descriptor is
  /// closed by then. It must not end the merger. Before start().
  void on_evicted(callback<void(std::string_view name, std::string_view why)> tell);

  /// Begins. `done` is called once, when every input has ended and all of it is out, or the output failed, or
  /// the engine's stop cut it short (then with an error); it may end the merger. At a stop the frame under
  /// way is put out, if the output takes it within the engine's drain time, and no other.
  void start(callback<void(const error&)> done);

  [[nodiscard]] merge::statistics statistics() const;
  [[nodiscard]] std::size_t evicted() const;

  struct state;

 private:
  std::unique_ptr<state> state_;
};

}  // namespace catenet::merge
