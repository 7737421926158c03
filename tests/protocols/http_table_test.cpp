// The table of bad input through a server on a socket.
#include "support/http_cases.hpp"
#include "support/http_test_server.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <string>
#include <string_view>

namespace catenet::test {
namespace {

class http_table_server : public testing::TestWithParam<http_case> {
 protected:
  // Sends the case and the canary, cut before these places, and judges the answers.
  void expect_answers(http_test_server& server, std::initializer_list<std::size_t> cuts) {
    const http_case& c = GetParam();
    const std::string bytes = c.input + canary;
    http_test_client client{server.port()};
    std::size_t from = 0;
    for (const std::size_t cut : cuts) {
      if (cut <= from || cut >= bytes.size()) continue;
      client.send(bytes.substr(from, cut - from));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // it arrives on its own
      from = cut;
    }
    client.send(bytes.substr(from));
    judge(client);
  }

  void judge(http_test_client& client) {
    const http_case& c = GetParam();
    http_answer first = client.read(c.input.starts_with("HEAD"));
    if (first.status == 100) first = client.read();
    EXPECT_EQ(first.status, c.status) << first.head << first.body;
    if (c.closes) {
      EXPECT_EQ(first.field("Connection"), "close");
      EXPECT_TRUE(client.at_end());
      return;
    }
    EXPECT_EQ(first.field("Connection"), c.input.find("HTTP/1.0") != std::string::npos
                                             ? std::optional<std::string>{"keep-alive"}
                                             : std::nullopt);
    const http_answer second = client.read();
    EXPECT_EQ(second.status, 200);
    EXPECT_EQ(second.body, "hello canary");
  }
};

TEST_P(http_table_server, answers_and_stays_in_step_or_closes) {
  http_test_server server{add_table_routes};
  const std::size_t size = GetParam().input.size();
  expect_answers(server, {});
  expect_answers(server, {1});
  expect_answers(server, {size / 3, size / 2, size - 1});
  expect_answers(server, {size});
  expect_answers(server, {size + 5});
  // What the codec decides is cut at every place without a socket (http_codec_test); the rest here.
  if (GetParam().row > 60)
    for (std::size_t cut = 2; cut < size; cut += std::max<std::size_t>(1, size / 200))
      expect_answers(server, {cut});
  EXPECT_EQ(server.wait_until_idle(), "");
}

TEST_P(http_table_server, answers_byte_by_byte) {
  const http_case& c = GetParam();
  if (c.input.size() > 2000) GTEST_SKIP() << "long: cut up without a socket";
  http_test_server server{add_table_routes};
  http_test_client client{server.port()};
  for (const char one : c.input)
    if (!client.send({&one, 1})) break;
  client.send(canary);
  judge(client);
}

std::string name_of_case(const testing::TestParamInfo<http_case>& of) {
  return "row_" + std::to_string(of.param.row) + "_" + of.param.name;
}
INSTANTIATE_TEST_SUITE_P(bad_input, http_table_server, testing::ValuesIn(http_cases()), name_of_case);

// Those of the table above, and those that other tests have in their names.
std::set<int> rows_tested() {
  std::set<int> rows;
  for (const http_case& c : http_cases()) rows.insert(c.row);
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  const std::regex named{"(?:^|_)rows?_(\\d+)(?:_and_(\\d+))?"};
  for (int suite = 0; suite != all.total_test_suite_count(); ++suite) {
    const testing::TestSuite& of = *all.GetTestSuite(suite);
    if (std::string_view{of.name()}.find("http_") == std::string_view::npos) continue;
    for (int i = 0; i != of.total_test_count(); ++i)
      if (std::cmatch found; std::regex_search(of.GetTestInfo(i)->name(), found, named))
        for (std::size_t group = 1; group != found.size(); ++group)
          if (found[group].matched) rows.insert(std::stoi(found[group]));
  }
  return rows;
}

TEST(http_rows, each_row_of_the_table_of_bad_input_has_a_test) {
  constexpr int rows = 70;
  const std::set<int> tested = rows_tested();
  for (int row = 1; row <= rows; ++row) EXPECT_TRUE(tested.contains(row)) << "row " << row;
}

}  // namespace
}  // namespace catenet::test
