// See filters.hpp.
#include "ws/filters.hpp"

#include <algorithm>
#include <utility>

namespace catenet::ws {

namespace {

// The first level of `rest`, which is taken off; `any_left` tells whether another follows, be it empty.
std::string_view next_level(std::string_view& rest, bool& any_left) {
  const std::size_t slash = rest.find('/');
  const std::string_view level = rest.substr(0, slash);
  any_left = slash != std::string_view::npos;
  rest.remove_prefix(any_left ? slash + 1 : rest.size());
  return level;
}

}  // namespace

bool is_filter(std::string_view name) {
  if (name.find_first_of("+#") == std::string_view::npos) return false;
  for (bool left = true; left;)
    if (const std::string_view level = next_level(name, left); level == "+" || level == "#") return true;
  return false;
}

bool is_good_filter(std::string_view name) {
  std::size_t levels = 0;
  for (bool left = true; left;) {
    const std::string_view level = next_level(name, left);
    if (++levels > filter_levels_max || (level == "#" && left)) return false;
  }
  return true;
}

void filter_tree::add(std::string_view filter, shared_topic& topic) {
  node* at = &root_;
  for (bool left = true; left;) {
    std::unique_ptr<node>& child = at->children[std::string{next_level(filter, left)}];
    if (!child) child = std::make_unique<node>();
    at = child.get();
  }
  at->topic = &topic;
}

void filter_tree::remove(std::string_view filter) { remove_below(root_, filter); }

// True when the node is of no use any more.
bool filter_tree::remove_below(node& at, std::string_view rest) {
  bool left = false;
  const auto child = at.children.find(next_level(rest, left));
  if (child == at.children.end()) return false;
  bool useless = false;
  if (left) {
    useless = remove_below(*child->second, rest);
  } else {
    child->second->topic = nullptr;
    useless = child->second->children.empty();
  }
  if (useless) at.children.erase(child);
  return at.children.empty() && at.topic == nullptr;
}

void filter_tree::match(std::string_view name, std::vector<shared_topic*>& into) const {
  match_below(root_, name, true, into);
}

void filter_tree::match_below(const node& at, std::string_view rest, bool any_left,
                              std::vector<shared_topic*>& into) {
  if (const auto all = at.children.find(std::string_view{"#"}); all != at.children.end())
    if (all->second->topic != nullptr) into.push_back(all->second->topic);
  if (!any_left) {
    if (at.topic != nullptr) into.push_back(at.topic);
    return;
  }
  const std::string_view level = next_level(rest, any_left);
  const auto descend = [&](std::string_view key) {
    if (const auto child = at.children.find(key); child != at.children.end())
      match_below(*child->second, rest, any_left, into);
  };
  descend(level);
  if (level != "+") descend("+");
}

}  // namespace catenet::ws
