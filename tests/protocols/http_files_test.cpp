// Files over a real socket: validators, ranges, variants, and what may not be reached.
#include "support/http_test_server.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace catenet::test {
namespace {

namespace fs = std::filesystem;

class http_file_server : public testing::Test {
 protected:
  http_file_server() {
    std::string name = (fs::temp_directory_path() / "catenet-files-XXXXXX").string();
    base_ = mkdtemp(name.data());
    root_ = base_ / "root";
    fs::create_directory(root_);
    write("index.html", "<p>index");
    write("a.txt", "0123456789");
    write("empty", "");
    write("big.bin", big_);
    write("deep/er/x.css", "p {}");
    write("deep/index.html", "deep");
    write(".hidden", "no");
    write("app.js", "plain plain plain");
    write("app.js.gz", "gz bytes");
    write("app.js.br", "br bytes");
    std::ofstream{base_ / "secret"} << "outside";
    fs::create_symlink("../secret", root_ / "link-out");
    fs::create_symlink(base_ / "secret", root_ / "link-absolute");
    fs::create_symlink("a.txt", root_ / "link-in");
    mkfifo((root_ / "fifo").c_str(), 0600);
    options_.fresh_ms = 0;
  }
  ~http_file_server() override {
    if (server_) {
      server_->stop();
      server_.reset();
    }
    fs::remove_all(base_);
  }

  void write(const std::string& name, const std::string& content) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream{root_ / name, std::ios::binary} << content;
  }
  void start() {
    server_.emplace([&](http::server& web) {
      web.files("/", root_.string(), options_);
      web.files("/below/", root_.string(), options_);
      web.get("/hello", [](http::request&, http::response& rs) { rs.text("hello"); });
    });
  }
  http_answer ask(const std::string& target, const std::string& lines = "",
                  const std::string& method = "GET") {
    if (!server_) start();
    http_test_client client{server_->port()};
    client.send(method + " " + target + " HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n");
    return client.read(method == "HEAD");
  }

  const std::string big_ = [] {
    std::string all;
    for (int i = 0; all.size() < 300'000; ++i) all += std::to_string(i) + ",";
    return all;
  }();
  fs::path base_, root_;
  http::file_options options_;
  std::optional<http_test_server> server_;
};

TEST_F(http_file_server, are_served_with_type_and_validators) {
  const http_answer a = ask("/a.txt");
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(a.body, "0123456789");
  EXPECT_EQ(a.field("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(a.field("Accept-Ranges"), "bytes");
  EXPECT_EQ(ask("/a.txt", "If-None-Match: " + *a.field("ETag") + "\r\n").status, 304);
  EXPECT_EQ(ask("/a.txt", "If-None-Match: " + *a.field("ETag") + "\r\n").field("ETag"), a.field("ETag"));
  EXPECT_EQ(ask("/a.txt", "If-Modified-Since: " + *a.field("Last-Modified") + "\r\n").status, 304);
  EXPECT_EQ(ask("/a.txt", "If-Match: \"other\"\r\n").status, 412);
  EXPECT_EQ(ask("/a.txt", "", "HEAD").field("Content-Length"), "10");
  EXPECT_EQ(ask("/empty").body, "");
  EXPECT_EQ(ask("/empty").status, 200);
  EXPECT_EQ(ask("/big.bin").body, big_);
  EXPECT_EQ(ask("/hello").body, "hello") << "a route that is more exact wins";
  EXPECT_EQ(ask("/a.txt", "", "POST").status, 405);
  EXPECT_EQ(ask("/below/a.txt").body, "0123456789");
  EXPECT_EQ(ask("/link-in").body, "0123456789");
}

TEST_F(http_file_server, directories_have_an_index_and_a_slash) {
  EXPECT_EQ(ask("/").body, "<p>index");
  EXPECT_EQ(ask("/below/").body, "<p>index");
  EXPECT_EQ(ask("/deep/").body, "deep");
  const http_answer a = ask("/deep?x=1");
  EXPECT_EQ(a.status, 301);
  EXPECT_EQ(a.field("Location"), "/deep/?x=1");
  EXPECT_EQ(a.field("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(ask("/below").field("Location"), "/below/");
  EXPECT_EQ(ask("/deep/er/").status, 404) << "no index there";
  EXPECT_EQ(ask("/a.txt/").status, 404);
}

TEST_F(http_file_server, row_61_nothing_outside_or_hidden_is_reached) {
  for (const char* target :
       {"/../secret", "/deep/../../secret", "/%2e%2e/secret", "/deep/%2e%2e/%2e%2e/secret", "/..%2fsecret",
        "/deep%2fer/x.css", "/..%5csecret", "/a%5c", "//a.txt", "/deep//er/x.css", "/./a.txt", "/link-out",
        "/link-absolute", "/.hidden", "/fifo", "/none", "/deep/er/none", "/%252e%252e/secret"}) {
    const http_answer a = ask(target);
    EXPECT_EQ(a.status, 404) << target;
    EXPECT_EQ(a.body.find("outside"), std::string::npos) << target;
  }
  EXPECT_EQ(ask("/a.txt%00.html").status, 400);
  EXPECT_EQ(ask("/" + std::string(5000, 'a')).status, 404) << "longer than a name may be";
}

TEST_F(http_file_server, row_62_ranges) {
  const http_answer part = ask("/a.txt", "Range: bytes=2-4\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, "234");
  EXPECT_EQ(part.field("Content-Range"), "bytes 2-4/10");
  EXPECT_EQ(ask("/big.bin", "Range: bytes=-1000\r\n").body, big_.substr(big_.size() - 1000));
  EXPECT_EQ(ask("/big.bin", "Range: bytes=100000-250000\r\n").body, big_.substr(100'000, 150'001));
  const http_answer none = ask("/a.txt", "Range: bytes=10-\r\n");
  EXPECT_EQ(none.status, 416);
  EXPECT_EQ(none.field("Content-Range"), "bytes */10");
  EXPECT_EQ(ask("/a.txt", "Range: bytes=4-2\r\n").status, 200);
  EXPECT_EQ(ask("/a.txt", "Range: bytes=0-1\r\n", "HEAD").status, 200);
  const std::string etag = *ask("/a.txt").field("ETag");
  EXPECT_EQ(ask("/a.txt", "Range: bytes=0-1\r\nIf-Range: " + etag + "\r\n").status, 206);
  EXPECT_EQ(ask("/a.txt", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n").status, 200);
  std::string overlapping = "Range: bytes=0-";
  for (int i = 0; i != 1000; ++i) overlapping += ",0-";
  EXPECT_EQ(ask("/big.bin", overlapping + "\r\n").body.size(), big_.size()) << "never more than the file";

  const http_answer parts = ask("/a.txt", "Range: bytes=0-1, 8-\r\n");
  EXPECT_EQ(parts.status, 206);
  const std::string type = *parts.field("Content-Type");
  ASSERT_TRUE(type.starts_with("multipart/byteranges; boundary="));
  const std::string boundary = type.substr(type.find('=') + 1);
  EXPECT_EQ(parts.body,
            "--" + boundary +
                "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--" +
                boundary +
                "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--" +
                boundary + "--\r\n");
}

TEST_F(http_file_server, precompressed_variants_are_chosen_by_what_the_client_takes) {
  const auto body = [&](const std::string& accept) { return ask("/app.js", accept).body; };
  EXPECT_EQ(body(""), "plain plain plain");
  EXPECT_EQ(body("Accept-Encoding: gzip\r\n"), "gz bytes");
  EXPECT_EQ(body("Accept-Encoding: gzip, br\r\n"), "br bytes");
  EXPECT_EQ(body("Accept-Encoding: gzip, br;q=0.5\r\n"), "gz bytes");
  EXPECT_EQ(body("Accept-Encoding: gzip;q=0\r\n"), "plain plain plain");
  EXPECT_EQ(body("Accept-Encoding: identity, gzip;q=0.5\r\n"), "plain plain plain");
  EXPECT_EQ(body("Accept-Encoding: identity;q=0.4, gzip;q=0.5\r\n"), "gz bytes");
  EXPECT_EQ(ask("/app.js", "Accept-Encoding: br\r\nRange: bytes=0-4\r\n").body, "plain");
  const http_answer a = ask("/app.js", "Accept-Encoding: br\r\n");
  EXPECT_EQ(a.field("Content-Encoding"), "br");
  EXPECT_EQ(a.field("Vary"), "Accept-Encoding");
  EXPECT_EQ(a.field("Content-Type"), "text/javascript; charset=utf-8");
  EXPECT_NE(a.field("ETag"), ask("/app.js").field("ETag"));
  EXPECT_EQ(ask("/app.js").field("Vary"), "Accept-Encoding");
  EXPECT_EQ(ask("/a.txt").field("Vary"), std::nullopt);
}

TEST_F(http_file_server, changes_are_seen) {
  EXPECT_EQ(ask("/a.txt").body, "0123456789");
  const std::string etag = *ask("/a.txt").field("ETag");
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  write("a.txt", "other");
  EXPECT_EQ(ask("/a.txt").body, "other");
  EXPECT_NE(*ask("/a.txt").field("ETag"), etag);
  fs::remove(root_ / "a.txt");
  EXPECT_EQ(ask("/a.txt").status, 404);
  write("a.txt", std::string(100'000, 'x'));
  EXPECT_EQ(ask("/a.txt").body.size(), 100'000u);
}

TEST_F(http_file_server, the_cache_forgets_and_descriptors_stay_few) {
  options_.open_max = 10;
  options_.hot_total_max = 5000;
  for (int i = 0; i != 100; ++i)
    write("many/" + std::to_string(i), std::string(i % 2 == 0 ? 1000 : 100'000, 'x'));
  start();
  for (int round = 0; round != 3; ++round)
    for (int i = 0; i != 100; ++i)
      ASSERT_EQ(ask("/many/" + std::to_string(i)).body.size(), i % 2 == 0 ? 1000u : 100'000u);
  std::size_t open = 0;
  for ([[maybe_unused]] const auto& one : fs::directory_iterator("/proc/self/fd")) ++open;
  EXPECT_LT(open, 60u);
}

TEST_F(http_file_server, a_file_that_shrinks_while_it_is_sent_ends_the_connection) {
  write("shrinks", std::string(50'000'000, 'x'));
  start();
  http_test_client client{server_->port(), 4096};
  client.send("GET /shrinks HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_FALSE(client.read_some(1000).empty());
  fs::resize_file(root_ / "shrinks", 10'000'000);
  const std::string rest = client.read_all();
  EXPECT_LT(rest.size(), 50'000'000u);
  EXPECT_EQ(
      rest.find_first_not_of('x', rest.find("\r\n\r\n") == std::string::npos ? 0 : rest.find("\r\n\r\n") + 4),
      std::string::npos)
      << "nothing but the file's bytes";
}

TEST_F(http_file_server, a_directory_that_is_not_there_is_an_error_at_once) {
  engine net{};
  http::server web{net};
  EXPECT_THROW(web.files("/", (base_ / "none").string()), std::runtime_error);
}

}  // namespace
}  // namespace catenet::test
