// See figures.hpp.
#include "chat/figures.hpp"

#include <catenet/engine/core.hpp>

#include "support/server_program.hpp"

#include <string>
#include <string_view>
#include <utility>

namespace catenet::examples {

namespace {
constexpr std::uint32_t every_ms = 1000;
constexpr std::string_view topic = "figures";
}  // namespace

std::string figures::text() const {
  std::string json = statistics_json(of_);
  json.pop_back();  // the newline at its end
  return json;
}

ws::options figures::route(ws::options base) {
  base.when_slow = ws::slow_policy::conflate;
  base.missed = {};  // what is conflated is not missed
  base.open = [self = shared_from_this()](ws::connection& c) { self->came(c); };
  base.close = [self = shared_from_this()](ws::connection&, ws::close_code, std::string_view) {
    self->left();
  };
  return base;
}

void figures::came(ws::connection& c) {
  core& here = *core::current();
  lobby& mine = cores_[here.index()];
  ++mine.listeners;
  if (!mine.greeting || here.now_ms() - mine.made_ms >= every_ms) {
    mine.greeting.emplace(ws::message::text(text()));
    mine.made_ms = here.now_ms();
  }
  c.send(*mine.greeting);
  c.subscribe(topic);
  if (listeners_.fetch_add(1) != 0) return;
  of_.net().at(0).post([this] {
    if (!armed()) of_.net().at(0).timers().start(*this, every_ms);
  });
}

void figures::left() {
  lobby& mine = cores_[core::current()->index()];
  if (--mine.listeners == 0) mine.greeting.reset();
  listeners_.fetch_sub(1);
}

// On core 0.
void figures::expire() {
  if (listeners_ == 0) return;  // the next one who comes starts it again
  of_.topics().publish(topic, text());
  of_.net().at(0).timers().start(*this, every_ms);
}

}  // namespace catenet::examples
