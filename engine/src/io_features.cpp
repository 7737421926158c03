// Sets of io_uring's features as text.
#include <catenet/engine/io_features.hpp>

#include <algorithm>
#include <cerrno>

namespace catenet {

error io_features::parse(std::string_view names, io_features& into) {
  io_features read;
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find(','));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
    const auto* known = std::find_if(io_features_known.begin(), io_features_known.end(),
                                     [&](const auto& f) { return f.name == name; });
    if (known == io_features_known.end()) {
      io_features all;
      for (const io_feature_facts& f : io_features_known) all.add(f.which);
      return {"--io-without", "'" + std::string(name) + "'", EINVAL,
              "features of io_uring are: " + all.text()};
    }
    read.add(known->which);
  }
  into = read;
  return {};
}

std::string io_features::text() const {
  std::string all;
  for (const io_feature_facts& f : io_features_known) {
    if (!has(f.which)) continue;
    if (!all.empty()) all += ", ";
    all += f.name;
  }
  return all;
}

}  // namespace catenet
