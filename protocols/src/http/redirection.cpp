// Where a redirect leads: resolving Location, and what of a request goes there.
#include "http/redirection.hpp"

#include "http/chars.hpp"
#include "http/scan.hpp"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <utility>

namespace catenet::http {

namespace {

// RFC 3986 §5.2.4, for a path that begins with a slash.
std::string without_dots(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/', 1), path.size());
    const std::string_view step = path.substr(0, end);
    path.remove_prefix(end);
    const bool up = step == "/..";
    if (up) out.erase(std::min(out.rfind('/'), out.size()));
    if (up || step == "/.")
      out.append(path.empty() ? "/" : "");
    else
      out.append(step);
  }
  return out;
}

// scheme ":" of RFC 3986 §3.1, with the colon; nothing where the reference is a relative one.
std::string_view scheme_of(std::string_view reference) {
  const std::size_t end = reference.find_first_of(":/?#");
  if (end == std::string_view::npos || reference[end] != ':') return {};
  return reference.substr(0, end + 1);
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view one) { return equal_ignoring_case(one, name); });
}

// Takes the lines away whose names `unwanted` picks.
template <class Unwanted>
void drop_lines(std::string& lines, Unwanted&& unwanted) {
  std::string kept;
  for (std::string_view rest = lines; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find("\r\n") + 2);
    rest.remove_prefix(line.size());
    if (!unwanted(line.substr(0, line.find(':')))) kept.append(line);
  }
  lines = std::move(kept);
}

// What is a secret between the asker and one origin.
bool is_credential(std::string_view name) {
  return is_one_of(name, {"authorization", "cookie", "proxy-authorization"});
}

// What describes a body.
bool is_about_body(std::string_view name) {
  return equal_ignoring_case(name.substr(0, 8), "content-") ||
         is_one_of(name, {"digest", "repr-digest", "last-modified"});
}

}  // namespace

std::string resolve_target(std::string_view base, std::string_view reference) {
  if (!base.starts_with('/')) base = "/";  // the asterisk of OPTIONS
  const std::string_view base_path = base.substr(0, base.find('?'));
  if (reference.empty()) return std::string{base};
  if (reference.starts_with('?')) return std::string{base_path}.append(reference);
  const std::size_t query = std::min(reference.find('?'), reference.size());
  std::string path;
  if (!reference.starts_with('/')) path = base_path.substr(0, base_path.rfind('/') + 1);
  path.append(reference.substr(0, query));
  return without_dots(path).append(reference.substr(query));
}

bool redirection::follow(const reply_head& head) {
  const bool sees_other = head.status == 303;
  const bool moved = head.status == 301 || head.status == 302;
  if (!sees_other && !moved && head.status != 307 && head.status != 308) return false;
  const bool without_body = request.method_ != "HEAD" && (sees_other || (moved && request.method_ == "POST"));
  const bool there =
      request.source_ == client_request::source::none || request.source_ == client_request::source::whole;
  if ((!there && !without_body) || head.fields.count("location") != 1) return false;
  if (!go_to(head.fields.find("location").value_or(""))) return false;
  if (without_body) ask_without_body();
  return true;
}

// RFC 9110 §10.2.2. A fragment is for who reads the answer.
bool redirection::go_to(std::string_view location) {
  location = location.substr(0, location.find('#'));
  const std::string_view scheme = scheme_of(location);
  if (!scheme.empty() && !equal_ignoring_case(scheme, "http:")) return false;
  std::string_view rest = location.substr(scheme.size());
  std::optional<origin> other;
  if (rest.starts_with("//")) {
    const std::string_view authority = rest.substr(2, std::min(rest.find_first_of("/?", 2), rest.size()) - 2);
    rest.remove_prefix(2 + authority.size());
    const std::string& here = request.host_.empty() ? to.authority() : request.host_;
    if (!equal_ignoring_case(authority, here)) {
      if (!valid_authority(authority) || origin::parse("http://" + std::string{authority}, other.emplace()))
        return false;
    }
    if (!rest.starts_with('/')) return go_to_target(std::string{"/"}.append(rest), std::move(other));
  } else if (!scheme.empty()) {
    return false;
  }
  return go_to_target(resolve_target(request.target_, rest), std::move(other));
}

bool redirection::go_to_target(std::string target, std::optional<origin> other) {
  if (!all_are(target, char_target)) return false;
  request.target_ = std::move(target);
  if (!other) return true;
  to = std::move(*other);
  request.host_.clear();
  drop_lines(request.fields_, is_credential);
  return true;
}

void redirection::ask_without_body() {
  request.method_ = "GET";
  request.source_ = client_request::source::none;
  request.length_ = 0;
  request.body_.clear();
  drop_lines(request.fields_, is_about_body);
}

}  // namespace catenet::http
