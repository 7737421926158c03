// Streams over real sockets: bytes through, order, gathering, flow control.
#include "support/client.hpp"
#include "support/engine_host.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace {

using namespace catenet;
using namespace catenet::test;

struct size_case {
  std::size_t bytes;
  const char* where;
};
void PrintTo(const size_case& c, std::ostream* out) { *out << c.bytes << " at " << c.where; }

class echoes : public testing::TestWithParam<size_case> {};

// A writer with random pieces and a reader with random pieces, against an engine that sends back what comes.
TEST_P(echoes, every_byte_in_order) {
  const std::size_t bytes = sanitized ? std::min<std::size_t>(GetParam().bytes, 16_MiB) : GetParam().bytes;
  const temp_folder folder;
  const std::string where =
      std::string(GetParam().where) == "unix" ? "unix:" + folder.path("s") : std::string(GetParam().where);
  engine_options o;
  o.send_limit = 256_MiB;
  engine_host host(echo(), o, where);
  host.start();
  client c(host.at());
  ASSERT_TRUE(c);
  std::thread writer([&] {
    std::mt19937 random(1);
    for (std::size_t at = 0; at != bytes;) {
      const std::size_t part =
          std::min<std::size_t>(bytes - at, random() % (random() % 4 == 0 ? 300000 : 5000) + 1);
      ASSERT_TRUE(c.send(pattern(at, part)));
      at += part;
    }
    c.finish();
  });
  std::mt19937 random(2);
  std::size_t at = 0;
  for (;;) {
    const std::string part = c.receive_some(random() % 100000 + 1);
    if (part.empty()) break;
    ASSERT_EQ(off_pattern(at, part), std::string::npos) << "from byte " << at;
    at += part.size();
  }
  writer.join();
  EXPECT_EQ(c.error(), 0);
  EXPECT_EQ(at, bytes);
  host.stop();
  EXPECT_EQ(host.statistics().bytes_in, bytes);
  EXPECT_EQ(host.statistics().bytes_out, bytes);
  EXPECT_EQ(host.statistics().accepted, 1u);
}

INSTANTIATE_TEST_SUITE_P(stream, echoes,
                         testing::Values(size_case{1, "127.0.0.1:0"}, size_case{2, "[::1]:0"},
                                         size_case{511, "unix"}, size_case{4096, "127.0.0.1:0"},
                                         size_case{4097, "unix"}, size_case{65536, "*:0"},
                                         size_case{1_MiB + 1, "127.0.0.1:0"}, size_case{8_MiB, "unix"},
                                         size_case{64_MiB, "127.0.0.1:0"}));

TEST(stream, what_is_offered_leaves_within_the_turn_and_in_order) {
  constexpr std::size_t piece = 100'000;
  std::size_t bytes = 0;
  std::atomic<bool> done{false};
  std::atomic<int> told{0};
  engine_host host({.received =
                        [&](stream& s, chain&&) {
                          const auto send = [&] {
                            EXPECT_NE(s.send(chain::copy_of(pattern(bytes, piece))), send_result::gone);
                            bytes += piece;
                          };
                          send();
                          EXPECT_EQ(s.unsent(), piece);
                          EXPECT_TRUE(s.offer());
                          EXPECT_EQ(s.unsent(), 0u);
                          s.want_writable();
                          while (s.offer() && bytes < 64_MiB) send();  // the peer reads nothing yet
                          EXPECT_EQ(told, 0) << "not within a call";
                          done = true;
                        },
                    .writable = [&](stream&) { ++told; }});
  host.start();
  client c(host.at());
  ASSERT_TRUE(c.send("go"));
  ASSERT_TRUE(eventually([&] { return done.load(); }));
  EXPECT_LT(bytes, 64_MiB);
  EXPECT_EQ(off_pattern(0, c.receive(bytes)), std::string::npos);
  EXPECT_TRUE(eventually([&] { return told == 1; }));
  host.stop();
  EXPECT_EQ(host.statistics().bytes_out, bytes);
}

TEST(stream, a_new_owner_is_told_of_the_fin_and_others_of_the_end) {
  std::string order;
  const handlers later{.ended =
                           [&](stream& s) {
                             order += "new owner's ended, ";
                             s.close();
                           },
                       .closed = [&](stream&) { order += "closed, "; }};
  scripted second{later};
  engine_host host({.opened = [&](stream& s) { s.on_end([&] { order += "end"; }); },
                    .ended =
                        [&](stream& s) {
                          order += "ended, ";
                          s.hand_to(second, nullptr);
                        },
                    .closed = [&](stream&) { order += "not mine any more, "; }});
  host.start();
  client c(host.at());
  c.finish();
  EXPECT_EQ(c.receive(1), "");
  host.stop();
  EXPECT_EQ(order, "ended, new owner's ended, closed, end");
}

TEST(stream, many_at_once) {
  constexpr int clients = 60;
  engine_host host(echo());
  host.start();
  std::vector<client> all;
  for (int i = 0; i != clients; ++i) all.emplace_back(host.at());
  for (int round = 0; round != 5; ++round) {
    for (int i = 0; i != clients; ++i)
      ASSERT_TRUE(all[i].send(pattern(static_cast<std::uint64_t>(i) * 7, 5000)));
    for (int i = 0; i != clients; ++i)
      ASSERT_EQ(off_pattern(static_cast<std::uint64_t>(i) * 7, all[i].receive(5000)), std::string::npos);
  }
  EXPECT_EQ(host.statistics().connections, clients);
  all.clear();
  EXPECT_TRUE(eventually([&] { return host.statistics().connections == 0; }));
  host.stop();
}

TEST(stream, many_sends_of_one_turn_leave_as_one) {
  engine_host host({.received = [](stream& s, chain&&) {
    for (int i = 0; i != 100; ++i)
      EXPECT_EQ(s.send(chain::copy_of(pattern(static_cast<std::uint64_t>(i) * 600, 600))), send_result::sent);
    EXPECT_EQ(s.unsent(), 60000u);
  }});
  host.start();
  client c(host.at());
  for (std::uint64_t round = 1; round != 4; ++round) {
    c.send("x");
    ASSERT_EQ(off_pattern(0, c.receive(60000)), std::string::npos);
    EXPECT_EQ(host.statistics().sends, round);
  }
  host.stop();
}

TEST(stream, a_chain_of_thousands_of_segments_arrives_whole) {
  constexpr std::size_t segments = 5000;
  engine_host host({.received = [](stream& s, chain&&) {
    chain big;
    for (std::size_t i = 0; i != segments; ++i) big.append(chain::copy_of(pattern(i * 513, 513)));
    EXPECT_GT(big.segment_count(), 1024u);
    s.send(std::move(big));
  }});
  host.start();
  client c(host.at());
  c.send("x");
  const std::string got = c.receive(segments * 513);
  EXPECT_EQ(got.size(), segments * 513);
  EXPECT_EQ(off_pattern(0, got), std::string::npos);
  host.stop();
}

TEST(stream, memory_of_others_is_released_once_sent) {
  static std::atomic<int> released;
  released = 0;
  engine_host host({.received = [](stream& s, chain&&) {
    chain c;
    ASSERT_TRUE(c.append_constant("constant "));
    auto* text = new std::string("foreign");
    ASSERT_TRUE(c.append_foreign(
        text->data(), text->size(),
        [](void* p, void*, std::size_t) {
          delete static_cast<std::string*>(p);
          ++released;
        },
        text));
    s.send(std::move(c));
  }});
  host.start();
  client c(host.at());
  c.send("x");
  EXPECT_EQ(c.receive(16), "constant foreign");
  EXPECT_TRUE(eventually([] { return released == 1; }));
  host.stop();
}

TEST(stream, watermarks_hold_back_and_tell_once_it_is_drained) {
  engine_options o;
  o.high_watermark = 256_KiB;
  o.low_watermark = 32_KiB;
  o.send_limit = 16_MiB;
  std::atomic<int> writable{0}, state{0};
  std::atomic<std::uint64_t> low{~0ull};
  engine_host host({.received =
                        [&](stream& s, chain&&) {
                          // Far more than the sockets' buffers take.
                          send_result r{};
                          std::uint64_t sent = 0;
                          while (sent < 16_MiB) {
                            r = s.send(chain::copy_of(pattern(sent, 64_KiB)));
                            sent += 64_KiB;
                            EXPECT_EQ(r, s.unsent() > 256_KiB ? send_result::queued : send_result::sent);
                          }
                          chain more = chain::copy_of("more");
                          EXPECT_EQ(s.send(std::move(more)), send_result::over_limit);
                          EXPECT_EQ(more.to_string(), "more") << "a refused chain stays as it was";
                          state = 1;
                        },
                    .writable =
                        [&](stream& s) {
                          ++writable;
                          low = s.unsent();
                        }},
                   o);
  host.start();
  client c(host.at(), 32768);
  c.send("x");
  EXPECT_TRUE(eventually([&] { return state == 1; }));
  sleep_ms(50);
  EXPECT_EQ(writable, 0) << "the peer took nothing yet";
  const std::string got = c.receive(16_MiB);
  EXPECT_EQ(off_pattern(0, got), std::string::npos);
  EXPECT_TRUE(eventually([&] { return writable == 1; }));
  EXPECT_LE(low, 32_KiB);
  c.send("x");
  EXPECT_EQ(c.receive(16_MiB).size(), 16_MiB);
  EXPECT_TRUE(eventually([&] { return writable == 2; }));
  host.stop();
}

// Envoy#9499: reading was paused when the low watermark was to be told.
TEST(stream, the_low_watermark_is_told_to_a_stream_whose_reading_is_paused) {
  engine_options o;
  o.high_watermark = 128_KiB;
  std::atomic<std::uint64_t> echoed{0};
  engine_host host({.received =
                        [&](stream& s, chain&& bytes) {
                          echoed += bytes.bytes();
                          if (s.send(std::move(bytes)) == send_result::queued) s.pause();
                        },
                    .writable = [](stream& s) { s.resume(); }},
                   o);
  host.start();
  client c(host.at(), 16384);
  constexpr std::size_t bytes = sanitized ? 8_MiB : 32_MiB;
  std::thread writer([&] {
    for (std::size_t at = 0; at != bytes; at += 64_KiB) ASSERT_TRUE(c.send(pattern(at, 64_KiB)));
    c.finish();
  });
  sleep_ms(100);
  const std::uint64_t stopped_at = echoed;
  EXPECT_LT(stopped_at, bytes) << "a slow reader must stop the reading of what is echoed";
  const std::string got = c.receive_all();
  writer.join();
  EXPECT_EQ(got.size(), bytes);
  EXPECT_EQ(off_pattern(0, got), std::string::npos);
  host.stop();
}

TEST(stream, a_handle_is_gone_after_the_end_and_never_names_another) {
  std::mutex mutex;
  std::vector<handle> handles;
  std::atomic<int> closed{0};
  engine_host host({.opened =
                        [&](stream& s) {
                          const std::lock_guard lock(mutex);
                          handles.push_back(s.id());
                        },
                    .closed = [&](stream&) { ++closed; }});
  host.start();
  for (int i = 0; i != 50; ++i) {
    client c(host.at());
    ASSERT_TRUE(c);
    ASSERT_TRUE(eventually([&] { return host.statistics().accepted == static_cast<unsigned>(i) + 1; }));
    host.on_core([&] {
      const std::lock_guard lock(mutex);
      for (std::size_t k = 0; k + 1 != handles.size(); ++k)
        ASSERT_EQ(host.net().at(0).find(handles[k]), nullptr) << k << " of " << handles.size();
      stream* const s = host.net().at(0).find(handles.back());
      ASSERT_NE(s, nullptr);
      ASSERT_EQ(s->id(), handles.back());
      ASSERT_EQ(host.net().at(0).find({}), nullptr);
      ASSERT_EQ(host.net().at(0).find({1, handles.back().slot, handles.back().generation}), nullptr);
      ASSERT_EQ(host.net().at(0).find({0, 123456, handles.back().generation}), nullptr);
      s->close();
      ASSERT_EQ(host.net().at(0).find(handles.back()), nullptr) << "a closing stream is gone";
      EXPECT_EQ(s->send(chain::copy_of("x")), send_result::gone);
    });
    c.close();
    ASSERT_TRUE(eventually([&] { return closed == i + 1; }));
    ASSERT_TRUE(eventually([&] { return host.statistics().connections == 0; }));
  }
  const std::set<handle> distinct(handles.begin(), handles.end());
  EXPECT_EQ(distinct.size(), handles.size());
  host.stop();
}

TEST(stream, knows_its_addresses) {
  endpoint peer, local;
  std::atomic<bool> opened{false};
  engine_host host({.opened = [&](stream& s) {
    peer = s.peer();
    local = s.local();
    opened = true;
  }});
  host.start();
  client c(host.at());
  ASSERT_TRUE(eventually([&] { return opened.load(); }));
  sockaddr_storage mine{};
  socklen_t length = sizeof mine;
  getsockname(c.fd(), reinterpret_cast<sockaddr*>(&mine), &length);
  EXPECT_EQ(peer.text(), endpoint::from(reinterpret_cast<sockaddr*>(&mine), length).text());
  EXPECT_EQ(local.text(), host.at().text());
  host.stop();
}

// ---- pausing

TEST(stream, paused_hands_over_nothing_and_resumed_everything_in_order) {
  std::atomic<std::uint64_t> got{0};
  std::atomic<bool> bad{false}, ended{false};
  handle h;
  std::atomic<bool> opened{false};
  engine_host host({.opened =
                        [&](stream& s) {
                          h = s.id();
                          opened = true;
                          s.pause();
                          EXPECT_TRUE(s.paused());
                        },
                    .received =
                        [&](stream&, chain&& bytes) {
                          if (off_pattern(got, bytes.to_string()) != std::string::npos) bad = true;
                          got += bytes.bytes();
                        },
                    .ended =
                        [&](stream& s) {
                          EXPECT_EQ(got, 100'000u) << "the end comes after all bytes";
                          ended = true;
                          s.close();
                        }});
  host.start();
  client c(host.at());
  ASSERT_TRUE(eventually([&] { return opened.load(); }));
  ASSERT_TRUE(c.send(pattern(0, 100'000)));
  c.finish();
  sleep_ms(100);
  EXPECT_EQ(got, 0u);
  EXPECT_FALSE(ended);
  host.on_core([&] { host.net().at(0).find(h)->resume(); });
  EXPECT_TRUE(eventually([&] { return ended.load(); }));
  EXPECT_FALSE(bad);
  host.stop();
}

TEST(stream, what_came_before_the_pause_took_hold_is_held_with_the_end_behind_it) {
  // The handler pauses at the first bytes; more, and the FIN, are with the kernel or in the same turn's
  // completions.
  std::atomic<std::uint64_t> got{0};
  std::atomic<int> calls{0};
  std::atomic<bool> ended{false}, bad{false};
  engine_host host({.received =
                        [&](stream& s, chain&& bytes) {
                          if (s.paused()) bad = true;
                          if (off_pattern(got, bytes.to_string()) != std::string::npos) bad = true;
                          got += bytes.bytes();
                          s.pause();
                          ++calls;
                          const handle id = s.id();
                          core& home = s.home();
                          home.post([id, &home] {
                            if (stream* again = home.find(id)) again->resume();
                          });
                        },
                    .ended =
                        [&](stream& s) {
                          if (s.paused()) bad = true;
                          ended = true;
                          s.close();
                        }});
  host.start();
  for (int round = 0; round != 20; ++round) {
    got = 0;
    ended = false;
    client c(host.at());
    const std::size_t bytes = 1 + static_cast<std::size_t>(round) * 20011;
    ASSERT_TRUE(c.send(pattern(0, bytes)));
    c.finish();
    ASSERT_TRUE(eventually([&] { return ended.load(); }));
    EXPECT_EQ(got, bytes);
    EXPECT_EQ(c.receive_all(), "");
  }
  EXPECT_FALSE(bad);
  host.stop();
}

// Pausing and resuming from other streams' handlers, within the turn in which more bytes of the stream are
// told.
TEST(stream, order_holds_however_pauses_and_resumes_fall_between_completions) {
  struct of_stream {
    std::uint64_t got = 0;
  };
  std::vector<stream*> live;
  std::atomic<bool> bad{false};
  std::atomic<std::uint64_t> total{0};
  std::mt19937 random(7);
  engine_host host({.opened =
                        [&](stream& s) {
                          s.set_session(new of_stream);
                          live.push_back(&s);
                        },
                    .received =
                        [&](stream& s, chain&& bytes) {
                          auto& mine = *static_cast<of_stream*>(s.session());
                          if (s.paused()) bad = true;
                          if (off_pattern(mine.got, bytes.to_string()) != std::string::npos) bad = true;
                          mine.got += bytes.bytes();
                          total += bytes.bytes();
                          for (stream* other : live) switch (random() % 4) {
                              case 0:
                                other->pause();
                                break;
                              case 1:
                                other->pause();
                                other->resume();
                                break;
                              default:
                                other->resume();
                            }
                          live[random() % live.size()]->resume();
                        },
                    .closed =
                        [&](stream& s) {
                          delete static_cast<of_stream*>(s.session());
                          std::erase(live, &s);
                          for (stream* other : live) other->resume();
                        }});
  host.start();
  constexpr int clients = 6;
  constexpr std::size_t bytes = 2_MiB;
  std::atomic<bool> over{false};
  std::thread resumer([&] {
    while (!over) {
      host.net().at(0).post([&] {
        for (stream* s : live) s->resume();
      });
      sleep_ms(1);
    }
  });
  std::vector<std::thread> threads;
  for (int i = 0; i != clients; ++i)
    threads.emplace_back([&, i] {
      client c(host.at());
      std::mt19937 mine(static_cast<unsigned>(i));
      for (std::size_t at = 0; at != bytes;) {
        const std::size_t part = std::min<std::size_t>(bytes - at, mine() % 9000 + 1);
        ASSERT_TRUE(c.send(pattern(at, part)));
        at += part;
      }
      c.finish();
      EXPECT_EQ(c.receive_all(), "");
    });
  for (std::thread& t : threads) t.join();
  EXPECT_FALSE(bad) << "bytes were told to a paused stream, or out of order";
  EXPECT_EQ(total, clients * bytes);
  over = true;
  resumer.join();
  host.stop();
}

// Floods that never let the receive come to rest: a cancel that finds it at work must not be the last one.
TEST(stream, a_pause_takes_hold_in_the_middle_of_a_flood) {
  const temp_folder folder;
  struct of_stream {
    std::uint64_t until = 0;
    std::uint64_t got = 0;
  };
  std::vector<stream*> live;
  std::mt19937 random(9);
  std::atomic<int> held{0};
  engine_host host({.opened =
                        [&](stream& s) {
                          s.set_session(new of_stream{random() % 3'000'000, 0});
                          live.push_back(&s);
                        },
                    .received =
                        [&](stream& s, chain&& bytes) {
                          auto& mine = *static_cast<of_stream*>(s.session());
                          mine.got += bytes.bytes();
                          if (mine.got < mine.until) return;
                          s.pause();
                          ++held;
                        },
                    .closed =
                        [&](stream& s) {
                          delete static_cast<of_stream*>(s.session());
                          std::erase(live, &s);
                        }},
                   {}, "unix:" + folder.path("s"));
  host.start();
  constexpr int clients = 4;
  std::vector<client> all;
  std::vector<std::thread> floods;
  for (int i = 0; i != clients; ++i) all.emplace_back(host.at());
  for (client& c : all)
    floods.emplace_back([&c] {
      const std::string part = pattern(0, 128_KiB);
      while (::send(c.fd(), part.data(), part.size(), MSG_NOSIGNAL) > 0) {
      }
    });
  for (int round = 0; round != 15; ++round) {
    ASSERT_TRUE(eventually([&] { return held == clients; })) << held;
    sleep_ms(20);
    const std::uint64_t before = host.statistics().bytes_in;
    sleep_ms(50);
    ASSERT_EQ(host.statistics().bytes_in, before) << "round " << round;
    host.on_core([&] {
      held = 0;
      for (stream* s : live) {
        auto& mine = *static_cast<of_stream*>(s->session());
        mine.until = mine.got + random() % 3'000'000;
        s->resume();
      }
    });
  }
  host.on_core([&] {
    for (stream* s : live) s->abort();
  });
  for (std::thread& t : floods) t.join();
  host.stop();
}

TEST(stream, paused_for_good_bounds_what_is_held) {
  handle h;
  std::atomic<bool> opened{false};
  engine_host host({.opened =
                        [&](stream& s) {
                          h = s.id();
                          opened = true;
                        },
                    .received = [&](stream& s, chain&&) { s.pause(); }});
  host.start();
  client c(host.at());
  // As much as goes in, for a while.
  std::thread flood([&] {
    const std::string part = pattern(0, 256_KiB);
    while (::send(c.fd(), part.data(), part.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  sleep_ms(500);
  EXPECT_LT(host.statistics().bytes_in, 8_MiB) << "the pause did not take hold";
  const std::uint64_t before = host.statistics().bytes_in;
  sleep_ms(200);
  EXPECT_EQ(host.statistics().bytes_in, before);
  host.on_core([&] { host.net().at(0).find(h)->abort(); });
  flood.join();
  host.stop();
}

}  // namespace
