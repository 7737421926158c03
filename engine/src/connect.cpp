// Outgoing connections: from the asking to the stream that stands, or to the reason why there is none.
#include <catenet/engine/core.hpp>
#include <catenet/engine/endpoint.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/error.hpp>

#include "core_state.hpp"

#include <cerrno>
#include <memory>

namespace catenet {

namespace {

error failed(const endpoint& where, int code) {
  std::string advice;
  if (code == ECONNREFUSED) advice = "nobody listens there";
  if (code == ENOENT && where.is_unix()) advice = "there is no such socket";
  if (code == ETIMEDOUT) advice = "nobody answered in time";
  if (code == EAGAIN && where.is_unix()) advice = "its queue of connections is full";
  if (code == EMFILE || code == ENFILE) advice = "raise the limit of open descriptors (ulimit -n)";
  return {"connect", where.text(), code, std::move(advice)};
}

}  // namespace

stream* core::connect(const endpoint& where, protocol& speaks, error& why, connect_options options) {
  core_state& c = *state_;
  const int fd = c.io->open_socket(where, owner().options().pace_within_host);
  if (fd < 0) {
    why = failed(where, -fd);
    return nullptr;
  }
  stream* made = c.streams.take();
  if (made == nullptr) {
    c.io->close_now(fd);
    why = failed(where, ENOMEM);
    return nullptr;
  }
  c.connections.add(1);
  made->set_session(options.session);
  made->start_connect(fd, speaks, where, options.timeout_ms);
  return made;
}

void stream::start_connect(int fd, protocol& p, const endpoint& to, std::uint32_t timeout_ms) {
  fd_ = fd;
  protocol_ = &p;
  flags_ = flag_untold | flag_connecting | flag_curious;
  active_ms_ = home().now_ms();
  traffic().target = std::make_unique<endpoint>(to);
  set_deadline(timeout_ms);
  home().state_->io->connect(fd_, token{operation::connect, stream_table::slot_of(this), generation_},
                             *traffic_->target);
}

void stream::on_connect(std::int32_t result) {
  clear(flag_connecting);
  if ((flags_ & flag_dead) != 0) return try_finish();
  if (result < 0) return refuse(-result);
  traffic_->target.reset();
  clear_deadline();
  active_ms_ = home().now_ms();
  mark_dirty();  // what was queued meanwhile
  if (closing()) return;
  arm();
  arm_timer();
  protocol_->opened(*this);
}

void stream::refuse(int code) {
  const error why = failed(*traffic_->target, code);
  flags_ |= flag_closing;  // it takes no more
  protocol_->refused(*this, why);
  if ((flags_ & flag_dead) == 0) wind_down(code);
}

}  // namespace catenet
