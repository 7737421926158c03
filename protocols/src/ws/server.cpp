// http::server::websocket: a GET route whose answer, when the handshake is good, hands the connection over.
#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/engine/log.hpp>
#include <catenet/http/request_head.hpp>
#include <catenet/ws/handshake.hpp>
#include <catenet/ws/server.hpp>

#include "ws/service.hpp"

#include <memory>
#include <string>
#include <vector>

namespace catenet::ws {

namespace {

// A route: its options, and a service for each core, made by that core when it is first needed.
class route {
 public:
  route(options o, hub& topics, unsigned cores)
      : options_(std::make_shared<const options>(std::move(o))), hub_(topics), services_(cores) {}

  void answer(http::request& rq, http::response& rs) {
    const handshake good = check(rq);
    if (good.status != 101) return refuse(rs, good);
    accept(rq, rs, good, {});
  }

  /// The same, where a handler decides who is let in.
  task<> ask_and_answer(http::request& rq, http::response& rs) {
    const handshake good = check(rq);
    if (good.status != 101) {
      refuse(rs, good);
      co_return;
    }
    upgrade u{rs};
    task<> deciding;
    options_->upgrade(rq, u, deciding);
    if (deciding) co_await deciding;
    if (!u.refused() && rs.status() < 300) accept(rq, rs, good, std::move(u.opened));
  }

  [[nodiscard]] bool asks() const { return static_cast<bool>(options_->upgrade); }

 private:
  handshake check(http::request& rq) {
    if (!options_->deflate.client_context_takeover || at(rq.core()).has_room_for_context())
      return check_handshake(rq.head(), *options_);
    deflate_options scarce = options_->deflate;
    scarce.client_context_takeover = false;
    return check_handshake(rq.head(), *options_, &scarce);
  }

  static void refuse(http::response& rs, const handshake& answer) {
    rs.status(answer.status);
    if (answer.status == 426)
      rs.header("Connection", "Upgrade").header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13");
    rs.text(answer.reason, "\n");
  }

  void accept(http::request& rq, http::response& rs, const handshake& good,
              callback<void(connection&)>&& opened) {
    rs.header("Sec-WebSocket-Accept", {good.accept.data(), good.accept.size()});
    if (!good.subprotocol.empty()) rs.header("Sec-WebSocket-Protocol", good.subprotocol);
    if (good.deflate.agreed) rs.header("Sec-WebSocket-Extensions", good.deflate.text());
    service& s = at(rq.core());
    rs.upgrade("websocket",
               [&s, deflate = good.deflate, first = std::move(opened)](stream& from, chain&& leftover) {
                 s.adopt(from, std::move(leftover), deflate, first);
               });
  }

  service& at(core& c) {
    std::unique_ptr<service>& mine = services_[c.index()];
    if (!mine) mine = std::make_unique<service>(c, options_, hub_);
    return *mine;
  }

  std::shared_ptr<const options> options_;
  hub& hub_;
  std::vector<std::unique_ptr<service>> services_;
};

}  // namespace

void upgrade::refuse(std::uint32_t status, std::string_view why) {
  refused_ = true;
  if (status < 300 || status > 599) {
    log(log_level::error, "ws::upgrade::refuse(" + std::to_string(status) +
                              "): that status refuses nothing, 500 is answered; 3xx, 4xx and 5xx do");
    status = 500;
    why = "the upgrade was refused with a status that does not say so\n";
  }
  answer.status(status);
  answer.text(why);
}

}  // namespace catenet::ws

catenet::http::server& catenet::http::server::websocket(std::string_view pattern, ws::options options) {
  auto made = std::make_shared<ws::route>(std::move(options), topics(), net().cores());
  if (made->asks())
    return get(pattern, [made](request& rq, response& rs) { return made->ask_and_answer(rq, rs); });
  return get(pattern, [made](request& rq, response& rs) { made->answer(rq, rs); });
}
