// Listening: addresses, files of UNIX sockets, and errors that say what to do.
#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

namespace {

using namespace catenet;
using namespace catenet::test;
using testing::HasSubstr;

class quiet_log : public testing::Test {
 protected:
  void SetUp() override { set_log_sink(nullptr); }
};
using listener = quiet_log;

error listening(std::string_view where, unsigned cores = 1) {
  engine_options o = quick();
  o.cores = cores;
  engine net(o);
  static const handlers none;
  return net.listen(where, [](core&) { return std::make_unique<scripted>(none); });
}

TEST_F(listener, on_several_addresses_at_once) {
  const temp_folder folder;
  const handlers h = echo();
  for (const unsigned cores : {1u, 2u}) {
    engine_options o;
    o.cores = cores;
    engine_host host(echo(), o, "");
    std::vector<endpoint> all;
    for (const std::string& where :
         {std::string("127.0.0.1:0"), std::string("[::1]:0"), std::string("*:0"), "unix:" + folder.path("s"),
          std::string("unix:@catenet-test-") + std::to_string(getpid())})
      all.push_back(host.listen(where, h));
    host.start();
    endpoint v4_of_any;
    ASSERT_FALSE(endpoint::parse("127.0.0.1:" + std::to_string(all[2].port()), v4_of_any));
    all.push_back(v4_of_any);
    for (const endpoint& to : all) {
      client c(to);
      ASSERT_TRUE(c) << to.text() << ": " << errno_text(c.error());
      c.send("hello");
      EXPECT_EQ(c.receive(5), "hello") << to.text();
    }
    host.stop();
    EXPECT_NE(access(folder.path("s").c_str(), F_OK), 0) << "the socket's file goes with the engine";
  }
}

TEST_F(listener, an_address_in_use_is_an_error_also_with_shared_ports) {
  for (const unsigned first : {1u, 2u})
    for (const unsigned second : {1u, 2u}) {
      engine_options o;
      o.cores = first;
      engine_host host(echo(), o);
      host.start();
      const error e = listening(host.at().text(), second);
      EXPECT_EQ(e.code, EADDRINUSE) << first << " and " << second;
      EXPECT_THAT(e.text(), HasSubstr(host.at().text()));
      EXPECT_THAT(e.text(), HasSubstr("another process listens there"));
      client c(host.at());
      EXPECT_TRUE(c.send("x"));
      EXPECT_EQ(c.receive(1), "x") << "the first goes on";
      host.stop();
    }
}

TEST_F(listener, run_fails_with_what_listen_could_not_do) {
  engine_options o = quick();
  engine net(o);
  static const handlers none;
  EXPECT_TRUE(net.listen("nowhere", [](core&) { return std::make_unique<scripted>(none); }));
  const error e = net.run();
  EXPECT_THAT(e.text(), HasSubstr("nowhere"));
}

TEST_F(listener, other_errors_say_what_to_do) {
  EXPECT_THAT(listening("203.0.113.1:0").text(), HasSubstr("no such address"));
  EXPECT_THAT(listening("unix:/nonexistent/folder/s").text(), HasSubstr("ENOENT"));
  EXPECT_THAT(listening("unix:/" + std::string(200, 'x')).text(), HasSubstr("longer than 107 bytes"));
  EXPECT_THAT(listening("example.org:80").text(), HasSubstr("names are not looked up"));
}

TEST_F(listener, a_stale_socket_file_is_replaced_a_live_one_and_other_files_are_not) {
  const temp_folder folder;
  const std::string path = folder.path("s");
  endpoint at;
  ASSERT_FALSE(endpoint::parse("unix:" + path, at));
  {  // somebody who ended without cleaning up
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(bind(fd, at.address(), at.length()), 0);
    ASSERT_EQ(listen(fd, 1), 0);
    close(fd);
    ASSERT_EQ(access(path.c_str(), F_OK), 0);
  }
  {
    engine_host host(echo(), {}, "unix:" + path);
    host.start();
    const error e = listening("unix:" + path);
    EXPECT_EQ(e.code, EADDRINUSE);
    client c(host.at());
    ASSERT_TRUE(c) << "the second must not have taken the file away";
    host.stop();
  }
  std::ofstream(path) << "precious";
  EXPECT_EQ(listening("unix:" + path).code, EADDRINUSE);
  std::string kept;
  std::ifstream(path) >> kept;
  EXPECT_EQ(kept, "precious");
}

// The new server starts while the old one drains: the old one's end must not take the new one's file away.
TEST_F(listener, a_draining_server_leaves_the_path_to_its_successor) {
  const temp_folder folder;
  const std::string where = "unix:" + folder.path("s");
  engine_host old({.drain = [](stream&) {}}, {}, where);
  old.start();
  client lasting(old.at());
  ASSERT_TRUE(eventually([&] { return old.statistics().connections == 1; }));
  old.net().stop();
  ASSERT_TRUE(eventually([&] { return !client(old.at()); }));
  {
    engine_host fresh(echo(), {}, where);
    fresh.check_descriptors = false;  // the old one closes some meanwhile
    fresh.start();
    lasting.close();
    old.wait();
    client c(fresh.at());
    ASSERT_TRUE(c) << errno_text(c.error());
    c.send("x");
    EXPECT_EQ(c.receive(1), "x");
    fresh.stop();
  }
}

}  // namespace
