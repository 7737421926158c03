// Frame headers: reading with every check that needs no state, and writing.
#include <catenet/ws/frame.hpp>

#include <cstring>

namespace catenet::ws {

namespace {

constexpr unsigned fin_bit = 0x80, rsv1_bit = 0x40, rsv23_bits = 0x30, opcode_bits = 0x0f;
constexpr unsigned mask_bit = 0x80, length_bits = 0x7f;
constexpr unsigned length_in_2_bytes = 126, length_in_8_bytes = 127;

constexpr bool is_known(unsigned op) { return op <= 2 || (op >= 8 && op <= 10); }

const char* check_first(const frame_header& h, unsigned byte, bool deflate) {
  if ((byte & rsv23_bits) != 0) return "reserved bit set";
  if (!is_known(byte & opcode_bits)) return "unknown opcode";
  if (h.rsv1 && (!deflate || is_control(h.op) || h.op == opcode::continuation)) return "reserved bit set";
  if (is_control(h.op) && !h.fin) return "fragmented control frame";
  return nullptr;
}

const char* check_second(const frame_header& h, unsigned length, role self) {
  if (h.masked != (self == role::server)) return h.masked ? "masked frame from a server" : "unmasked frame";
  if (is_control(h.op) && length > control_payload_max) return "control frame too long";
  return nullptr;
}

}  // namespace

parsed_header parse_header(std::span<const std::byte> bytes, role self, bool deflate) {
  parsed_header out;
  frame_header& h = out.header;
  if (bytes.empty()) return out;
  const auto first = std::to_integer<unsigned>(bytes[0]);
  h.fin = (first & fin_bit) != 0;
  h.rsv1 = (first & rsv1_bit) != 0;
  h.op = static_cast<opcode>(first & opcode_bits);
  out.violation = check_first(h, first, deflate);
  if (out.violation != nullptr) return out;

  if (bytes.size() < 2) return out;
  const auto second = std::to_integer<unsigned>(bytes[1]);
  h.masked = (second & mask_bit) != 0;
  h.length = second & length_bits;
  out.violation = check_second(h, second & length_bits, self);
  if (out.violation != nullptr) return out;

  std::size_t at = 2;
  if (h.length >= length_in_2_bytes) {
    const std::size_t more = h.length == length_in_2_bytes ? 2 : 8;
    if (bytes.size() < at + more) return out;
    h.length = 0;
    for (std::size_t i = 0; i != more; ++i) h.length = h.length << 8 | std::to_integer<unsigned>(bytes[at++]);
    if (h.length >> 63 != 0) out.violation = "frame length with its top bit set";
    if (header_size(h.length, false) != at) out.violation = "frame length not in its shortest form";
    if (out.violation != nullptr) return out;
  }
  if (h.masked) {
    if (bytes.size() < at + h.key.size()) return out;
    std::memcpy(h.key.data(), &bytes[at], h.key.size());
    at += h.key.size();
  }
  h.size = static_cast<std::uint8_t>(at);
  out.complete = true;
  return out;
}

std::size_t write_header(std::byte* out, const frame_header& h) {
  std::size_t at = 0;
  const auto put = [&](std::uint64_t value) { out[at++] = static_cast<std::byte>(value); };
  put((h.fin ? fin_bit : 0u) | (h.rsv1 ? rsv1_bit : 0u) | static_cast<unsigned>(h.op));
  const unsigned masked = h.masked ? mask_bit : 0u;
  const std::size_t size = header_size(h.length, false);
  const std::size_t more = size - 2;
  put(masked | (more == 0 ? h.length : more == 2 ? length_in_2_bytes : length_in_8_bytes));
  for (std::size_t i = more; i != 0; --i) put(h.length >> (8 * (i - 1)));
  if (h.masked) {
    std::memcpy(out + at, h.key.data(), h.key.size());
    at += h.key.size();
  }
  return at;
}

}  // namespace catenet::ws
