// What handlers ask of a connection.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/ws/connection.hpp>
#include <catenet/ws/encoder.hpp>

#include "ws/service.hpp"

#include <algorithm>

namespace catenet::ws {

void* connection::operator new(std::size_t bytes) noexcept { return mi_malloc_small(bytes); }
void connection::operator delete(void* at) { mi_free(at); }

service& connection::owner() const { return static_cast<service&>(*stream_->owner_protocol()); }

std::uint64_t connection::unsent() const {
  const bool more = activity_ != nullptr && activity_->waiting;
  return stream_->unsent() + (more ? activity_->waiting->bytes() : 0);
}

bool connection::would_exceed(std::uint64_t bytes) const {
  const std::uint64_t waiting = unsent();
  return waiting != 0 && waiting + bytes > owner().options().max_queued;
}

// The budget counts frames, as if nothing were compressed.
send_result connection::refusal(std::uint64_t payload_bytes) {
  if (!is_open()) return send_result::gone;
  const bool masked = owner().self() == role::client;
  return owner().has_room(*this, payload_bytes + header_size(payload_bytes, masked))
             ? send_result::sent
             : send_result::over_limit;
}

// A copy that is shorter than what it is of found no room in the slab.
send_result connection::send_copy(std::span<const std::byte> bytes, bool is_text) {
  const send_result refused = refusal(bytes.size());
  if (refused != send_result::sent) return refused;
  if (owner().frames_as_is(*this, bytes.size()))
    return owner().send_frame(*this, encode(is_text ? opcode::text : opcode::binary, bytes));
  message copy{chain::copy_of(bytes), is_text};
  return copy.size() == bytes.size() ? owner().send(*this, std::move(copy)) : send_result::over_limit;
}

send_result connection::send(std::string_view text) { return send_copy(as_bytes(text), true); }
send_result connection::send(std::span<const std::byte> binary) { return send_copy(binary, false); }

send_result connection::send(message&& m) {
  const send_result refused = refusal(m.size());
  return refused != send_result::sent ? refused : owner().send(*this, std::move(m));
}

send_result connection::send(message& m) {
  std::optional<message> twin = m.share();
  return twin ? send(std::move(*twin)) : send_result::over_limit;
}

send_result connection::send(prepared& m) {
  if (owner().self() == role::client) {
    std::optional<message> again = m.unframed();
    return again ? send(std::move(*again)) : send_result::over_limit;
  }
  const send_result refused = refusal(m.frame_.bytes() - m.header_bytes_);
  if (refused != send_result::sent) return refused;
  std::optional<chain> twin = m.frame_.share();
  return twin ? owner().send_frame(*this, std::move(*twin)) : send_result::over_limit;
}

send_result connection::ping(std::string_view payload) {
  const send_result refused = refusal(payload.size());
  if (refused != send_result::sent) return refused;
  return owner().send_control(*this, opcode::ping, chain::copy_of(payload.substr(0, control_payload_max)));
}

void connection::close(close_code code, std::string_view reason) { owner().begin_close(*this, code, reason); }

void connection::abort() {
  set(flag_close_sent);  // it is not open any more
  stream_->abort();
}

bool connection::subscribe(std::string_view topic) {
  return is_open() && owner().self() == role::server && owner().topics().subscribe(*this, topic);
}
bool connection::unsubscribe(std::string_view topic) { return owner().topics().unsubscribe(*this, topic); }

std::size_t connection::publish(std::string_view topic, std::string_view text) {
  return owner().topics().publish_copy(topic, as_bytes(text), true, this);
}
std::size_t connection::publish(std::string_view topic, message&& m) {
  return owner().topics().publish({topic, std::move(m)}, this);
}
std::size_t connection::publish(std::string_view topic, message& m) {
  std::optional<message> twin = m.share();
  return twin ? publish(topic, std::move(*twin)) : 0;
}
std::size_t connection::publish_to_all(std::string_view topic, message&& m) {
  return owner().topics().publish({topic, std::move(m)}, nullptr);
}
std::size_t connection::publish_to_all(std::string_view topic, message& m) {
  std::optional<message> twin = m.share();
  return twin ? publish_to_all(topic, std::move(*twin)) : 0;
}

ws::remote connection::remote() const { return {owner().home().owner(), stream_->id()}; }

// ---- from other threads

connection* remote::find() const {
  core* here = core::current();
  stream* s = here == nullptr ? nullptr : here->find(handle_);
  if (s == nullptr) return nullptr;
  auto* c = static_cast<connection*>(s->session());
  return c->is_open() ? c : nullptr;
}

bool remote::run(callback<void(connection*)> f) const {
  if (engine_ == nullptr || !handle_) return false;
  return engine_->at(handle_.core).post([self = *this, f = std::move(f)] {
    try {
      f(self.find());
    } catch (...) {
      log_thrown();
      if (connection* c = self.find()) c->close(close_code::internal_error);
    }
  });
}

bool remote::send(std::string message, bool is_text, callback<void(send_result)> told) const {
  return run([bytes = std::move(message), is_text, told = std::move(told)](connection* c) {
    send_result result = send_result::gone;
    if (c != nullptr) result = is_text ? c->send(std::string_view{bytes}) : c->send(as_bytes(bytes));
    if (told) told(result);
  });
}

bool remote::close(close_code code, std::string reason) const {
  return run([code, reason = std::move(reason)](connection* c) {
    if (c != nullptr) c->close(code, reason);
  });
}

}  // namespace catenet::ws
