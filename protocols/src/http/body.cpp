// Waiting for a body.
#include <catenet/http/body.hpp>

#include "http/exchange.hpp"
#include "http/sessions.hpp"

namespace catenet::http {

bool body::next_awaiter::await_ready() { return of.home.pull(of); }

void body::next_awaiter::await_suspend(std::coroutine_handle<> who) { of.body_waiter = waiter = who; }

body::next_awaiter::~next_awaiter() {
  if (waiter && of.body_waiter == waiter) of.body_waiter = {};
}

std::optional<chain> body::next_awaiter::await_resume() {
  if (!of.part.empty()) return std::move(of.part);
  if (of.broken) throw aborted(of.broken);
  if (of.wire == nullptr) throw aborted({400, "the connection ended before the body did"});
  return std::nullopt;
}

task<chain> body::collect(std::uint64_t bytes_max) {
  chain all;
  while (std::optional<chain> part = co_await next()) {
    if (all.bytes() + part->bytes() > bytes_max) throw aborted({413, "the body is too long"});
    all.append(std::move(*part));
  }
  co_return all;
}

task<std::string> body::text(std::uint64_t bytes_max) {
  std::string all;
  while (std::optional<chain> part = co_await next()) {
    if (all.size() + part->bytes() > bytes_max) throw aborted({413, "the body is too long"});
    const std::size_t had = all.size();
    all.resize(had + part->bytes());
    part->copy_to({reinterpret_cast<std::byte*>(all.data()) + had, part->bytes()});
  }
  co_return all;
}

std::optional<std::uint64_t> body::length() const {
  if (exchange_.head.chunked) return std::nullopt;
  return exchange_.head.content_length;
}

const trailer_parser* body::trailers() const {
  return exchange_.body_left() ? nullptr : exchange_.decoder.trailers();
}

std::optional<std::string_view> body::trailer(std::string_view name) const {
  const trailer_parser* all = trailers();
  if (all == nullptr) return std::nullopt;
  return all->find(name);
}

}  // namespace catenet::http
