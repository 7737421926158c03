// Packets and the framer against plain strings; every block is home at the end, whatever was dropped where.
#include <catenet/bus/framer.hpp>
#include <catenet/bus/packet.hpp>

#include "bus_slab.hpp"
#include "frame_formats.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace catenet;
using bus::packet;
using bus::send_packet;

std::string pattern(std::size_t length, unsigned seed) {
  std::string text(length, '\0');
  for (std::size_t i = 0; i != length; ++i) text[i] = static_cast<char>('a' + (i * 7 + seed) % 26);
  return text;
}

TEST(bus_packet, operations_agree_with_strings) {
  bus_slab memory;
  for (unsigned seed = 0; seed != 100; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::pair<packet, std::string>> all;
    const auto pick = [&]() -> std::pair<packet, std::string>& { return all[random() % all.size()]; };
    for (int step = 0; step != 60; ++step) {
      if (all.empty()) {
        const std::string text = pattern(random() % 3 == 0 ? 9'000 : random() % 700, seed);
        all.emplace_back(*packet::copy_of(text), text);
      }
      auto& [p, model] = pick();
      const std::uint64_t at = random() % (model.size() + 1);
      const std::uint64_t length = random() % (model.size() + 1);
      switch (random() % 9) {
        case 0:
          all.emplace_back(p.clone(), std::string{model});
          break;
        case 1:
          p.advance(at);
          model.erase(0, at);
          break;
        case 2: {
          auto part = p.slice(at, length);
          auto text = model.substr(at, length);
          all.emplace_back(std::move(part), text);
          break;
        }
        case 3: {
          auto front = p.split(at);
          auto text = model.substr(0, at);
          model.erase(0, at);
          all.emplace_back(std::move(front), text);
          break;
        }
        case 4: {
          std::array<std::uint64_t, 3> cuts{at / 2, at - at / 2, model.size() - at};
          auto three = std::move(p).shatter(cuts);
          ASSERT_TRUE(three);
          const std::string text = model;
          model.clear();
          std::uint64_t from = 0;
          for (std::size_t i = 0; i != 3; from += cuts[i++])
            all.emplace_back(std::move((*three)[i]), text.substr(from, cuts[i]));
          break;
        }
        case 5: {
          std::vector<packet> parts;
          std::string together;
          for (std::size_t left = 1 + random() % 4; left != 0; --left) {
            auto& [q, text] = pick();
            parts.push_back(q.clone());
            together += text;
          }
          auto joined = packet::join(parts);
          ASSERT_TRUE(joined);
          all.emplace_back(std::move(*joined), together.substr(0, 12'000));
          if (together.size() > 12'000) all.back().first = all.back().first.slice(0, 12'000);
          break;
        }
        case 6: {
          auto sent = std::move(p).send();
          ASSERT_TRUE(sent);
          p = *std::move(*sent).receive();
          break;
        }
        case 7:
          p.compact();
          break;
        case 8: {
          const auto gone = static_cast<std::ptrdiff_t>(random() % all.size());
          all.erase(all.begin() + gone);
          break;
        }
      }
      if (step % 6 != 5) continue;
      for (auto& [q, text] : all) {
        ASSERT_EQ(q.size(), text.size());
        ASSERT_EQ(q.to_string(), text) << "seed " << seed << " step " << step;
      }
    }
  }
}

TEST(bus_packet, neighbours_join_without_a_copy_or_an_object) {
  bus_slab memory;
  const std::string text = pattern(400, 3);
  packet whole = *packet::copy_of(text);
  const std::byte* first = whole.bytes().data();
  std::vector<packet> parts = std::move(whole).shatter(7);
  ASSERT_EQ(parts.size(), 7u);
  EXPECT_EQ(parts[0].size(), 58u);
  EXPECT_EQ(parts[6].size(), 57u);
  auto joined = packet::join(parts);
  ASSERT_TRUE(joined);
  EXPECT_TRUE(joined->contiguous());
  EXPECT_EQ(joined->bytes().data(), first);
  EXPECT_EQ(joined->to_string(), text);
  for (const packet& part : parts) EXPECT_TRUE(part.empty());
}

// Two parts of one block that stand in a chain the other way round: side by side in memory, and no piece.
TEST(bus_packet, neighbours_in_memory_that_are_not_in_one_piece_are_joined_as_two) {
  bus_slab memory;
  chain back = chain::copy_of(pattern(100, 2));
  chain front = *back.split(50);
  back.append(std::move(front));
  packet behind = *packet::from(std::move(back));
  packet before = behind.slice(50, 50);
  behind = behind.split(50);
  std::array<packet, 2> parts{std::move(before), std::move(behind)};
  auto joined = packet::join(parts);
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->to_string(), pattern(100, 2));
  const auto bytes = std::move(*joined).to_chain();
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->to_string(), pattern(100, 2));
}

TEST(bus_packet, compact_lets_go_of_a_big_block) {
  bus_slab memory;
  packet p = *packet::from(chain{lease::of(64_KiB), 100, 60});
  const std::string text = p.to_string();
  const auto big = [&] { return memory.blocks.statistics().classes[3].rented; };
  ASSERT_EQ(big(), 1u);
  p.compact();
  EXPECT_EQ(big(), 0u);
  EXPECT_EQ(p.to_string(), text);
}

TEST(bus_packet, shatter_refuses_lengths_that_are_not_the_whole) {
  bus_slab memory;
  packet p = *packet::copy_of("0123456789");
  EXPECT_FALSE((std::move(p).shatter(std::array<std::uint64_t, 2>{4, 5})));
  EXPECT_FALSE((std::move(p).shatter(std::array<std::uint64_t, 2>{4, 7})));
  EXPECT_FALSE((std::move(p).shatter(std::array<std::uint64_t, 2>{~std::uint64_t{0}, 11})));
  EXPECT_EQ(p.to_string(), "0123456789");
}

TEST(bus_packet, moving_the_last_reference_to_another_thread_and_back_costs_no_copy) {
  bus_slab memory;
  packet p = *packet::copy_of(pattern(300, 1));
  const std::byte* data = p.bytes().data();
  send_packet away = *std::move(p).send();
  send_packet back;
  std::thread other([&] {
    pool mine{memory.blocks};
    packet here = *std::move(away).receive();
    EXPECT_EQ(here.bytes().data(), data);
    packet twin = here.clone();
    packet part = here.slice(100, 50);
    EXPECT_EQ(part.to_string(), pattern(300, 1).substr(100, 50));
    back = *std::move(twin).send();
  });
  other.join();
  packet home = *std::move(back).receive();
  EXPECT_EQ(home.bytes().data(), data);
}

// Packets go round three threads at random and are dropped at random: by a thread with a pool, without one,
// in transit. Nothing is lost, nothing ends twice.
TEST(bus_packet, conservation_after_random_drops_on_three_threads) {
  bus_slab memory;
  constexpr unsigned threads = 3;
  struct mailbox {
    std::mutex mutex;
    std::vector<send_packet> letters;
  };
  std::array<mailbox, threads> boxes;
  std::atomic<unsigned> working{threads};
  const std::string text = pattern(5000, 9);
  const auto work = [&](unsigned self) {
    pool mine{memory.blocks};
    std::mt19937 random(self);
    std::vector<packet> held;
    for (int step = 0; step != 4000; ++step) {
      switch (random() % 6) {
        case 0:
          held.push_back(*packet::copy_of(std::string_view{text}.substr(0, 1 + random() % 5000)));
          break;
        case 1:
          if (!held.empty()) held.push_back(held[random() % held.size()].clone());
          break;
        case 2:
          if (!held.empty()) held.back().advance(random() % 300);
          break;
        case 3:
          if (!held.empty()) {
            auto sent = std::move(held.back()).send();
            held.pop_back();
            mailbox& to = boxes[random() % threads];
            const std::lock_guard lock(to.mutex);
            if (random() % 8 != 0) to.letters.push_back(std::move(*sent));
          }
          break;
        case 4: {
          std::vector<send_packet> letters;
          {
            const std::lock_guard lock(boxes[self].mutex);
            letters.swap(boxes[self].letters);
          }
          for (send_packet& letter : letters) {
            held.push_back(*std::move(letter).receive());
            const std::string got = held.back().to_string();
            ASSERT_NE(text.find(got), std::string::npos);
          }
          break;
        }
        case 5:
          if (held.size() > 20) held.erase(held.begin(), held.begin() + 10);
          break;
      }
      if (step % 16 == 0) mine.turn();
    }
    held.clear();
    --working;
    while (working != 0) mine.turn();
  };
  std::vector<std::thread> running;
  for (unsigned i = 0; i != threads; ++i) running.emplace_back(work, i);
  for (auto& t : running) t.join();
  std::thread{[&] {
    for (auto& box : boxes) box.letters.clear();
  }}.join();  // a thread without a pool
}

class bus_framer : public testing::TestWithParam<const frame::format*> {};

TEST_P(bus_framer, any_cut_gives_the_same_packets) {
  bus_slab memory;
  for (unsigned seed = 0; seed != 80; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::string> sent;
    chain wire;
    for (int i = 0; i != 50; ++i) {
      sent.push_back(
          pattern(std::array{0u, 1u, 60u, 700u, 30'000u}[random() % 5], seed + static_cast<unsigned>(i)));
      ASSERT_TRUE(frame::encode(*GetParam(), chain::copy_of(sent.back()), wire));
    }
    bus::framer framer{*GetParam()};
    std::vector<packet> got;
    const std::uint64_t cut_max = std::array{3u, 100u, 5000u, 1'000'000u}[seed % 4];
    while (!wire.empty()) {
      chain piece = *wire.split(1 + random() % cut_max);
      if (random() % 2 == 0) piece = chain::copy_of(piece.to_string());
      framer.feed(std::move(piece));
      packet message;
      frame::status said;
      while ((said = framer.next(message)) == frame::status::frame) got.push_back(std::move(message));
      ASSERT_EQ(said, frame::status::more);
      ASSERT_LE(framer.missing(), wire.bytes());
      while (got.size() > 30) {
        ASSERT_EQ(got.front().to_string(), sent.front()) << "seed " << seed;
        got.erase(got.begin());
        sent.erase(sent.begin());
      }
    }
    ASSERT_EQ(got.size(), sent.size());
    for (std::size_t i = 0; i != got.size(); ++i) ASSERT_EQ(got[i].to_string(), sent[i]) << "seed " << seed;
    EXPECT_EQ(framer.buffered(), 0u);
  }
}

TEST_P(bus_framer, messages_of_one_block_share_its_bytes) {
  bus_slab memory;
  chain wire;
  for (int i = 0; i != 5; ++i) ASSERT_TRUE(frame::encode(*GetParam(), chain::copy_of(pattern(60, 0)), wire));
  ASSERT_EQ(wire.segment_count(), 1u);
  const std::byte* first = wire.front().data();
  const std::size_t frame_bytes = wire.bytes() / 5;
  bus::framer framer{*GetParam()};
  framer.feed(std::move(wire));
  for (std::size_t i = 0; i != 5; ++i) {
    packet message;
    ASSERT_EQ(framer.next(message), frame::status::frame);
    EXPECT_EQ(message.bytes().data(), first + i * frame_bytes + (frame_bytes - 60));
  }
}

INSTANTIATE_TEST_SUITE_P(all, bus_framer,
                         testing::Values(&frame::length_u32, &frame::magic_u32, &frame::varint),
                         [](const auto& of) { return std::string{of.param->name}; });

TEST(bus_framer_limits, too_long_ends_the_stream_and_stays) {
  bus_slab memory;
  bus::framer framer{frame::length_u32, {.payload_bytes_max = 100}};
  chain wire;
  ASSERT_TRUE(frame::encode(frame::length_u32, chain::copy_of("fine"), wire));
  ASSERT_TRUE(frame::encode(frame::length_u32, chain::copy_of(pattern(101, 0)), wire));
  framer.feed(std::move(wire));
  packet message;
  EXPECT_EQ(framer.next(message), frame::status::frame);
  EXPECT_EQ(framer.next(message), frame::status::too_long);
  framer.feed(chain::copy_of("more"));
  EXPECT_EQ(framer.next(message), frame::status::too_long);
}

}  // namespace
