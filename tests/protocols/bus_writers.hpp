// What the tests of writers share: messages that say whose they are, and who checks them at the other end.
#pragma once

#include <catenet/bus/framer.hpp>
#include <catenet/bus/packet.hpp>
#include <catenet/slab/lease.hpp>
#include <catenet/slab/pool.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace catenet::bus::testing {

// "writer/number/" and filler up to the length wanted.
inline std::string message(unsigned who, std::uint64_t number, std::size_t length) {
  std::string text = std::to_string(who) + "/" + std::to_string(number) + "/";
  const std::size_t head = text.size();
  text.resize(std::max(length, head));
  for (std::size_t i = head; i != text.size(); ++i) text[i] = static_cast<char>('a' + (i + number) % 26);
  return text;
}

// Cuts what a flusher gave into messages and checks each writer's order.
class reader {
 public:
  explicit reader(const frame::format& how = frame::length_u32) : framer_(how) {}
  void feed(chain&& bytes) {
    framer_.feed(std::move(bytes));
    packet got;
    frame::status said;
    while ((said = framer_.next(got)) == frame::status::frame) {
      const std::string text = got.to_string();
      const auto slash = text.find('/');
      ASSERT_NE(slash, std::string::npos);
      const auto who = static_cast<unsigned>(std::stoul(text));
      const std::uint64_t number = std::stoull(text.substr(slash + 1));
      ASSERT_EQ(number, expected_[who]++) << "writer " << who;
      ASSERT_EQ(text, message(who, number, text.size()));
      ++messages_;
    }
    ASSERT_EQ(said, frame::status::more);
    ASSERT_EQ(framer_.buffered(), 0u) << "a message was cut in two";
  }
  [[nodiscard]] std::uint64_t messages() const { return messages_; }

 private:
  bus::framer framer_;
  std::array<std::uint64_t, 64> expected_{};
  std::uint64_t messages_ = 0;
};

// All blocks of 64 KiB, less what is kept aside for transmitting.
inline std::vector<lease> every_block() {
  std::vector<lease> all;
  const auto take = [&] {
    for (lease l = lease::of(64_KiB); l; l = lease::of(64_KiB)) all.push_back(std::move(l));
  };
  take();
  all.resize(all.size() / 2);  // the first that come back are kept aside
  pool::current()->spill_all();
  take();
  return all;
}

}  // namespace catenet::bus::testing
