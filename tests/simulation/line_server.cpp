// What the line server does with a request.
#include "line_server.hpp"

#include <catenet/engine/engine.hpp>
#include <catenet/engine/stream.hpp>
#include <catenet/slab/cursor.hpp>

#include "pattern.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace catenet::test {

namespace {
constexpr std::uint64_t piece_bytes = 16_KiB;
constexpr std::uint32_t memory_retry_ms = 5;
constexpr unsigned memory_retries_max = 100;
constexpr std::uint64_t line_bytes_max = 100;
constexpr std::uint64_t input_bytes_max = 4_KiB;  // waiting to be served; above it nothing more is read

// The word up to the next space, and the numbers behind it.
struct request {
  std::string word;
  std::uint64_t first = 0;
  std::uint64_t second = 0;
};

bool parse(std::string_view line, request& into) {
  const std::size_t space = line.find(' ');
  into.word = line.substr(0, space);
  std::uint64_t* numbers[] = {&into.first, &into.second};
  for (std::uint64_t* n : numbers) {
    if (line.find(' ') == line.npos) break;
    line.remove_prefix(line.find(' ') + 1);
    if (std::from_chars(line.data(), line.data() + line.size(), *n).ec != std::errc{}) return false;
  }
  return true;
}
}  // namespace

class line_server::session final : public timer {
 public:
  session(line_server& of, stream& s) : of_(of), stream_(s) {}
  ~session() override = default;

  void feed(chain&& bytes) {
    if (stream_.paused()) of_.book_.world.violated("bytes were told to a paused stream");
    in_.append(std::move(bytes));
    go_on();
    in_.compact();  // part of a line should not keep a block
  }
  void finish_when_idle() {
    ending_ = true;
    go_on();
  }
  std::string text() const {
    return "connection " + std::to_string(id_) + ": " + std::to_string(in_.bytes()) + " bytes of input in " +
           std::to_string(in_.segment_count()) + " segments, " + std::to_string(body_left_) +
           " of a body and " + std::to_string(make_left_) + " of an answer to go, " +
           std::to_string(stream_.unsent()) + " unsent" +
           (state_ == state::ready     ? ", ready"
            : state_ == state::waiting ? ", waiting"
                                       : ", passing") +
           (full_ ? ", full" : "") + (ending_ ? ", ending" : "") + (stream_.paused() ? ", paused" : "");
  }
  void room() {
    full_ = false;
    go_on();
  }
  void returned(chain&& bytes) {
    if (state_ != state::passing)
      return of_.book_.world.violated("an answer came to a connection that had not asked");
    state_ = state::ready;
    send(std::move(bytes));
    go_on();
  }

 private:
  enum class state : std::uint8_t { ready, waiting, passing };

  void expire() override {
    stopped_ = false;
    if (state_ == state::waiting) state_ = state::ready;
    go_on();
  }
  void wait(std::uint32_t ms) {
    state_ = state::waiting;
    of_.home_.timers().start(*this, ms);
  }
  // Others may wait for what this one holds, so it does not wait for ever.
  void wait_for_memory() {
    if (++retries_ == memory_retries_max) return give_up();
    wait(memory_retry_ms);
  }
  void send(chain&& bytes) {
    const send_result result = stream_.send(std::move(bytes));
    if (result == send_result::queued) full_ = true;
    if (result == send_result::over_limit)
      of_.book_.world.violated("send() refused what is far below the limit");
  }

  // As far as input, room and memory reach.
  void go_on() {
    while (state_ == state::ready && !full_ && !stream_.closing()) {
      if (make_left_ != 0)
        make();
      else if (body_left_ != 0 && !in_.empty())
        body();
      else if (body_left_ != 0 || !line())
        break;
    }
    if (stopped_ || in_.bytes() > input_bytes_max)
      stream_.pause();
    else if (stream_.paused())
      stream_.resume();
    if (ending_ && state_ == state::ready && !full_ && make_left_ == 0) stream_.close();
  }

  void make() {
    const std::string_view part = pattern::piece(make_at_, std::min(make_left_, piece_bytes));
    chain made = chain::copy_of(part);
    if (made.empty()) return wait_for_memory();
    retries_ = 0;
    make_at_ += part.size();
    make_left_ -= part.size();
    send(std::move(made));
  }

  void body() {
    std::optional<chain> part = in_.split(body_left_);
    if (!part) return wait_for_memory();
    body_left_ -= part->bytes();
    if (via_ == of_.home_.index()) return send(std::move(*part));
    state_ = state::passing;
    core& home = of_.home_;
    const handle who = stream_.id();
    const bool posted = home.owner().at(via_).post([&home, who, bytes = std::move(*part)]() mutable {
      // Shared and cut on the foreign core: its counts stand in for the home's.
      std::optional<chain> twin = bytes.share();
      if (twin && twin->bytes() > 1) {
        std::optional<chain> front = twin->split(twin->bytes() / 2);
        if (front) front->append(std::move(*twin));
        if (front && front->bytes() == bytes.bytes()) bytes = std::move(*front);
      }
      home.post([&home, who, back = std::move(bytes)]() mutable {
        if (stream* s = home.find(who)) static_cast<session*>(s->session())->returned(std::move(back));
      });
    });
    if (!posted) give_up();
  }

  // Takes one line off the input; false when there is none.
  bool line() {
    const cursor from(in_);
    const std::optional<std::uint64_t> end = from.find(std::byte{'\n'});
    if (!end) {
      if (in_.bytes() > line_bytes_max) corrupt();
      return false;
    }
    std::string text(std::min(*end, line_bytes_max), '\0');
    in_.copy_to({reinterpret_cast<std::byte*>(text.data()), text.size()});
    in_.consume(*end + 1);
    request r;
    if (*end >= line_bytes_max || !parse(text, r) || !execute(r)) corrupt();
    return true;
  }

  bool execute(const request& r) {
    if (r.word == "id") {
      id_ = r.first;
    } else if (r.word == "echo" || r.word == "pass") {
      via_ =
          r.word == "echo" ? of_.home_.index() : static_cast<unsigned>(r.first % of_.home_.owner().cores());
      body_left_ = r.word == "echo" ? r.first : r.second;
      if (body_left_ > in_.bytes()) stream_.expect(body_left_ - in_.bytes());
    } else if (r.word == "make") {
      make_at_ = r.first;
      make_left_ = r.second;
    } else if (r.word == "file") {
      chain region;
      if (!region.append_file(of_.book_.file, r.first % (of_.book_.file_bytes - r.second), r.second, false))
        give_up();
      send(std::move(region));
    } else if (r.word == "hold") {
      wait(static_cast<std::uint32_t>(r.first));
    } else if (r.word == "stop") {
      stopped_ = true;  // what was received goes on being served
      of_.home_.timers().start(*this, static_cast<std::uint32_t>(r.first));
    } else if (r.word == "bye") {
      stream_.close();
    } else if (r.word == "die") {
      stream_.abort();
    } else {
      return false;
    }
    return true;
  }

  void corrupt() {
    of_.book_.world.violated("connection " + std::to_string(id_) +
                             ": the server read a line that nobody wrote");
    stream_.abort();
  }
  void give_up() {
    if (id_ < of_.book_.excused.size()) of_.book_.excused[id_] = 1;
    stream_.abort();
  }

  line_server& of_;
  stream& stream_;
  chain in_;
  std::uint64_t id_ = ~std::uint64_t{0};
  std::uint64_t body_left_ = 0;
  unsigned via_ = 0;
  std::uint64_t make_at_ = 0;
  std::uint64_t make_left_ = 0;
  state state_ = state::ready;
  unsigned retries_ = 0;
  bool stopped_ = false;  // by request
  bool full_ = false;     // above the high watermark
  bool ending_ = false;   // close once all is answered
};

void line_server::opened(stream& s) {
  ++book_.sessions;
  s.set_session(new session(*this, s));
}
std::string line_server::text(stream& s) { return static_cast<session*>(s.session())->text(); }
void line_server::received(stream& s, chain&& bytes) {
  static_cast<session*>(s.session())->feed(std::move(bytes));
}
void line_server::ended(stream& s) { static_cast<session*>(s.session())->finish_when_idle(); }
void line_server::writable(stream& s) { static_cast<session*>(s.session())->room(); }
void line_server::drain(stream& s) { static_cast<session*>(s.session())->finish_when_idle(); }
void line_server::closed(stream& s) {
  --book_.sessions;
  delete static_cast<session*>(s.session());
}

}  // namespace catenet::test
