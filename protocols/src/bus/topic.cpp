// Fan-out.
#include <catenet/bus/topic.hpp>

namespace catenet::bus {

topic::outcome topic::publish(const packet& message) {
  outcome told;
  std::erase_if(subscribers_, [&](subscriber& s) {
    auto view = message.clone().send();
    const push_result result = view ? s.to.try_send(*view) : push_result::full;
    if (result == push_result::sent) ++told.sent;
    if (result == push_result::full) {
      ++told.dropped;
      ++s.dropped;
    }
    return result == push_result::closed;
  });
  dropped_ += told.dropped;
  return told;
}

}  // namespace catenet::bus
