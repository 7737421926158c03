// What the WebSocket tests share: frames written by hand, cut into chains, and events told as text.
#pragma once

#include <catenet/slab/chain.hpp>
#include <catenet/ws/decoder.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace catenet::ws::testing {

/// A slab for a test, which checks that every block came home.
class slab_test : public ::testing::Test {
 protected:
  void TearDown() override;
  depot depot_{{.classes = {}, .capacity = 256_MiB, .huge_pages = false}};
  pool pool_{depot_};
};

/// A frame, written without the code under test. `first` is the whole first byte: 0x81 = final text.
struct raw_frame {
  unsigned first = 0x81;
  std::string payload;
  bool masked = true;
  int length_bytes = 0;  ///< 0 shortest form, else 2 or 8
  [[nodiscard]] std::string bytes() const;
};
inline std::string frame(unsigned first, std::string payload) {
  return raw_frame{first, std::move(payload)}.bytes();
}
/// Only a header, which announces what does not follow.
std::string header(unsigned first, std::uint64_t length);
/// The body of a Close frame.
std::string close_body(unsigned code, std::string_view reason = {});

/// What a decoder says to `input` cut into pieces of these lengths (the rest is one piece), one event a line:
/// `text hello`, `binary …`, `ping …`, `pong …`, `close 1000 reason`, `fail 1002`; parts as `text< …`, with
/// `<` where the message begins and `>` where it ends. `shared`: the bytes are also seen by another chain.
struct decoding {
  const decoder_limits* limits = nullptr;  ///< null: the defaults
  role self = role::server;
  bool shared = false;
  deflate_shelf* shelf = nullptr;  ///< permessage-deflate is spoken
  bool takeover = false;
};
std::vector<std::string> decode(std::string_view input, const std::vector<std::size_t>& pieces,
                                decoding how = {});

/// The same whole, byte by byte and cut in two at every offset (at some, when the input is long), all of
/// which must agree; returns what they said.
std::vector<std::string> decode_every_way(std::string_view input, decoding how = {});

}  // namespace catenet::ws::testing
