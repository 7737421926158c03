// Adding routes and finding them.
#include "http/routes.hpp"

#include <algorithm>
#include <stdexcept>

namespace catenet::http {

struct routes::node {
  std::string text;                             // literal text on the way to this node
  std::vector<std::unique_ptr<node>> literals;  // their first characters differ
  std::unique_ptr<node> segment;                // {name}
  std::unique_ptr<node> rest;                   // {name...}
  std::array<std::unique_ptr<route>, method_count> by_method;
  method_set methods = 0;

  node* literal(std::string_view more);
};

namespace {

// Texts of nodes are a few bytes: a loop is quicker than a call.
bool begins_with(std::string_view path, std::string_view text) {
  if (path.size() < text.size()) return false;
  for (std::size_t i = 0; i != text.size(); ++i)
    if (path[i] != text[i]) return false;
  return true;
}

[[noreturn]] void refuse(std::string_view pattern, const char* why) {
  throw std::invalid_argument("route \"" + std::string{pattern} + "\": " + why);
}

}  // namespace

// The node behind `more`, made and split off where it is not there yet.
routes::node* routes::node::literal(std::string_view more) {
  if (more.empty()) return this;
  for (std::unique_ptr<node>& child : literals) {
    const auto differs = std::mismatch(child->text.begin(), child->text.end(), more.begin(), more.end());
    const auto common = static_cast<std::size_t>(differs.second - more.begin());
    if (common == 0) continue;
    if (common != child->text.size()) {
      auto upper = std::make_unique<node>();
      upper->text = child->text.substr(0, common);
      child->text.erase(0, common);
      upper->literals.push_back(std::move(child));
      child = std::move(upper);
    }
    return child->literal(more.substr(common));
  }
  literals.push_back(std::make_unique<node>());
  literals.back()->text = more;
  return literals.back().get();
}

routes::routes() : root_(std::make_unique<node>()) {}
routes::~routes() = default;
routes::routes(routes&&) noexcept = default;
routes& routes::operator=(routes&&) noexcept = default;

void routes::add(method m, std::string_view pattern, route r) {
  if (pattern.empty() || pattern.front() != '/') refuse(pattern, "a pattern begins with /");
  if (m == method::other) refuse(pattern, "the method is not one of those that are known");
  node* at = root_.get();
  std::string_view left = pattern;
  while (!left.empty()) {
    const std::size_t open = left.find('{');
    at = at->literal(left.substr(0, open));
    if (open == std::string_view::npos) break;
    const std::size_t close = left.find('}', open);
    if (close == std::string_view::npos) refuse(pattern, "a { has no }");
    std::string_view name = left.substr(open + 1, close - open - 1);
    const bool rest = name.ends_with("...");
    if (rest) name.remove_suffix(3);
    const bool whole =
        open != 0 && left[open - 1] == '/' && (close + 1 == left.size() || left[close + 1] == '/');
    if (name.empty() || !whole) refuse(pattern, "a {name} stands for a whole segment");
    if (rest && close + 1 != left.size()) refuse(pattern, "a {name...} stands at the end");
    if (r.params.size() == params_max) refuse(pattern, "too many parameters");
    r.params.emplace_back(name);
    std::unique_ptr<node>& child = rest ? at->rest : at->segment;
    if (child == nullptr) child = std::make_unique<node>();
    at = child.get();
    left.remove_prefix(close + 1);
  }
  std::unique_ptr<route>& place = at->by_method[static_cast<std::size_t>(m)];
  if (place != nullptr) refuse(pattern, "there is a route for it already");
  place = std::make_unique<route>(std::move(r));
  at->methods |= bit_of(m);
}

// One look-up on its way down the tree.
struct routes::walk {
  method m;
  found& into;

  bool at_node(const node& n) {
    if (n.methods == 0) return false;
    const auto get = static_cast<std::size_t>(method::get);
    const route* hit = m == method::other ? nullptr : n.by_method[static_cast<std::size_t>(m)].get();
    if (hit == nullptr && m == method::head) hit = n.by_method[get].get();
    if (hit == nullptr) {
      into.allowed |= n.methods;
      return false;
    }
    into.hit = hit;
    return true;
  }

  static const node* literal_child(const node& n, std::string_view path) {
    if (path.empty()) return nullptr;
    for (const std::unique_ptr<node>& child : n.literals)
      if (child->text.front() == path.front()) return child.get();
    return nullptr;
  }

  bool down(const node& from, std::string_view path, std::size_t depth) {
    const node* at = &from;
    const node* child = nullptr;
    for (;;) {  // as long as literal text is the only way on
      if (!begins_with(path, at->text)) return false;
      path.remove_prefix(at->text.size());
      if (path.empty() && at_node(*at)) return true;
      child = literal_child(*at, path);
      if (at->segment != nullptr || at->rest != nullptr) break;
      if (child == nullptr) return false;
      at = child;
    }
    return branch(*at, child, path, depth);
  }

  // Literal text first; where it leads nowhere, a step back.
  bool branch(const node& n, const node* child, std::string_view path, std::size_t depth) {
    if (child != nullptr && down(*child, path, depth)) return true;
    if (n.segment != nullptr && !path.empty() && path.front() != '/') {
      const std::size_t end = std::min(path.find('/'), path.size());
      into.values[depth] = path.substr(0, end);
      if (down(*n.segment, path.substr(end), depth + 1)) return true;
    }
    if (n.rest == nullptr) return false;
    into.values[depth] = path;
    return at_node(*n.rest);
  }
};

void routes::find(method m, std::string_view path, found& into) const {
  into.hit = nullptr;
  into.allowed = 0;
  walk{m, into}.down(*root_, path, 0);
}

std::string allow_value(method_set methods) {
  if ((methods & bit_of(method::get)) != 0) methods |= bit_of(method::head);
  methods |= bit_of(method::options);
  std::string text;
  for (std::size_t i = 0; i != method_count; ++i) {
    const auto m = static_cast<method>(i);
    if ((methods & bit_of(m)) == 0) continue;
    if (!text.empty()) text += ", ";
    text += name_of(m);
  }
  return text;
}

}  // namespace catenet::http
