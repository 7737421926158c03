// See uploads.hpp.
#include "chat/uploads.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace catenet::examples {

namespace {

struct upload {
  std::string topic;
  std::uint64_t bytes = 0;  // of the file under way
};

std::string topic_of(std::string_view name) { return "upload/" + std::string{name}; }

void pass_on(ws::connection& c, ws::message_part part) {
  if (part.is_text) return c.close(ws::close_code::unsupported_data, "files are binary");
  upload& mine = *static_cast<upload*>(c.user);
  if (part.first) mine.bytes = 0;
  mine.bytes += part.bytes.bytes();
  if (!part.bytes.empty()) c.publish_to_all(mine.topic, ws::message{std::move(part.bytes), false});
  if (!part.last) return;
  const std::string sum = std::to_string(mine.bytes);
  c.publish_to_all(mine.topic, ws::message::text(sum));
  c.send(sum);
}

}  // namespace

ws::options uploading(ws::options base) {
  base.max_message = 1_GiB;
  base.part = &pass_on;
  base.close = [](ws::connection& c, ws::close_code, std::string_view) {
    delete static_cast<upload*>(std::exchange(c.user, nullptr));
  };
  return base;
}

void begin_upload(ws::connection& c, std::string_view name) { c.user = new upload{topic_of(name)}; }

ws::options downloading(ws::options base) {
  base.max_queued = 16_MiB;
  base.when_slow = ws::slow_policy::close;  // a file with a hole in it is of no use
  base.missed = {};
  return base;
}

void begin_download(ws::connection& c, std::string_view name) {
  if (!c.subscribe(topic_of(name))) c.close(ws::close_code::policy_violation, "no such name");
}

}  // namespace catenet::examples
