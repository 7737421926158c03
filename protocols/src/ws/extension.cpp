// Reading lists of extensions (RFC 6455 §9.1), and agreeing on permessage-deflate.
#include <catenet/ws/extension.hpp>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace catenet::ws {

namespace {

struct parameter {
  std::string_view name;
  std::optional<std::string> value;
};
struct extension {
  std::string_view name;
  std::vector<parameter> parameters;
};

constexpr std::size_t extensions_max = 32, parameters_max = 16;

// extension-list = 1#( token *( OWS ";" OWS token [ "=" ( token / quoted-string ) ] ) )
class reader {
 public:
  explicit reader(std::string_view text) : left_(text) {}

  bool read(std::vector<extension>& into) {
    do {
      skip_space();
      if (left_.empty() || left_.front() == ',') continue;  // an empty element (RFC 9110 §5.6.1.2)
      extension one;
      if (!read_one(one) || into.size() == extensions_max) return false;
      into.push_back(std::move(one));
    } while (take(','));
    return left_.empty();
  }

 private:
  bool read_one(extension& into) {
    if (!token(into.name)) return false;
    for (skip_space(); take(';'); skip_space()) {
      parameter p;
      skip_space();
      if (!token(p.name) || into.parameters.size() == parameters_max) return false;
      skip_space();
      if (take('=')) {
        skip_space();
        if (!value(p.value.emplace())) return false;
      }
      into.parameters.push_back(std::move(p));
    }
    return true;
  }

  bool value(std::string& into) {
    if (!take('"')) {
      std::string_view plain;
      const bool good = token(plain);
      into = plain;
      return good;
    }
    while (!left_.empty() && left_.front() != '"') {
      if (left_.front() == '\\') left_.remove_prefix(1);
      if (left_.empty()) return false;
      into += left_.front();
      left_.remove_prefix(1);
    }
    // What stands in the quotes must be a token, too (RFC 6455 §9.1).
    return take('"') && !into.empty() && std::ranges::all_of(into, is_token_char);
  }

  bool token(std::string_view& into) {
    const auto end = std::ranges::find_if_not(left_, is_token_char);
    into = left_.substr(0, static_cast<std::size_t>(end - left_.begin()));
    left_.remove_prefix(into.size());
    return !into.empty();
  }

  bool take(char c) {
    if (left_.empty() || left_.front() != c) return false;
    left_.remove_prefix(1);
    return true;
  }
  void skip_space() {
    while (!left_.empty() && (left_.front() == ' ' || left_.front() == '\t')) left_.remove_prefix(1);
  }
  static bool is_token_char(char c) {
    constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
  }

  std::string_view left_;
};

constexpr std::string_view deflate_name = "permessage-deflate";
enum : std::size_t { server_no_takeover, client_no_takeover, server_bits, client_bits, names };
constexpr std::string_view parameter_names[names] = {"server_no_context_takeover",
                                                     "client_no_context_takeover", "server_max_window_bits",
                                                     "client_max_window_bits"};

// 8..15 without a leading zero (RFC 7692 §7.1.2), else 0.
unsigned bits_of(const std::string& text) {
  if (text == "8" || text == "9") return static_cast<unsigned>(text[0] - '0');
  if (text.size() == 2 && text[0] == '1' && text[1] >= '0' && text[1] <= '5')
    return 10 + static_cast<unsigned>(text[1] - '0');
  return 0;
}

// What an option asks for, of the windows that there are.
std::uint8_t window_of(std::uint8_t asked) { return std::clamp(asked, window_bits_min, window_bits_max); }

// The parameters of one permessage-deflate, each checked by itself.
struct given {
  bool has[names] = {};
  unsigned bits[names] = {};  // 0: no value
};

bool read_parameters(const extension& e, given& into) {
  for (const parameter& p : e.parameters) {
    const auto* which = std::ranges::find(parameter_names, p.name);
    const auto i = static_cast<std::size_t>(which - parameter_names);
    if (i == names || into.has[i]) return false;
    into.has[i] = true;
    if (i == server_no_takeover || i == client_no_takeover) {
      if (p.value) return false;
    } else if (p.value) {
      into.bits[i] = bits_of(*p.value);
      if (into.bits[i] == 0) return false;
    } else if (i == server_bits) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool negotiate(std::span<const std::string_view> offers, const deflate_options& options,
               deflate_agreement& into) {
  into = {};
  std::vector<extension> offered;
  for (const std::string_view value : offers)
    if (!reader{value}.read(offered)) return false;
  if (!offers.empty() && offered.empty()) return false;  // one at least (RFC 6455 §9.1)
  if (!options.enabled) return true;
  for (const extension& e : offered) {
    given g;
    if (e.name != deflate_name || !read_parameters(e, g)) continue;
    if (g.has[server_bits] && g.bits[server_bits] < window_bits_min) continue;
    if (g.bits[client_bits] != 0 && g.bits[client_bits] < window_bits_min) continue;
    into.agreed = true;
    into.server_context_takeover = options.server_context_takeover && !g.has[server_no_takeover];
    into.client_context_takeover = options.client_context_takeover && !g.has[client_no_takeover];
    into.server_window_bits = window_of(options.server_window_bits);
    if (g.has[server_bits])
      into.server_window_bits =
          static_cast<std::uint8_t>(std::min<unsigned>(into.server_window_bits, g.bits[server_bits]));
    into.say_server_bits_ = g.has[server_bits] || into.server_window_bits != window_bits_max;
    // Not to be sent back unless it was offered (RFC 7692 §7.1.2.2).
    if (g.has[client_bits]) {
      const unsigned theirs = g.bits[client_bits] == 0 ? window_bits_max : g.bits[client_bits];
      into.client_window_bits =
          static_cast<std::uint8_t>(std::min<unsigned>(window_of(options.client_window_bits), theirs));
      into.say_client_bits_ = into.client_window_bits != window_bits_max;
    }
    return true;
  }
  return true;
}

std::string deflate_agreement::text() const {
  std::string out{deflate_name};
  if (!server_context_takeover) out += "; server_no_context_takeover";
  if (!client_context_takeover) out += "; client_no_context_takeover";
  if (say_server_bits_) out += "; server_max_window_bits=" + std::to_string(server_window_bits);
  if (say_client_bits_) out += "; client_max_window_bits=" + std::to_string(client_window_bits);
  return out;
}

std::string offer_of(const deflate_options& options) {
  if (!options.enabled) return {};
  std::string out{deflate_name};
  if (!options.server_context_takeover) out += "; server_no_context_takeover";
  if (!options.client_context_takeover) out += "; client_no_context_takeover";
  const std::uint8_t bits = window_of(options.server_window_bits);
  if (bits != window_bits_max) out += "; server_max_window_bits=" + std::to_string(bits);
  return out + "; client_max_window_bits";
}

const char* accept_answer(std::string_view answer, const deflate_options& options, deflate_agreement& into) {
  into = {};
  std::vector<extension> answered;
  if (!reader{answer}.read(answered)) return "the answer's Sec-WebSocket-Extensions is malformed";
  if (answered.empty()) return nullptr;
  if (answered.size() != 1) return "the server chose more than one extension";
  if (!options.enabled || answered[0].name != deflate_name)
    return "the server chose an extension that was not offered";
  given g;
  if (!read_parameters(answered[0], g)) return "the server's parameters of permessage-deflate are not valid";
  // What we asked of the server it has to grant, and a window for us needs its bits (RFC 7692 §7.1).
  const unsigned theirs = g.has[server_bits] ? g.bits[server_bits] : window_bits_max;
  const bool wide = theirs > window_of(options.server_window_bits);
  if (wide || (!options.server_context_takeover && !g.has[server_no_takeover]))
    return "the server does not grant what was asked of permessage-deflate";
  if (g.has[client_bits] && g.bits[client_bits] == 0)
    return "the server's parameters of permessage-deflate are not valid";
  if (g.has[client_bits] && g.bits[client_bits] < window_bits_min)
    return "the server wants client_max_window_bits=8, but zlib compresses with 9 at least";
  into.agreed = true;
  into.server_context_takeover = !g.has[server_no_takeover];
  into.client_context_takeover = options.client_context_takeover && !g.has[client_no_takeover];
  if (g.has[server_bits]) into.server_window_bits = static_cast<std::uint8_t>(g.bits[server_bits]);
  if (g.has[client_bits]) into.client_window_bits = static_cast<std::uint8_t>(g.bits[client_bits]);
  return nullptr;
}

}  // namespace catenet::ws
