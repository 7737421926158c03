// How streams end: finishing, lingering, resets, deadlines; closed() exactly once whatever happens.
#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>

namespace {

using namespace catenet;
using namespace catenet::test;

TEST(closing, finishes_what_is_being_sent_first) {
  constexpr std::size_t bytes = 8_MiB;
  engine_host host({.received = [](stream& s, chain&&) {
    chain big;
    for (std::size_t at = 0; at != bytes; at += 64_KiB) big.append(chain::copy_of(pattern(at, 64_KiB)));
    EXPECT_NE(s.send(std::move(big)), send_result::gone);
    s.close();
    s.close();
    EXPECT_TRUE(s.closing());
    EXPECT_EQ(s.send(chain::copy_of("x")), send_result::gone);
  }});
  host.start();
  client c(host.at(), 16384);
  c.send("x");
  sleep_ms(50);
  const std::string got = c.receive_all();
  EXPECT_EQ(c.error(), 0) << "a clean end";
  EXPECT_EQ(got.size(), bytes);
  EXPECT_EQ(off_pattern(0, got), std::string::npos);
  c.close();
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 0; }, 400)) << "it need not linger";
  host.stop();
}

// One packet instead of two, and one wake-up of the peer.
TEST(closing, the_last_bytes_bring_the_fin_with_them) {
  engine_host host({.received = [](stream& s, chain&&) {
    s.send(chain::copy_of("answer"));
    s.close();
  }});
  host.start();
  for (int i = 0; i != 20; ++i) {
    client c(host.at());
    c.send("request");
    pollfd readable{c.fd(), POLLIN | POLLRDHUP, 0};
    ASSERT_EQ(::poll(&readable, 1, 10'000), 1);
    EXPECT_NE(readable.revents & POLLRDHUP, 0) << "the end was not there along with the bytes";
    EXPECT_EQ(c.receive_all(), "answer");
  }
  host.stop();
}

TEST(closing, the_peers_half_close_leaves_sending_open) {
  engine_host host({.ended = [](stream& s) {
    EXPECT_EQ(s.send(chain::copy_of(pattern(0, 300'000))), send_result::queued);
    s.close();
  }});
  host.start();
  client c(host.at());
  c.send("request");
  c.finish();
  const std::string got = c.receive_all();
  EXPECT_EQ(got.size(), 300'000u);
  EXPECT_EQ(off_pattern(0, got), std::string::npos);
  host.stop();
}

TEST(closing, a_half_closed_stream_may_stay_and_send_later) {
  handle h;
  std::atomic<bool> ended{false};
  engine_host host({.ended = [&](stream& s) {
    h = s.id();
    ended = true;
  }});
  host.start();
  client c(host.at());
  c.finish();
  ASSERT_TRUE(eventually([&] { return ended.load(); }));
  const std::uint64_t turns = host.statistics().turns;
  sleep_ms(100);
  EXPECT_LE(host.statistics().turns, turns + 3) << "the end must not be read again and again";
  host.on_core([&] { host.net().at(0).find(h)->send(chain::copy_of("late")); });
  EXPECT_EQ(c.receive(4), "late");
  host.on_core([&] { host.net().at(0).find(h)->close(); });
  EXPECT_EQ(c.receive_all(), "");
  host.stop();
}

TEST(closing, a_slow_peer_that_keeps_sending_still_gets_the_whole_answer) {
  // Without lingering the kernel would answer its bytes with a reset, which destroys what it has not read
  // yet; and it takes much longer to read than linger_ms.
  constexpr std::size_t bytes = 1_MiB;
  engine_options o;
  o.linger_ms = 200;
  engine_host host({.received =
                        [](stream& s, chain&&) {
                          s.send(chain::copy_of(pattern(0, bytes)));
                          s.close();
                        }},
                   o);
  host.start();
  client c(host.at(), 16384);
  std::atomic<bool> over{false};
  std::thread writer([&] {
    const std::string part(1000, 'x');
    while (!over && ::send(c.fd(), part.data(), part.size(), MSG_NOSIGNAL) > 0)
      std::this_thread::sleep_for(std::chrono::microseconds(200));
  });
  std::string got;
  while (got.size() != bytes) {
    const std::string part = c.receive(std::min<std::size_t>(bytes - got.size(), 16384));
    if (part.empty()) break;
    got += part;
    sleep_ms(15);
  }
  EXPECT_EQ(got.size(), bytes);
  EXPECT_EQ(off_pattern(0, got), std::string::npos);
  over = true;
  writer.join();
  host.stop();
}

TEST(closing, a_peer_that_never_closes_is_closed_by_a_timer) {
  std::atomic<int> closed{0};
  engine_options o;
  o.linger_ms = 200;
  engine_host host({.opened = [](stream& s) { s.close(); }, .closed = [&](stream&) { ++closed; }}, o);
  host.start();
  const auto begin = std::chrono::steady_clock::now();
  client c(host.at());
  EXPECT_EQ(c.receive_all(), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(150)) << "FIN comes at once";
  EXPECT_EQ(closed, 0);
  ASSERT_TRUE(eventually([&] { return closed == 1; }, 2000));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(190));
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 0; }));
  host.stop();
}

TEST(closing, the_linger_timer_cannot_be_taken_back_by_the_protocol) {
  std::atomic<int> closed{0};
  engine_options o;
  o.linger_ms = 100;
  stream* mine = nullptr;
  engine_host host({.opened =
                        [&](stream& s) {
                          mine = &s;
                          s.close();
                        },
                    .closed =
                        [&](stream&) {
                          ++closed;
                          mine = nullptr;
                        }},
                   o);
  host.start();
  client c(host.at());
  EXPECT_EQ(c.receive_all(), "");
  host.on_core([&] {
    if (mine != nullptr) mine->clear_deadline();
  });
  host.on_core([&] {
    if (mine != nullptr) mine->set_deadline(1'000'000);
  });
  EXPECT_TRUE(eventually([&] { return closed == 1; }, 2000));
  host.stop();
}

TEST(closing, abort_is_a_reset_never_a_clean_end) {
  // A clean end would make a cut answer look whole. Both at rest and while much is being sent.
  std::atomic<int> closed{0};
  engine_host host({.received =
                        [](stream& s, chain&& bytes) {
                          if (bytes.to_string() == "b") s.send(chain::of_size(8_MiB));
                          core& home = s.home();
                          const handle id = s.id();
                          static timer_wheel* wheel;
                          wheel = &home.timers();
                          struct later final : timer {
                            core* home = nullptr;
                            handle id;
                            void expire() override {
                              if (stream* again = home->find(id)) again->abort();
                              delete this;
                            }
                          };
                          auto* t = new later;
                          t->home = &home;
                          t->id = id;
                          wheel->start(*t, 20);
                        },
                    .closed = [&](stream&) { ++closed; }});
  host.start();
  for (int round = 0; round != 20; ++round) {
    client c(host.at(), 16384);
    c.send(round % 2 == 0 ? "a" : "b");
    sleep_ms(round % 2 == 0 ? 0 : 40);
    c.receive_all();
    EXPECT_EQ(c.error(), ECONNRESET) << "round " << round;
    ASSERT_TRUE(eventually([&] { return closed == round + 1; }));
  }
  host.stop();
}

TEST(closing, resets_by_the_peer_at_any_moment) {
  std::map<stream*, int> live;  // on the core only
  std::atomic<int> opened{0}, closed{0};
  std::atomic<bool> bad{false};
  engine_host host({.opened =
                        [&](stream& s) {
                          ++opened;
                          if (!live.emplace(&s, 1).second) bad = true;
                        },
                    .received =
                        [&](stream& s, chain&& bytes) {
                          if (live.count(&s) == 0) bad = true;
                          for (int i = 0; i != 8; ++i)
                            if (auto twin = bytes.share()) s.send(std::move(*twin));
                          s.send(std::move(bytes));
                        },
                    .writable =
                        [&](stream& s) {
                          if (live.count(&s) == 0) bad = true;
                        },
                    .closed =
                        [&](stream& s) {
                          if (live.erase(&s) != 1) bad = true;
                          ++closed;
                        }});
  host.start();
  std::mt19937 random(3);
  constexpr int rounds = 300;
  for (int round = 0; round != rounds; ++round) {
    client c(host.at());
    ASSERT_TRUE(c);
    c.send(std::string(random() % 200'000 + 1, 'x'));
    if (random() % 2 != 0) c.receive_some();
    if (random() % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    if (random() % 4 != 0) c.reset();
  }
  EXPECT_TRUE(eventually([&] { return opened == rounds && closed == rounds; }));
  EXPECT_FALSE(bad);
  host.stop();
}

// Every callback closes or aborts itself, others or all, at random; each stream's closed() comes once,
// nothing after.
TEST(closing, callbacks_may_end_anything) {
  struct record {
    bool closed = false;
  };
  std::map<stream*, std::unique_ptr<record>> live;
  std::mt19937 random(11);
  std::atomic<int> opened{0}, closed{0};
  std::atomic<bool> bad{false};
  const auto havoc = [&](stream& self) {
    if (live.count(&self) == 0 || live[&self]->closed) bad = true;
    std::vector<stream*> all;
    for (auto& [s, r] : live) all.push_back(s);
    stream& other = *all[random() % all.size()];
    switch (random() % 9) {
      case 0:
        self.close();
        break;
      case 1:
        self.abort();
        break;
      case 2:
        other.close();
        break;
      case 3:
        other.abort();
        break;
      case 4:
        if (random() % 10 == 0)
          for (stream* s : all) s->abort();
        break;
      case 5:
        other.send(chain::copy_of(pattern(0, 5000)));
        break;
      case 6:
        other.pause();
        break;
      case 7:
        other.resume();
        break;
      default:
        other.set_deadline(static_cast<std::uint32_t>(random() % 20));
    }
  };
  engine_options o;
  o.linger_ms = 20;
  o.park_after_ms = 10;
  engine_host host({.opened =
                        [&](stream& s) {
                          ++opened;
                          live[&s] = std::make_unique<record>();
                          havoc(s);
                        },
                    .received =
                        [&](stream& s, chain&& bytes) {
                          s.send(std::move(bytes));
                          havoc(s);
                        },
                    .ended = havoc,
                    .writable = havoc,
                    .expired = havoc,
                    .drain = [&](stream& s) { s.abort(); },
                    .closed =
                        [&](stream& s) {
                          havoc(s);
                          live.erase(&s);
                          ++closed;
                          if (!live.empty()) havoc(*live.begin()->first);
                        }},
                   o);
  host.start();
  std::vector<std::thread> threads;
  constexpr int per_thread = 200;
  for (unsigned t = 0; t != 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 mine(t);
      std::vector<client> held;
      for (int i = 0; i != per_thread; ++i) {
        held.emplace_back(host.at());
        for (client& c : held)
          if (mine() % 3 == 0) ::send(c.fd(), "0123456789", 10, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (mine() % 5 == 0) held[mine() % held.size()].finish();
        if (held.size() > 8) {
          const std::size_t victim = mine() % held.size();
          if (mine() % 2 == 0) held[victim].reset();
          held.erase(held.begin() + static_cast<std::ptrdiff_t>(victim));
        }
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_TRUE(eventually([&] { return opened == 4 * per_thread; }));
  host.stop();
  EXPECT_EQ(closed, opened);
  EXPECT_FALSE(bad);
}

// What a protocol asks for in closed() must not wait for the next thing to happen.
TEST(closing, a_send_from_closed_leaves_in_the_same_turn) {
  stream* other = nullptr;
  std::atomic<int> opened{0};
  engine_options o;
  o.park_after_ms = 600'000;
  engine_host host({.opened =
                        [&](stream& s) {
                          if (++opened == 1) other = &s;
                        },
                    .closed =
                        [&](stream& s) {
                          if (&s != other && other != nullptr) other->send(chain::copy_of("bye"));
                          if (&s == other) other = nullptr;
                        }},
                   o);
  host.start();
  client first(host.at());
  ASSERT_TRUE(eventually([&] { return opened == 1; }));
  client second(host.at());
  ASSERT_TRUE(eventually([&] { return opened == 2; }));
  sleep_ms(20);
  second.reset();
  EXPECT_TRUE(first.readable(1000)) << "the farewell waits for something else to happen";
  host.stop();
}

TEST(closing, closing_others_from_closed_goes_all_the_way_at_once) {
  std::vector<stream*> live;
  std::atomic<int> opened{0}, closed{0};
  engine_host host({.opened =
                        [&](stream& s) {
                          live.push_back(&s);
                          ++opened;
                        },
                    .closed =
                        [&](stream& s) {
                          ++closed;
                          std::erase(live, &s);
                          if (!live.empty()) live.front()->abort();
                        }});
  host.start();
  std::vector<client> all;
  for (int i = 0; i != 20; ++i) all.emplace_back(host.at());
  ASSERT_TRUE(eventually([&] { return opened == 20; }));
  all[7].reset();
  EXPECT_TRUE(eventually([&] { return closed == 20; }, 1000));
  host.stop();
}

// ---- deadlines

TEST(deadline, is_told_once_in_time_and_may_be_moved_or_cleared) {
  std::atomic<int> expired{0};
  std::atomic<std::int64_t> after_ms{0};
  const auto begin = std::chrono::steady_clock::now();
  handle h;
  engine_host host({.opened =
                        [&](stream& s) {
                          h = s.id();
                          s.set_deadline(1000);
                          s.set_deadline(10'000);
                          s.set_deadline(100);  // an earlier one counts too
                        },
                    .expired =
                        [&](stream& s) {
                          after_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                         std::chrono::steady_clock::now() - begin)
                                         .count();
                          if (++expired == 2) s.close();
                        }});
  host.start();
  client c(host.at());
  ASSERT_TRUE(eventually([&] { return expired == 1; }));
  EXPECT_GE(after_ms, 98);  // the loop reads its clock once a turn, in whole milliseconds
  EXPECT_LT(after_ms, 900) << "the first and the second deadline do not count";
  sleep_ms(150);
  EXPECT_EQ(expired, 1) << "it is cleared by being told";
  host.on_core([&] {
    stream* const s = host.net().at(0).find(h);
    s->set_deadline(20);
    s->clear_deadline();
  });
  sleep_ms(60);
  EXPECT_EQ(expired, 1);
  host.on_core([&] { host.net().at(0).find(h)->set_deadline(5); });
  EXPECT_EQ(c.receive_all(), "");
  EXPECT_EQ(expired, 2);
  host.stop();
}

TEST(deadline, holds_for_a_parked_stream) {
  std::atomic<int> expired{0};
  engine_options o;
  o.park_after_ms = 30;
  engine_host host({.opened = [](stream& s) { s.set_deadline(200); },
                    .expired =
                        [&](stream& s) {
                          ++expired;
                          s.abort();
                        }},
                   o);
  host.start();
  client c(host.at());
  ASSERT_TRUE(eventually([&] { return host.statistics().parked == 1; }));
  EXPECT_EQ(c.receive_all(), "");
  EXPECT_EQ(expired, 1);
  EXPECT_TRUE(eventually([&] { return host.statistics().parked == 0; }));
  host.stop();
}

TEST(deadline, and_options_may_be_as_long_as_for_ever) {
  engine_options o;
  o.drain_ms = o.send_stall_ms = o.park_after_ms = 0xffffffff;
  std::atomic<int> expired{0};
  engine_host host({.opened = [](stream& s) { s.set_deadline(0xffffffff); },
                    .received =
                        [](stream& s, chain&& bytes) {
                          s.send(std::move(bytes));
                          s.home().owner().stop();
                        },
                    .expired = [&](stream&) { ++expired; },
                    .drain = [](stream&) {}},
                   o);
  host.start();
  client c(host.at());
  sleep_ms(20);
  c.send("x");
  EXPECT_EQ(c.receive(1), "x");
  sleep_ms(50);
  EXPECT_EQ(expired, 0);
  EXPECT_FALSE(c.readable(0)) << "draining has no end, so the stream goes on";
  c.finish();
  EXPECT_EQ(c.receive_all(), "");
  host.wait();
}

// ---- a peer that has said FIN, and does not read

std::vector<std::string> thread_names() {
  std::vector<std::string> names;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(thread.path() / "comm");
    std::getline(file, names.emplace_back());
  }
  return names;
}

// The ring's polls end when the peer has said FIN, room or not; neither the loop nor a worker of the kernel
// may try without end.
TEST(half_closed, a_peer_that_does_not_read_costs_nothing_and_gets_all) {
  constexpr std::size_t answer_bytes = 8_MiB;
  engine_host host({.received = [](stream& s, chain&&) { s.send(chain::copy_of(pattern(0, answer_bytes))); },
                    .ended = [](stream& s) { s.close(); }});
  host.start();
  client c(host.at(), 65536);
  ASSERT_TRUE(c.send("x"));
  sleep_ms(20);
  c.finish();
  sleep_ms(100);
  host.expect_quiet();
  for (const std::string& name : thread_names()) EXPECT_EQ(name.find("iou-wrk"), std::string::npos) << name;
  const std::string got = c.receive_all();
  EXPECT_EQ(got.size(), answer_bytes);
  EXPECT_EQ(off_pattern(0, got), std::string::npos);
  host.stop();
}

// ---- a peer that takes nothing

class stalls : public testing::TestWithParam<const char*> {};

TEST_P(stalls, reset_a_peer_that_takes_nothing_but_not_a_slow_one) {
  const temp_folder folder;
  const std::string where =
      std::string(GetParam()) == "unix" ? "unix:" + folder.path("s") : std::string(GetParam());
  engine_options o;
  o.send_stall_ms = 400;
  o.park_after_ms = 50;
  std::atomic<int> closed{0};
  engine_host host({.received =
                        [](stream& s, chain&&) {
                          s.send(chain::of_size(16_MiB));
                          s.set_deadline(600'000);  // a far deadline must not hide the stall
                        },
                    .closed = [&](stream&) { ++closed; }},
                   o, where);
  host.start();
  client dead(host.at(), 16384);
  dead.send("x");
  client slow(host.at(), 16384);
  slow.send("x");
  const auto begin = std::chrono::steady_clock::now();
  while (closed == 0 && std::chrono::steady_clock::now() - begin < std::chrono::seconds(6)) {
    slow.receive_some(100'000);
    sleep_ms(20);
  }
  EXPECT_EQ(closed, 1) << "the one that takes nothing is reset";
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
  for (int i = 0; i != 120; ++i) {
    slow.receive_some(100'000);
    ASSERT_EQ(slow.error(), 0) << "a slow reader is no stalled one";
    sleep_ms(20);
  }
  EXPECT_EQ(closed, 1);
  host.stop();
}

INSTANTIATE_TEST_SUITE_P(stream, stalls, testing::Values("127.0.0.1:0", "unix"));

}  // namespace
