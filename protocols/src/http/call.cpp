// What a coroutine can do with a call.
#include <catenet/http/call.hpp>

#include "http/calls.hpp"

namespace catenet::http {

call& call::operator=(call&& other) noexcept {
  if (this != &other) {
    call before{std::move(state_)};
    state_ = std::move(other.state_);
  }
  return *this;
}

call::~call() {
  if (state_) state_->home.abandon(*state_);
}

bool call::reply_awaiter::await_ready() const { return of.has_head || of.failed; }
void call::reply_awaiter::await_suspend(std::coroutine_handle<> who) {
  of.reader = who;
  of.wants_body = false;
}
const reply_head* call::reply_awaiter::await_resume() const { return of.has_head ? &of.head : nullptr; }

void call::on_informational(callback<void(const reply_head&)> f) { state_->told = std::move(f); }

bool call::next_awaiter::await_ready() { return of.home.pull(of); }
void call::next_awaiter::await_suspend(std::coroutine_handle<> who) {
  of.reader = who;
  of.wants_body = true;
  of.home.arm(of);
}
std::optional<chain> call::next_awaiter::await_resume() {
  of.home.arm(of);
  if (of.part.empty()) return std::nullopt;
  return std::move(of.part);
}

task<bool> call::collect(chain& into, std::uint64_t bytes_max) {
  while (std::optional<chain> part = co_await next()) {
    if (into.bytes() + part->bytes() > bytes_max) {
      state_->done = false;  // what came is not what was asked for
      state_->home.fail(*state_, {client_failure::too_long, "the body is longer than was asked for"});
      co_return false;
    }
    into.append(std::move(*part));
  }
  co_return complete();
}

bool call::complete() const { return state_->done; }
const client_error& call::why() const { return state_->failed; }
const trailer_parser* call::trailers() const { return state_->done ? state_->decoder.trailers() : nullptr; }
std::optional<std::string_view> call::trailer(std::string_view name) const {
  const trailer_parser* all = trailers();
  if (all == nullptr) return std::nullopt;
  return all->find(name);
}
std::uint32_t call::redirects() const { return state_->redirects; }
bool call::on_kept_connection() const { return state_->kept; }

void call::write_awaiter::await_suspend(std::coroutine_handle<> who) { of.writer = who; }
bool call::write_awaiter::await_resume() const { return sent && !of.over(); }

call::write_awaiter call::write(chain&& piece) {
  call_state& c = *state_;
  if (piece.empty()) return {c, !c.over(), false};
  chain bytes;
  bool room = true;
  if (c.framing == framing::chunks) {
    char line[chunk_line_max];
    const char* end = write_chunk_line(line, piece.bytes());
    room = bytes.append_copy(std::string_view{line, static_cast<std::size_t>(end - line)});
    bytes.append(std::move(piece));
    room = room && bytes.append_constant("\r\n");
  } else {
    std::optional<chain> part = piece.split(c.length_left);
    room = part.has_value();
    if (room) c.length_left -= part->bytes();
    if (room) bytes = std::move(*part);
  }
  if (!room) c.home.fail(c, {client_failure::no_memory, "no memory for the request"});
  bool waits = false;
  const bool sent = room && c.home.write(c, std::move(bytes), waits);
  return {c, sent, waits};
}

bool call::trailer(std::string_view name, std::string_view value) {
  if (state_->framing != framing::chunks || !valid_field(name, value)) return false;
  state_->trailers_out.append(name).append(": ").append(value).append("\r\n");
  return true;
}

void call::finish() {
  call_state& c = *state_;
  if (c.over() || c.sent_all) return;
  if (c.framing == framing::length && c.length_left != 0)
    return c.home.fail(c, {client_failure::bad_request, "the request's body was shorter than its length"});
  chain end;
  bool waits = false;
  if (c.framing == framing::chunks) {
    if (!end.append_copy("0\r\n") || !end.append_copy(c.trailers_out) || !end.append_copy("\r\n"))
      return c.home.fail(c, {client_failure::no_memory, "no memory for the request"});
    c.home.write(c, std::move(end), waits);
  }
  c.home.request_complete(c);
}

void call::abort() { state_->home.fail(*state_, {client_failure::given_up, "the call was given up"}); }

}  // namespace catenet::http
