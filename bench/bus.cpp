// The bus against what else one would take: messages through writer and flusher on one core and across two,
// packets, channels, the framer; beside boost::lockfree::spsc_queue of std::string and std::deque under a
// mutex, in one run. And how late a flush by time comes, beside bare waits of the same length.
//
// Time is processor time of the thread (of both threads together, where there are two), so that other work on
// the machine disturbs it less; the rate across cores is by the busier thread, as both work at once.
#include <catenet/bus/channel.hpp>
#include <catenet/bus/flusher.hpp>
#include <catenet/bus/framer.hpp>
#include <catenet/bus/packet.hpp>
#include <catenet/bus/writer.hpp>
#include <catenet/slab/depot.hpp>

#include <CLI/CLI.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <liburing.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace catenet;
using namespace std::chrono_literals;

struct options {
  double seconds = 0.5;  // each measurement, about
  unsigned rounds = 5;   // of which the best counts
  bool json = false;
  bool late_only = false;
};

// Nanoseconds of processor time of this thread.
std::uint64_t cpu_ns() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

void pin(unsigned to) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(to % std::max(1u, std::thread::hardware_concurrency()), &one);
  pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

template <class T>
void keep(T&& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

struct row {
  std::string name;
  double ns = 0;      // processor time a message, of all threads
  double rate_m = 0;  // million messages a second, by the busier thread
};

struct cost {
  std::uint64_t first_ns = 0;
  std::uint64_t second_ns = 0;
  std::uint64_t messages = 0;
};

// The best of several rounds: what disturbs can only add.
row measure(std::string name, const options& how, const std::function<cost(std::uint64_t)>& run) {
  const cost probe = run(20'000);
  const double per = std::max(1.0, static_cast<double>(std::max(probe.first_ns, probe.second_ns)) /
                                       static_cast<double>(probe.messages));
  const auto count = static_cast<std::uint64_t>(how.seconds * 1e9 / how.rounds / per) / 1000 * 1000 + 1000;
  row best{std::move(name), 1e300, 0};
  for (unsigned i = 0; i != how.rounds; ++i) {
    const cost c = run(count);
    const auto n = static_cast<double>(c.messages);
    best.ns = std::min(best.ns, static_cast<double>(c.first_ns + c.second_ns) / n);
    best.rate_m = std::max(best.rate_m, n / static_cast<double>(std::max(c.first_ns, c.second_ns)) * 1e3);
  }
  return best;
}

constexpr std::uint64_t a_flush = 1000;

cost on_this_thread(std::uint64_t count, const std::function<void(std::uint64_t)>& work) {
  const std::uint64_t begun = cpu_ns();
  work(count);
  return {cpu_ns() - begun, 0, count};
}

// ---- writer → flusher on one core

cost local(depot& blocks, std::uint64_t count, std::size_t bytes, bool as_packets) {
  const pool mine{blocks};
  bus::flusher out{{.count = a_flush, .end_of_turn = false}};
  bus::writer w{out};
  const std::string body(bytes, 'm');
  return on_this_thread(count, [&](std::uint64_t n) {
    std::uint64_t taken = 0;
    for (std::uint64_t i = 0; i != n; ++i) {
      bus::slot s = w.try_reserve(bytes);
      s.write(body);
      if (as_packets)
        keep(*s.commit_as_packet());
      else
        s.commit();
      if (i % a_flush == a_flush - 1) taken += out.take().bytes();
    }
    keep(taken);
  });
}

// The same, framed, delivered and cut into packets again: a whole local bus.
cost local_delivered(depot& blocks, std::uint64_t count, std::size_t bytes) {
  const pool mine{blocks};
  bus::flusher out{{.count = a_flush, .end_of_turn = false}};
  bus::writer w{out, {.format = &frame::length_u32}};
  bus::framer in{frame::length_u32};
  const std::string body(bytes, 'm');
  return on_this_thread(count, [&](std::uint64_t n) {
    std::uint64_t got = 0;
    bus::packet p;
    for (std::uint64_t i = 0; i != n; ++i) {
      keep(w.write(body));
      if (i % a_flush != a_flush - 1) continue;
      in.feed(out.take());
      while (in.next(p) == frame::status::frame) got += p.size();
    }
    keep(got);
  });
}

// ---- two threads: the producer's work, and the consumer's, which returns how many it has got so far

cost two_threads(depot& blocks, std::uint64_t count, const std::function<void(std::atomic<bool>&)>& produce,
                 const std::function<std::uint64_t()>& consume_some) {
  std::atomic<bool> over{false};
  cost sum{0, 0, count};
  std::thread producer([&] {
    pin(0);
    pool mine{blocks};
    const std::uint64_t begun = cpu_ns();
    produce(over);
    sum.first_ns = cpu_ns() - begun;
    while (!over) std::this_thread::sleep_for(100us);
  });
  {
    pin(1);
    pool mine{blocks};
    std::uint64_t got = 0;
    std::uint64_t useful = 0;
    // Time spent looking in vain is not the bus's: it is left out.
    while (got != count) {
      const std::uint64_t begun = cpu_ns();
      const std::uint64_t now = consume_some();
      if (now != 0) useful += cpu_ns() - begun;
      got += now;
      mine.turn();
      if (now == 0) std::this_thread::yield();
    }
    sum.second_ns = useful;
    over = true;
    producer.join();
    mine.turn();
  }
  return sum;
}

// Writer on one core, flusher on the other, which cuts the messages out again as packets.
cost across(depot& blocks, std::uint64_t count, std::size_t bytes) {
  bus::flusher out{{.count = a_flush, .end_of_turn = false}};
  bus::framer in{frame::length_u32};
  const std::string body(bytes, 'm');
  return two_threads(
      blocks, count,
      [&](std::atomic<bool>&) {
        bus::writer w{out, {.format = &frame::length_u32}};
        for (std::uint64_t i = 0; i != count; ++i) {
          while (!w.write(body)) {
            pool::current()->turn();
            std::this_thread::yield();
          }
          if (i % a_flush == 0) pool::current()->turn();
        }
      },
      [&] {
        std::uint64_t got = 0;
        bus::packet p;
        in.feed(out.take());
        while (in.next(p) == frame::status::frame) ++got;
        return got;
      });
}

// Two threads into the same blocks, a third part of the machine takes: here the consumer's thread writes too.
cost shared_writer(depot& blocks, std::uint64_t count, std::size_t bytes) {
  const pool mine{blocks};
  bus::flusher out{{.count = a_flush, .end_of_turn = false}};
  bus::shared_blocks space;
  bus::writer w{out, space};
  const std::string body(bytes, 'm');
  return on_this_thread(count, [&](std::uint64_t n) {
    for (std::uint64_t i = 0; i != n; ++i) {
      keep(w.write(body));
      if (i % a_flush == a_flush - 1) keep(out.take());
    }
  });
}

cost channel(depot& blocks, std::uint64_t count, std::size_t bytes, bus::producers who) {
  auto [tx, rx] = bus::make_channel(4096, who);
  const std::string body(bytes, 'm');
  return two_threads(
      blocks, count,
      [&, out = std::make_shared<bus::sender>(std::move(tx))](std::atomic<bool>&) {
        bus::flusher unused{{.count = a_flush, .end_of_turn = false}};
        bus::writer w{unused};
        for (std::uint64_t i = 0; i != count;) {
          bus::slot s = w.try_reserve(bytes);
          if (!s) {
            pool::current()->turn();
            std::this_thread::yield();
            continue;
          }
          s.write(body);
          bus::send_packet p = *s.commit_as_packet()->clone().send();
          while (out->try_send(p) == bus::push_result::full) {
            pool::current()->turn();
            std::this_thread::yield();
          }
          if (++i % a_flush == 0) {
            keep(unused.take());
            pool::current()->turn();
          }
        }
      },
      [&, in = std::make_shared<bus::receiver>(std::move(rx))] {
        std::uint64_t got = 0;
        while (auto p = in->try_receive()) ++got;
        return got;
      });
}

// ---- peers

cost lockfree_strings(depot& blocks, std::uint64_t count, std::size_t bytes) {
  auto queue = std::make_unique<boost::lockfree::spsc_queue<std::string>>(4096);
  const std::string body(bytes, 'm');
  return two_threads(
      blocks, count,
      [&](std::atomic<bool>&) {
        for (std::uint64_t i = 0; i != count; ++i)
          while (!queue->push(body)) std::this_thread::yield();
      },
      [&] {
        std::uint64_t got = 0;
        std::string text;
        while (queue->pop(text)) {
          keep(text);
          ++got;
        }
        return got;
      });
}

cost locked_deque(depot& blocks, std::uint64_t count, std::size_t bytes, bool same_thread) {
  std::mutex mutex;
  std::deque<std::string> queue;
  const std::string body(bytes, 'm');
  const auto push = [&] {
    const std::lock_guard lock(mutex);
    queue.push_back(body);
  };
  const auto pop_all = [&] {
    std::uint64_t got = 0;
    for (;;) {
      std::string text;
      {
        const std::lock_guard lock(mutex);
        if (queue.empty()) return got;
        text = std::move(queue.front());
        queue.pop_front();
      }
      keep(text);
      ++got;
    }
  };
  if (same_thread)
    return on_this_thread(count, [&](std::uint64_t n) {
      for (std::uint64_t i = 0; i != n; ++i) {
        push();
        if (i % a_flush == a_flush - 1) pop_all();
      }
    });
  return two_threads(
      blocks, count,
      [&](std::atomic<bool>&) {
        for (std::uint64_t i = 0; i != count; ++i) push();
      },
      pop_all);
}

// ---- packets

// What a clone and its drop cannot do without: one more and one less in memory.
cost bare_counts(std::uint64_t count) {
  std::uint32_t refs = 1;
  return on_this_thread(count, [&](std::uint64_t n) {
    for (std::uint64_t i = 0; i != n; ++i) {
      ++refs;
      keep(refs);
      --refs;
      keep(refs);
    }
  });
}

cost clones(depot& blocks, std::uint64_t count) {
  const pool mine{blocks};
  const bus::packet p = *bus::packet::copy_of(std::string(60, 'p'));
  constexpr std::uint64_t at_once = 100;
  return on_this_thread(count, [&](std::uint64_t n) {
    std::array<bus::packet, at_once> held;
    for (std::uint64_t i = 0; i != n / at_once; ++i) {
      for (bus::packet& h : held) h = p.clone();
      keep(held);
    }
  });
}

cost sends(depot& blocks, std::uint64_t count) {
  const pool mine{blocks};
  bus::packet p = *bus::packet::copy_of(std::string(60, 'p'));
  return on_this_thread(count, [&](std::uint64_t n) {
    for (std::uint64_t i = 0; i != n; ++i) {
      bus::send_packet away = *std::move(p).send();
      keep(away);
      p = *std::move(away).receive();
    }
  });
}

cost framing(depot& blocks, std::uint64_t count, const frame::format& how) {
  const pool mine{blocks};
  chain wire;
  for (std::uint64_t i = 0; i != a_flush; ++i)
    if (!frame::encode(how, chain::copy_of(std::string(60, 'f')), wire)) return {};
  const std::string text = wire.to_string();
  wire = chain::copy_of(text);
  bus::framer in{how};
  return on_this_thread(count, [&](std::uint64_t n) {
    bus::packet p;
    for (std::uint64_t i = 0; i < n; i += a_flush) {
      in.feed(*wire.share());
      while (in.next(p) == frame::status::frame) keep(p);
    }
  });
}

// ---- how late what is due by time comes

using microseconds = std::chrono::duration<double, std::micro>;

struct lateness {
  std::string name;
  std::vector<double> us;

  [[nodiscard]] double at(double part) {
    std::sort(us.begin(), us.end());
    return us.empty() ? 0 : us[static_cast<std::size_t>(part * static_cast<double>(us.size() - 1))];
  }
};

// A flush by time: writer and flusher on two threads.
void flush_by_time(depot& blocks, std::chrono::microseconds bound, unsigned flushes,
                   std::vector<double>& late) {
  const std::size_t before = late.size();
  pool mine{blocks};
  bus::station here;
  std::atomic<std::int64_t> committed_at{0};
  std::atomic<unsigned> seen{0};
  const auto now_ns = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
  bus::flusher out{here, {.bytes = 0, .count = 0, .after = bound, .end_of_turn = false}, [&](chain&&) {
                     const std::chrono::nanoseconds passed{now_ns() - committed_at.load()};
                     late.push_back(microseconds{passed - bound}.count());
                     ++seen;
                   }};
  std::thread producer([&] {
    pin(0);
    pool its{blocks};
    bus::writer w{out};
    for (unsigned i = 0; i != flushes; ++i) {
      committed_at = now_ns();
      keep(w.write("tick"));
      while (seen != i + 1) std::this_thread::yield();
    }
  });
  pin(1);
  here.wait_until([&] { return late.size() == before + flushes; }, 60s);
  producer.join();
}

// The same wait bare, with the least timer slack, beside a thread as busy as the writer's: what the machine
// itself is late by.
using bare_wait = std::function<void(const timespec& relative)>;

void wait_bare(const bare_wait& wait, std::chrono::microseconds bound, unsigned times,
               std::vector<double>& late) {
  std::atomic<bool> over{false};
  std::thread busy([&] {
    pin(0);
    while (!over) std::this_thread::yield();
  });
  pin(1);
  prctl(PR_SET_TIMERSLACK, 1);
  const timespec relative{0, std::chrono::nanoseconds{bound}.count()};
  for (unsigned i = 0; i != times; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    wait(relative);
    late.push_back(microseconds{std::chrono::steady_clock::now() - begun - bound}.count());
  }
  over = true;
  busy.join();
}

struct named_wait {
  const char* name;
  bare_wait wait;
};

std::vector<named_wait> bare_waits(io_uring* ring) {
  std::vector<named_wait> all{
      {"bare futex",
       [](const timespec& t) {
         std::uint32_t word = 1;
         syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &t, nullptr, 0);
       }},
      {"bare clock_nanosleep", [](const timespec& t) { clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr); }},
      {"bare ppoll", [](const timespec& t) { ppoll(nullptr, 0, &t, nullptr); }},
      {"never asleep: a loop around the clock", [](const timespec& t) {
         const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds{t.tv_nsec};
         while (std::chrono::steady_clock::now() < end) {
         }
       }}};
  if (ring != nullptr)
    all.push_back({"bare io_uring", [ring](const timespec& t) {
                     __kernel_timespec limit{t.tv_sec, t.tv_nsec};
                     io_uring_cqe* none = nullptr;
                     io_uring_wait_cqe_timeout(ring, &none, &limit);
                   }});
  return all;
}

// Turn by turn, so that what the machine does meanwhile meets all alike.
std::vector<lateness> all_lateness(depot& blocks, std::chrono::microseconds bound) {
  constexpr unsigned rounds = 10, each = 200;
  io_uring ring{};
  const bool has_ring = io_uring_queue_init(8, &ring, 0) == 0;
  const auto waits = bare_waits(has_ring ? &ring : nullptr);
  std::vector<lateness> all{{"flush", {}}};
  for (const named_wait& w : waits) all.push_back({w.name, {}});
  for (unsigned i = 0; i != rounds; ++i) {
    flush_by_time(blocks, bound, each, all[0].us);
    for (std::size_t k = 0; k != waits.size(); ++k) wait_bare(waits[k].wait, bound, each, all[k + 1].us);
  }
  if (has_ring) io_uring_queue_exit(&ring);
  return all;
}

std::vector<row> all_rows(depot& blocks, const options& how) {
  std::vector<row> rows;
  for (const std::size_t bytes : {16u, 60u, 1024u}) {
    const std::string of = " " + std::to_string(bytes) + " B";
    const auto add = [&](const std::string& name, const std::function<cost(std::uint64_t)>& run) {
      rows.push_back(measure(name + of, how, run));
    };
    add("writer to flusher, one core", [&](std::uint64_t n) { return local(blocks, n, bytes, false); });
    add("the same, each as a packet too", [&](std::uint64_t n) { return local(blocks, n, bytes, true); });
    add("writer, flusher, framer, packets, one core",
        [&](std::uint64_t n) { return local_delivered(blocks, n, bytes); });
    add("shared blocks, one core", [&](std::uint64_t n) { return shared_writer(blocks, n, bytes); });
    add("std::deque and mutex, one core",
        [&](std::uint64_t n) { return locked_deque(blocks, n, bytes, true); });
    add("writer, flusher, framer, packets, across",
        [&](std::uint64_t n) { return across(blocks, n, bytes); });
    add("channel of one, across",
        [&](std::uint64_t n) { return channel(blocks, n, bytes, bus::producers::one); });
    add("channel of many, across",
        [&](std::uint64_t n) { return channel(blocks, n, bytes, bus::producers::many); });
    add("boost spsc_queue of std::string, across",
        [&](std::uint64_t n) { return lockfree_strings(blocks, n, bytes); });
    add("std::deque and mutex, across",
        [&](std::uint64_t n) { return locked_deque(blocks, n, bytes, false); });
  }
  rows.push_back(measure("a bare count up and down", how, [](std::uint64_t n) { return bare_counts(n); }));
  rows.push_back(measure("packet: clone and drop", how, [&](std::uint64_t n) { return clones(blocks, n); }));
  rows.push_back(measure("packet: send and receive", how, [&](std::uint64_t n) { return sends(blocks, n); }));
  rows.push_back(measure("framer: u32 length, 60 B", how,
                         [&](std::uint64_t n) { return framing(blocks, n, frame::length_u32); }));
  rows.push_back(measure("framer: magic, 60 B", how,
                         [&](std::uint64_t n) { return framing(blocks, n, frame::magic_u32); }));
  rows.push_back(measure("framer: varint, 60 B", how,
                         [&](std::uint64_t n) { return framing(blocks, n, frame::varint); }));
  return rows;
}

double load_average() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : 0;
}

}  // namespace

int main(int argc, char** argv) {
  options how;
  CLI::App app{"Messages through the bus, and through what else one would take: processor time a message."};
  app.add_option("--seconds", how.seconds, "about how long each row takes")
      ->check(CLI::Range(0.01, 60.0))
      ->capture_default_str();
  app.add_option("--rounds", how.rounds, "rounds of which the best counts")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_flag("--json", how.json, "print JSON");
  app.add_flag("--late-only", how.late_only,
               "no rows: only how late a flush by time is, and the machine itself");
  CLI11_PARSE(app, argc, argv);

  depot blocks{{.classes = {}, .capacity = 256_MiB}};
  pin(1);
  std::vector<row> rows;
  if (!how.late_only) rows = all_rows(blocks, how);
  constexpr auto bound = 200us;
  std::vector<lateness> late = all_lateness(blocks, bound);

  if (how.json) {
    std::printf("{\"load_average\": %.2f, \"rows\": [", load_average());
    for (std::size_t i = 0; i != rows.size(); ++i)
      std::printf("%s\n  {\"name\": \"%s\", \"cpu_ns\": %.2f, \"million_per_second\": %.2f}",
                  i == 0 ? "" : ",", rows[i].name.c_str(), rows[i].ns, rows[i].rate_m);
    std::printf("],\n \"late\": {\"bound_us\": %lld", static_cast<long long>(bound.count()));
    for (lateness& l : late)
      std::printf(",\n  \"%s\": {\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}", l.name.c_str(),
                  l.at(0.5), l.at(0.99), l.at(1));
    std::printf("}}\n");
    return 0;
  }
  std::printf("load average %.2f; processor time a message of all threads; rate by the busier thread\n\n",
              load_average());
  std::printf("%-52s %10s %10s\n", "", "ns", "M/s");
  for (const row& r : rows) std::printf("%-52s %10.2f %10.2f\n", r.name.c_str(), r.ns, r.rate_m);
  std::printf("\nlate after a bound of %-30s %10s %10s %10s\n", "200 us", "p50 us", "p99 us", "most us");
  for (lateness& l : late)
    std::printf("%-52s %10.1f %10.1f %10.1f\n", l.name.c_str(), l.at(0.5), l.at(0.99), l.at(1));
  return 0;
}
