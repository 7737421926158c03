// The opening handshake against rows 68, 69 and 71–75 of bad-input.md.
#include <catenet/http/head_parser.hpp>
#include <catenet/ws/handshake.hpp>
#include <catenet/ws/options.hpp>

#include "ws_frames.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace catenet::ws::testing {
namespace {

using namespace std::string_literals;

// The example of RFC 6455 §1.3.
const std::string start = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\n";
const std::string upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const std::string version = "Sec-WebSocket-Version: 13\r\n";
const std::string good = start + upgrade + key + version;

struct row {
  std::string name;
  std::string head;  ///< without the final empty line
  unsigned status = 101;
  std::string subprotocol{};
};
void PrintTo(const row& r, std::ostream* out) { *out << r.name; }

class ws_handshake : public slab_test, public ::testing::WithParamInterface<row> {};

TEST_P(ws_handshake, gets_its_answer) {
  options policy;
  policy.subprotocols = {"chat", "superchat"};
  policy.origins = {"https://example.org", "http://localhost:8080"};
  policy.deflate.enabled = true;
  chain in = chain::copy_of(GetParam().head + "\r\n");
  http::head_parser parser;
  http::request_head head;
  ASSERT_EQ(parser.next(in, http::limits{}, head), http::head_parser::progress::complete)
      << parser.why().reason;
  const handshake answer = check_handshake(head, policy);
  EXPECT_EQ(answer.status, GetParam().status) << answer.reason;
  EXPECT_EQ(answer.subprotocol, GetParam().subprotocol);
  if (answer.status == 101) {
    EXPECT_EQ(std::string(answer.accept.data(), answer.accept.size()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  }
}

std::string with(const std::string& field) { return good + field + "\r\n"; }
std::string key_of(const std::string& value) {
  return start + upgrade + version + "Sec-WebSocket-Key: " + value + "\r\n";
}

INSTANTIATE_TEST_SUITE_P(
    rows, ws_handshake,
    ::testing::Values(
        row{"0_example", good},
        row{"0_other_cases", start + "UPGRADE: WebSocket\r\nconnection: UPGRADE\r\n" + key + version},
        row{"0_among_other_upgrades",
            start + "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n" + key + version},
        row{"0_no_upgrade", start + key + version, 426},
        row{"0_another_upgrade", start + "Upgrade: h2c\r\nConnection: Upgrade\r\n" + key + version, 426},
        row{"68_with_a_body", with("Content-Length: 5"), 400},
        row{"68_with_chunks", with("Transfer-Encoding: chunked"), 400},
        row{"68_an_empty_body", with("Content-Length: 0")}, row{"68_post", "POST" + good.substr(3), 400},
        row{"68_head", "HEAD" + good.substr(3), 400},
        row{"69_http_1_0", "GET /chat HTTP/1.0\r\nHost: a\r\n" + upgrade + key + version, 426},
        row{"71_version_8", start + upgrade + key + "Sec-WebSocket-Version: 8\r\n", 426},
        row{"71_version_0", start + upgrade + key + "Sec-WebSocket-Version: 0\r\n", 426},
        row{"71_version_013", start + upgrade + key + "Sec-WebSocket-Version: 013\r\n", 426},
        row{"71_version_missing", start + upgrade + key, 426},
        row{"71_version_twice", with("Sec-WebSocket-Version: 13"), 426},
        row{"71_versions_listed", start + upgrade + key + "Sec-WebSocket-Version: 13, 8\r\n", 426},
        row{"72_key_missing", start + upgrade + version, 400}, row{"72_key_empty", key_of(""), 400},
        row{"72_key_of_15_bytes", key_of("dGhlIHNhbXBsZSBub25j"), 400},
        row{"72_key_of_17_bytes", key_of("dGhlIHNhbXBsZSBub25jZWE="), 400},
        row{"72_key_of_18_bytes", key_of("dGhlIHNhbXBsZSBub25jZWFh"), 400},
        row{"72_key_with_a_bad_character", key_of("dGhlIHNhbXBsZSBub25jZ!=="), 400},
        row{"72_key_with_a_space", key_of("dGhlIHNhbXBsZSB ub25jZQ=="), 400},
        row{"72_key_padded_early", key_of("dGhlIHNhbXBsZSBub25j===="), 400},
        row{"72_key_twice", good + key, 400},
        row{"73_keep_alive_and_upgrade",
            start + "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" + key + version},
        row{"73_two_connection_fields",
            start + "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n" + key +
                version},
        row{"74_origin_let_in", with("Origin: https://example.org")},
        row{"74_origin_in_another_case", with("Origin: HTTPS://Example.org")},
        row{"74_foreign_origin", with("Origin: https://evil.example"), 403},
        row{"74_origin_as_a_prefix", with("Origin: https://example.org.evil.example"), 403},
        row{"74_origin_of_another_port", with("Origin: https://example.org:444"), 403},
        row{"74_null_origin", with("Origin: null"), 403},
        row{"74_two_origins", with("Origin: https://example.org\r\nOrigin: https://example.org"), 403},
        row{"75_subprotocol_offered", with("Sec-WebSocket-Protocol: superchat"), 101, "superchat"},
        row{"75_clients_order_counts", with("Sec-WebSocket-Protocol: other, superchat , chat"), 101,
            "superchat"},
        row{"75_over_two_fields", with("Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: chat"), 101,
            "chat"},
        row{"75_none_spoken", with("Sec-WebSocket-Protocol: other, another")},
        row{"75_case_counts", with("Sec-WebSocket-Protocol: CHAT")},
        row{"75_malformed", with("Sec-WebSocket-Protocol: chat, @home"), 400},
        row{"75_with_a_space", with("Sec-WebSocket-Protocol: chat room"), 400},
        row{"75_empty_elements", with("Sec-WebSocket-Protocol: ,, superchat,,chat, "), 101, "superchat"},
        row{"75_only_empty_elements", with("Sec-WebSocket-Protocol: ,"), 400},
        row{"75_empty", with("Sec-WebSocket-Protocol: "), 400},
        row{"99_extensions_malformed", with("Sec-WebSocket-Extensions: permessage-deflate;"), 400},
        row{"99_extensions_empty", with("Sec-WebSocket-Extensions: "), 400},
        row{"99_only_empty_extensions", with("Sec-WebSocket-Extensions: ,"), 400},
        row{"99_empty_extensions_among_others", with("Sec-WebSocket-Extensions: , foo,")},
        row{"99_an_offer_declined",
            with("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7")},
        row{"75_twice_the_same", with("Sec-WebSocket-Protocol: chat, chat"), 400}),
    [](const ::testing::TestParamInfo<row>& one) { return "row_" + one.param.name; });

}  // namespace
}  // namespace catenet::ws::testing
