// http::server::websocket: a GET route whose answer, when the handshake is good, hands the connection over.
#include <catenet/ws/server.hpp>

#include <catenet/engine/core.hpp>
#include <catenet/engine/engine.hpp>
#include <catenet/http/request_head.hpp>
#include <catenet/ws/handshake.hpp>

#include <memory>
#include <vector>

#include "ws/service.hpp"

namespace catenet::ws {

namespace {

// A route: its options, and a service for each core, made by that core when it is first needed.
class route {
 public:
  route(options o, hub& topics, unsigned cores)
      : options_(std::make_shared<const options>(std::move(o))), hub_(topics), services_(cores) {}

  void operator()(http::request& rq, http::response& rs) {
    const handshake answer = check_handshake(rq.head(), *options_);
    if (answer.status != 101) return refuse(rs, answer);
    rs.header("Sec-WebSocket-Accept", {answer.accept.data(), answer.accept.size()});
    if (!answer.subprotocol.empty()) rs.header("Sec-WebSocket-Protocol", answer.subprotocol);
    if (answer.deflate.agreed) rs.header("Sec-WebSocket-Extensions", answer.deflate.text());
    service& s = at(rq.core());
    rs.upgrade("websocket", [&s, deflate = answer.deflate](stream& from, chain&& leftover) {
      s.adopt(from, std::move(leftover), deflate);
    });
  }

 private:
  static void refuse(http::response& rs, const handshake& answer) {
    rs.status(answer.status);
    if (answer.status == 426) rs.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13");
    rs.text(answer.reason, "\n");
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

}  // namespace catenet::ws

catenet::http::server& catenet::http::server::websocket(std::string_view pattern, ws::options options) {
  auto made = std::make_shared<ws::route>(std::move(options), topics(), net().cores());
  return get(pattern, [made](request& rq, response& rs) { (*made)(rq, rs); });
}
