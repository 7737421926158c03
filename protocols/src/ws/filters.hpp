// Topics with wildcards: which of the filters that somebody subscribed to a name matches.
//
// Names have levels: "sport/tennis/1". In a filter a level '+' stands for any one level, and a last level '#'
// for all that follow, also none: "sport/+/1", "sport/#" (MQTT 5.0 §4.7, without its rule for '$').
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace catenet::ws {

struct shared_topic;

inline constexpr std::size_t filter_levels_max = 64;

/// Whether it has a wildcard; a '+' or '#' that is not a level by itself is none.
[[nodiscard]] bool is_filter(std::string_view name);
/// Whether it can be subscribed to: not too deep, '#' at the end only.
[[nodiscard]] bool is_good_filter(std::string_view name);

/// A trie by levels. Not thread-safe.
class filter_tree {
 public:
  void add(std::string_view filter, shared_topic& topic);
  void remove(std::string_view filter);
  /// Puts the topics of all filters that match behind `into`. O(levels), but for filters that branch at '+'.
  void match(std::string_view name, std::vector<shared_topic*>& into) const;

 private:
  struct node {
    std::map<std::string, std::unique_ptr<node>, std::less<>> children;  // '+' and '#' among them
    shared_topic* topic = nullptr;
  };
  static bool remove_below(node& at, std::string_view rest);
  static void match_below(const node& at, std::string_view rest, bool any_left,
                          std::vector<shared_topic*>& into);
  node root_;
};

}  // namespace catenet::ws
