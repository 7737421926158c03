#include <catenet/slab/version.hpp>

#include <gtest/gtest.h>

#include <regex>
#include <string>

namespace {

TEST(version, has_three_numbers) {
  const std::string text{catenet::version()};
  EXPECT_TRUE(std::regex_match(text, std::regex{R"(\d+\.\d+\.\d+)"})) << text;
}

}  // namespace
