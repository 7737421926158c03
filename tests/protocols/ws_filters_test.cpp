// Topics with wildcards: the trie against a plain matcher that compares level by level.
#include "ws/filters.hpp"
#include "ws/topics.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace catenet::ws {
namespace {

std::vector<std::string> levels_of(const std::string& name) {
  std::vector<std::string> levels(1);
  for (const char c : name)
    if (c == '/')
      levels.emplace_back();
    else
      levels.back() += c;
  return levels;
}

bool matches(const std::string& filter, const std::string& name) {
  const std::vector<std::string> f = levels_of(filter), n = levels_of(name);
  for (std::size_t i = 0; i != f.size(); ++i) {
    if (f[i] == "#") return true;
    if (i == n.size() || (f[i] != "+" && f[i] != n[i])) return false;
  }
  return f.size() == n.size();
}

TEST(ws_filters, are_told_from_plain_names) {
  for (const char* yes : {"+", "#", "a/+", "+/a", "a/#", "a/+/b", "+/+", "a//+"})
    EXPECT_TRUE(is_filter(yes)) << yes;
  for (const char* no : {"", "a", "a/b", "a+", "#a", "a/+b/c", "c++", "a/#1"})
    EXPECT_FALSE(is_filter(no)) << no;
  EXPECT_FALSE(is_good_filter("#/a"));
  EXPECT_FALSE(is_good_filter("a/#/b"));
  EXPECT_TRUE(is_good_filter("a/+/#"));
  std::string deep = "+";
  while (deep.size() < 2 * filter_levels_max - 1) deep += "/a";
  EXPECT_TRUE(is_good_filter(deep));
  EXPECT_FALSE(is_good_filter(deep + "/a"));
}

TEST(ws_filters, match_as_the_plain_matcher_says_while_they_come_and_go) {
  std::mt19937 random(47);
  const auto random_name = [&](bool filter) {
    std::string name;
    for (unsigned levels = 1 + random() % 4; levels != 0; --levels) {
      const char* const parts[] = {"a", "b", "", "c", "+", "#"};
      std::string part = parts[random() % (filter ? 6 : 4)];
      if (part == "#" && levels != 1) part = "+";
      name += part + (levels == 1 ? "" : "/");
    }
    return name;
  };
  filter_tree tree;
  std::vector<std::unique_ptr<shared_topic>> live;
  for (int round = 0; round != 5000; ++round) {
    const std::string filter = random_name(true);
    const auto known = std::ranges::find_if(live, [&](const auto& t) { return t->name == filter; });
    if (known != live.end()) {
      tree.remove(filter);
      live.erase(known);
    } else if (live.size() < 60) {
      live.push_back(std::make_unique<shared_topic>(filter, 1));
      tree.add(filter, *live.back());
    }
    const std::string name = random_name(false);
    std::vector<shared_topic*> found;
    tree.match(name, found);
    std::vector<std::string> got, expected;
    for (const shared_topic* t : found) got.push_back(t->name);
    for (const auto& t : live)
      if (matches(t->name, name)) expected.push_back(t->name);
    std::ranges::sort(got);
    std::ranges::sort(expected);
    ASSERT_EQ(got, expected) << name;
  }
}

}  // namespace
}  // namespace catenet::ws
