// See ws_frames.hpp.
#include "ws_frames.hpp"

#include <algorithm>

namespace catenet::ws::testing {

void slab_test::TearDown() {
  pool_.turn();
  for (const class_statistics& c : depot_.statistics().classes) {
    EXPECT_EQ(c.rented, 0u) << "blocks of " << c.size << " bytes did not come home";
    EXPECT_EQ(c.lent, 0u);
  }
}

namespace {

void put(std::string& to, std::uint64_t value, int bytes) {
  while (bytes-- != 0) to += static_cast<char>(value >> (8 * bytes));
}

std::string head(unsigned first, std::uint64_t length, bool masked, int length_bytes) {
  if (length_bytes == 0 && length > 125) length_bytes = length > 65535 ? 8 : 2;
  std::string out(1, static_cast<char>(first));
  const unsigned mask_bit = masked ? 0x80 : 0;
  put(out, mask_bit | (length_bytes == 0 ? length : length_bytes == 2 ? 126 : 127), 1);
  put(out, length, length_bytes);
  return out;
}

constexpr char key[] = {'\x37', '\xfa', '\x21', '\x3d'};  // of the example in RFC 6455 §5.7

}  // namespace

std::string raw_frame::bytes() const {
  std::string out = head(first, payload.size(), masked, length_bytes);
  if (masked) out.append(key, sizeof key);
  for (std::size_t i = 0; i != payload.size(); ++i)
    out += masked ? static_cast<char>(payload[i] ^ key[i % 4]) : payload[i];
  return out;
}

std::string header(unsigned first, std::uint64_t length) {
  return head(first, length, true, 0) + std::string(key, sizeof key);
}

std::string close_body(unsigned code, std::string_view reason) {
  std::string out;
  put(out, code, 2);
  return out.append(reason);
}

namespace {

std::string told(const event& e) {
  const std::string bytes = e.bytes.to_string();
  const std::string code = std::to_string(static_cast<unsigned>(e.code));
  switch (e.what) {
    case event::kind::need_more:
      return "need more";
    case event::kind::message:
      return (e.text ? "text " : "binary ") + bytes;
    case event::kind::part:
      return std::string(e.text ? "text" : "binary") + (e.first ? "<" : "") + (e.last ? ">" : "") + " " +
             bytes;
    case event::kind::ping:
      return "ping " + bytes;
    case event::kind::pong:
      return "pong " + bytes;
    case event::kind::close:
      return "close " + code + (bytes.empty() ? "" : " " + bytes);
    case event::kind::failure:
      return "fail " + code;
  }
  return "?";
}

}  // namespace

std::vector<std::string> decode(std::string_view input, const std::vector<std::size_t>& pieces,
                                decoding how) {
  static const decoder_limits defaults;
  decoder d{how.limits == nullptr ? defaults : *how.limits, how.self};
  if (how.shelf != nullptr) d.use_deflate(*how.shelf, how.takeover);
  std::vector<std::string> events;
  chain in;
  std::size_t piece = 0;
  while (!input.empty()) {
    const std::size_t n = piece < pieces.size() ? std::min(pieces[piece++], input.size()) : input.size();
    chain more = chain::copy_of(input.substr(0, n));
    std::optional<chain> twin = how.shared ? more.share() : chain{};
    in.append(std::move(more));
    while (true) {
      event e = d.next(in);
      EXPECT_EQ(e.bytes.validate(), nullptr);
      EXPECT_EQ(in.validate(), nullptr);
      if (e.what == event::kind::need_more) break;
      events.push_back(told(e));
    }
    if (how.shared) {
      EXPECT_EQ(twin->to_string(), input.substr(0, n)) << "bytes that others see were changed";
    }
    EXPECT_LE(in.bytes(), 138u) << "the decoder left bytes it could have used";
    input.remove_prefix(n);
  }
  return events;
}

std::vector<std::string> decode_every_way(std::string_view input, decoding how) {
  const std::vector<std::string> whole = decode(input, {}, how);
  EXPECT_EQ(decode(input, std::vector<std::size_t>(input.size(), 1), how), whole) << "byte by byte";
  const std::size_t stride = std::max<std::size_t>(1, input.size() / 512);
  for (std::size_t at = 1; at < input.size(); at += at < 32 ? 1 : stride)
    EXPECT_EQ(decode(input, {at}, how), whole) << "cut at " << at;
  how.shared = true;
  EXPECT_EQ(decode(input, {input.size() / 2}, how), whole) << "with bytes that others see";
  return whole;
}

}  // namespace catenet::ws::testing
