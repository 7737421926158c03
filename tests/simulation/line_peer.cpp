// What a client asks, and what it makes of the answers.
#include "line_peer.hpp"

#include "pattern.hpp"

#include <algorithm>
#include <array>

namespace catenet::test {

line_peer::line_peer(ledger& book, const peer_habits& habits, std::uint32_t id, std::uint64_t seed)
    : test_peer(book, habits, id, seed) {
  requests_left_ = static_cast<unsigned>(random_.below(habits.requests_max + 1));
  pipelined_ = random_.chance(400);
  const std::uint64_t lot = random_.below(1000);
  if (lot < habits.aborts)
    ending_ = ending::abort;
  else if (lot < habits.aborts + habits.dies)
    ending_ = ending::die;
  else if (lot < habits.aborts + habits.dies + habits.vanishes)
    ending_ = ending::vanish;
  else
    ending_ = lot % 3 == 0 ? ending::finish : lot % 3 == 1 ? ending::finish_early : ending::bye;
}

void line_peer::connected() {
  put("id " + std::to_string(id_) + "\n");
  if (ending_ == ending::abort || ending_ == ending::vanish) after(random_.below(50000));
  if (ending_ == ending::finish_early) pipelined_ = true;
  ask();
}

// Everything at once, or one after the other.
void line_peer::ask() {
  while (requests_left_ != 0 && (pipelined_ || expected_.empty())) write_request();
  if (requests_left_ == 0 && (expected_.empty() || pipelined_)) say_end();
}

void line_peer::write_request() {
  --requests_left_;
  const std::uint64_t lot = random_.below(100);
  const std::uint64_t at = random_.below(pattern::period);
  std::uint64_t bytes = size();
  std::string text;
  if (lot < 45) {
    const std::string size_text = std::to_string(bytes) + "\n";
    text = lot < 30 ? "echo " + size_text : "pass " + std::to_string(random_.below(8)) + " " + size_text;
    pattern::append(text, at, bytes);
    expected_.push_back({at, bytes});
  } else if (lot < 80) {
    text = "make " + std::to_string(at) + " " + std::to_string(bytes) + "\n";
    expected_.push_back({at, bytes});
  } else if (lot < 88) {
    bytes = std::min(bytes, book_.file_bytes / 2);
    text = "file " + std::to_string(at) + " " + std::to_string(bytes) + "\n";
    expected_.push_back({at % (book_.file_bytes - bytes), bytes});
  } else {
    text = (lot < 94 ? "hold " : "stop ") +
           std::to_string(random_.between(1, random_.chance(100) ? 3000 : 20)) + "\n";
  }
  put(text);
}

void line_peer::say_end() {
  if (std::exchange(said_end_, true)) return;
  switch (ending_) {
    case ending::finish:
      if (expected_.empty()) return finish();
      said_end_ = false;  // once the answers are there
      return;
    case ending::finish_early:
      return finish();
    case ending::bye:
      return put("bye\n");
    case ending::die:
      return put("die\n");
    case ending::abort:
    case ending::vanish:
      return;  // its time will come
  }
}

void line_peer::received(std::span<const std::byte> bytes) {
  std::string_view left{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  while (!left.empty()) {
    if (expected_.empty()) return wrong("got bytes that nobody asked for");
    piece& p = expected_.front();
    const std::string_view part = left.substr(0, p.left);
    if (!pattern::matches(p.at, part)) return wrong("got a wrong byte");
    p.at += part.size();
    p.left -= part.size();
    left.remove_prefix(part.size());
    if (p.left == 0) expected_.pop_front();
  }
  read_slowly();
  ask();
}

void line_peer::expired() {
  if (over_) return;
  if (ending_ == ending::vanish) return stall(0);
  over_ = true;
  abort();
}

void line_peer::ended() {
  if (over_) return;
  over_ = true;
  finish();
  if (excused() || ending_ == ending::abort || ending_ == ending::vanish) return;
  if (ending_ == ending::die) return wrong("was to be reset, and got FIN");
  if (!said_end_ || requests_left_ != 0) return wrong("got FIN before it had said its end");
  if (!expected_.empty()) wrong("got FIN, and " + lacks());
}

void line_peer::reset() {
  if (over_) return;
  over_ = true;
  if (excused() || ending_ != ending::die) {
    if (!excused() && ending_ != ending::vanish) wrong("was reset, and " + lacks());
    return;
  }
  if (!said_end_) wrong("was reset before it had asked for it");
}

std::string line_peer::lacks() const {
  std::uint64_t bytes = 0;
  for (const piece& p : expected_) bytes += p.left;
  return "connection " + std::to_string(id_) + " lacks " + std::to_string(bytes) + " bytes of " +
         std::to_string(expected_.size()) + " answers, " + std::to_string(requests_left_) +
         " requests were not made, ends by " +
         std::array{
             "finish", "early finish", "bye", "die", "abort", "vanishing"}[static_cast<std::size_t>(ending_)];
}

}  // namespace catenet::test
