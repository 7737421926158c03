// What the slab costs, beside malloc, mimalloc and the std::pmr pools, in one run (Google Benchmark): every
// figure of docs/slab.md but the memory that goes back after a peak, which slab_tests shows (decay.*).
//
//   slab_bench            a table, one line a figure, with the goal beside it where there is one
//   slab_bench --json     Google Benchmark's JSON; every other --benchmark_… option works as well
//
// The machine's clock drifts, so what counts is the ratio of figures of one run. A figure is the median of
// three.
#include <catenet/slab/chain.hpp>
#include <catenet/slab/cursor.hpp>
#include <catenet/slab/depot.hpp>
#include <catenet/slab/view.hpp>

#include <benchmark/benchmark.h>
#include <mimalloc.h>

#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <memory_resource>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace catenet;

depot& the_depot() {
  static depot d{[] {
    depot_options options;
    options.capacity = 4_GiB;
    return options;
  }()};
  return d;
}

// Hides a value from the optimiser without sending it through memory.
template <typename T>
void keep(T& value) {
  asm volatile("" : "+r"(value) : : "memory");
}

// ---- rent and return, one core
// -------------------------------------------------------------------------------

void rent_return(benchmark::State& state) {
  pool p{the_depot()};
  const size_class c = p.classes().fitting(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    block* b = p.rent(c);
    keep(b);
    b->refs = 0;
    p.give(b);
  }
}

void rent_return_lease(benchmark::State& state) {
  pool p{the_depot()};
  const auto bytes = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    lease l = lease::of(bytes);
    benchmark::DoNotOptimize(l.get());
  }
}

void malloc_free(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    void* at = std::malloc(bytes);
    keep(at);
    std::free(at);
  }
}

void mimalloc_free(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    void* at = mi_malloc(bytes);
    keep(at);
    mi_free(at);
  }
}

template <typename Resource>
void pmr(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  Resource resource{std::pmr::pool_options{0, 2 << 20}};
  std::pmr::memory_resource* r = &resource;
  keep(r);
  for (auto _ : state) {
    void* at = r->allocate(bytes);
    keep(at);
    r->deallocate(at, bytes);
  }
}

// 64 blocks out before the first comes back: what a busy loop does, beyond the pair that never leaves the
// registers.
void rent_return_64(benchmark::State& state) {
  pool p{the_depot()};
  const size_class c = p.classes().fitting(static_cast<std::size_t>(state.range(0)));
  std::array<block*, 64> out;
  for (auto _ : state) {
    for (block*& b : out) b = p.rent(c);
    benchmark::ClobberMemory();
    for (block* b : out) {
      b->refs = 0;
      p.give(b);
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}

void mimalloc_64(benchmark::State& state) {
  std::array<void*, 64> out;
  for (auto _ : state) {
    for (void*& at : out) at = mi_malloc(static_cast<std::size_t>(state.range(0)));
    benchmark::ClobberMemory();
    for (void* at : out) mi_free(at);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}

// ---- chains
// --------------------------------------------------------------------------------------------------

void share_drop(benchmark::State& state) {
  pool p{the_depot()};
  view body{lease::of(4096), 0, 4096};
  for (auto _ : state) {
    view twin = body;
    auto bytes = twin.bytes().data();
    keep(bytes);
  }
}

void share_drop_chain(benchmark::State& state) {
  pool p{the_depot()};
  chain body = chain::of_size(4096);
  for (auto _ : state) {
    auto view = body.share();
    benchmark::DoNotOptimize(view);
  }
}

// 64 shares before the first is dropped, as one message to many does it. The pair above waits for its own
// counts to come back from the store buffer, which this does not.
void share_drop_chain_64(benchmark::State& state) {
  pool p{the_depot()};
  chain body = chain::of_size(4096);
  std::vector<std::optional<chain>> out(64);
  for (auto _ : state) {
    for (auto& one : out) one = body.share();
    benchmark::ClobberMemory();
    for (auto& one : out) one.reset();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}

// Two chains that take turns in appending to each other.
void append_chain(benchmark::State& state) {
  pool p{the_depot()};
  chain left = chain::of_size(512);
  chain right = chain::of_size(4096);
  for (auto _ : state) {
    left.append(std::move(right));
    benchmark::ClobberMemory();
    right.append(std::move(left));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * 2);
}

void split_block(benchmark::State& state) {
  pool p{the_depot()};
  chain body = chain::of_size(4096);
  for (auto _ : state) {
    auto front = body.split(100);
    benchmark::DoNotOptimize(front);
    front->append(std::move(body));
    body = chain::of_size(4096);
  }
}

void append_copy_60(benchmark::State& state) {
  pool p{the_depot()};
  const std::string message(60, 'm');
  chain out;
  for (auto _ : state) {
    bool copied = out.append_copy(message);
    benchmark::DoNotOptimize(copied);
    if (out.bytes() > 32_KiB) out.clear();
  }
}

std::string text_without_crlf(std::size_t bytes) {
  std::string text(bytes, 'x');
  for (std::size_t i = 79; i < bytes; i += 80) text[i] = ' ';
  text[bytes - 2] = '\r';
  text[bytes - 1] = '\n';
  return text;
}

void find_crlf_chain(benchmark::State& state) {
  pool p{the_depot()};
  const std::string text = text_without_crlf(64_KiB);
  chain c;
  const size_class four = p.classes().fitting(4096);
  for (std::size_t at = 0; at != text.size(); at += 4096) {
    lease l{p.rent(four)};
    std::memcpy(l.bytes().data(), text.data() + at, 4096);
    c.append(chain{std::move(l), 0, 4096});
  }
  for (auto _ : state) {
    auto found = cursor{c}.find_crlf();
    benchmark::DoNotOptimize(found);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

void find_crlf_memmem(benchmark::State& state) {
  const std::string text = text_without_crlf(64_KiB);
  for (auto _ : state) {
    const void* found = memmem(text.data(), text.size(), "\r\n", 2);
    benchmark::DoNotOptimize(found);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

void find_crlf_memchr(benchmark::State& state) {
  const std::string text = text_without_crlf(64_KiB);
  for (auto _ : state) {
    const void* found = std::memchr(text.data(), '\n', text.size());
    benchmark::DoNotOptimize(found);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

// ---- across cores
// --------------------------------------------------------------------------------------------

// A ring of one writer and one reader. Each side publishes its position once for 32 items.
template <typename T>
class ring {
 public:
  bool push(T value) {
    if (write_ - seen_read_ == size &&
        write_ - (seen_read_ = read_shared_.load(std::memory_order_acquire)) == size)
      return false;
    items_[write_++ % size] = value;
    if (write_ % 32 == 0) publish();
    return true;
  }
  void publish() { write_shared_.store(write_, std::memory_order_release); }
  bool pop(T& value) {
    if (read_ == seen_write_ && read_ == (seen_write_ = write_shared_.load(std::memory_order_acquire)))
      return false;
    value = items_[read_++ % size];
    if (read_ % 32 == 0) read_shared_.store(read_, std::memory_order_release);
    return true;
  }

 private:
  static constexpr std::size_t size = 1024;
  alignas(64) std::array<T, size> items_{};
  alignas(64) std::size_t write_ = 0, seen_read_ = 0;
  alignas(64) std::size_t read_ = 0, seen_write_ = 0;
  alignas(64) std::atomic<std::size_t> write_shared_{0};
  alignas(64) std::atomic<std::size_t> read_shared_{0};
};

// One core takes, the other gives back. `take` and `drop` run on their own threads, `idle` on either one when
// it has to wait and once for every 64 items.
template <typename Side>
void across(benchmark::State& state) {
  using item = typename Side::item;
  auto between = std::make_unique<ring<item>>();
  std::atomic<bool> stop{false};
  std::thread other([&] {
    Side side;
    item it;
    for (std::size_t n = 0; !stop.load(std::memory_order_relaxed);) {
      if (between->pop(it)) {
        side.drop(it);
        if (++n % 64 == 0) side.turn();
      } else {
        side.turn();
        std::this_thread::yield();
      }
    }
    while (between->pop(it)) side.drop(it);
  });
  {
    Side side;
    std::size_t n = 0;
    for (auto _ : state) {
      item it = side.take();
      while (!between->push(it)) {
        side.turn();
        std::this_thread::yield();
      }
      if (++n % 64 == 0) side.turn();
    }
    between->publish();
    stop = true;
    other.join();
    side.turn();
  }
}

struct slab_side {
  using item = segment*;
  pool p{the_depot()};
  size_class c = p.classes().fitting(4096);
  segment* take() {
    block* b = p.rent(c);
    segment* s = p.segment_for(b);
    s->data = b->data;
    s->length = 4096;
    return s;
  }
  void drop(segment* s) { p.drop(s); }
  void turn() { p.turn(); }
};

struct mimalloc_side {
  using item = void*;
  void* take() { return mi_malloc(4096); }
  void drop(void* at) { mi_free(at); }
  void turn() {}
};

struct malloc_side {
  using item = void*;
  void* take() { return std::malloc(4096); }
  void drop(void* at) { std::free(at); }
  void turn() {}
};

struct nothing_side {
  using item = void*;
  void* take() { return this; }
  void drop(void*) {}
  void turn() {}
};

// ---- waste
// ---------------------------------------------------------------------------------------------------

// Sizes from 100 B to 2 MiB, log-uniform: bytes rented over bytes asked for.
void waste(benchmark::State& state) {
  pool p{the_depot()};
  std::mt19937_64 random{7};
  std::uniform_real_distribution<double> exponent{std::log(100.0), std::log(2.0 * 1024 * 1024)};
  std::uint64_t asked = 0, rented = 0;
  for (auto _ : state) {
    const auto bytes = static_cast<std::uint64_t>(std::exp(exponent(random)));
    chain c = chain::of_size(bytes);
    asked += bytes;
    for (const segment* s = c.head(); s != nullptr; s = s->next) rented += s->blk->capacity();
  }
  state.counters["waste_percent"] = 100.0 * (static_cast<double>(rented) / static_cast<double>(asked) - 1.0);
}

constexpr std::int64_t block_sizes[] = {512, 4096, 16384, 65536, 262144, 1048576};
void each_class(benchmark::internal::Benchmark* b) {
  for (std::int64_t size : block_sizes) b->Arg(size);
}

BENCHMARK(rent_return)->Apply(each_class);
BENCHMARK(rent_return_lease)->Arg(4096);
BENCHMARK(rent_return_64)->Arg(4096);
BENCHMARK(malloc_free)->Apply(each_class);
BENCHMARK(mimalloc_free)->Apply(each_class);
BENCHMARK(mimalloc_64)->Arg(4096);
BENCHMARK(pmr<std::pmr::unsynchronized_pool_resource>)->Name("pmr_unsynchronized")->Apply(each_class);
BENCHMARK(pmr<std::pmr::synchronized_pool_resource>)->Name("pmr_synchronized")->Apply(each_class);
BENCHMARK(share_drop);
BENCHMARK(share_drop_chain);
BENCHMARK(share_drop_chain_64);
BENCHMARK(append_chain);
BENCHMARK(split_block);
BENCHMARK(append_copy_60);
BENCHMARK(find_crlf_chain);
BENCHMARK(find_crlf_memmem);
BENCHMARK(find_crlf_memchr);
BENCHMARK(across<slab_side>)->Name("across_slab")->UseRealTime();
BENCHMARK(across<mimalloc_side>)->Name("across_mimalloc")->UseRealTime();
BENCHMARK(across<malloc_side>)->Name("across_malloc")->UseRealTime();
BENCHMARK(across<nothing_side>)->Name("across_nothing")->UseRealTime();
BENCHMARK(waste)->Iterations(20000);

// ---- the table
// -----------------------------------------------------------------------------------------------

struct goal {
  double most;
  const char* text;
};
const std::map<std::string_view, goal> goals = {
    {"rent_return/4096", {2.0, "<= 2 ns"}}, {"share_drop", {1.0, "<= 1 ns"}},
    {"append_chain", {2.0, "<= 2 ns"}},     {"across_slab", {15.0, "<= 15 ns"}},
    {"waste", {25.0, "<= 25 %"}},
};

class table : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override {
    std::printf("%-28s %12s  %s\n", "operation", "median", "goal");
    return true;
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.aggregate_name != "median" && run.repetitions > 1) continue;
      print(run);
    }
  }

 private:
  void print(const Run& run) {
    std::string name = run.run_name.function_name;
    if (!run.run_name.args.empty()) name += "/" + run.run_name.args;
    const auto counter = [&](const char* key) {
      const auto at = run.counters.find(key);
      return at == run.counters.end() ? 0.0 : static_cast<double>(at->second);
    };
    // Processor time, as the machine is seldom ours alone; wall time where two threads work on one thing.
    double value = run.run_name.time_type.empty() ? run.GetAdjustedCPUTime() : run.GetAdjustedRealTime();
    const char* unit = "ns";
    if (const double items = counter("items_per_second"); items != 0) value = 1e9 / items;
    if (const double bytes = counter("bytes_per_second"); bytes != 0) value = bytes / 1e9, unit = "GB/s";
    if (const double percent = counter("waste_percent"); percent != 0) value = percent, unit = "%";
    if (name == "find_crlf_chain") crlf_ = value;
    const auto wanted = goals.find(name);
    std::printf("%-28s %9.2f %-4s %s%s\n", name.c_str(), value, unit,
                wanted == goals.end() ? "" : wanted->second.text,
                wanted == goals.end()          ? ""
                : value <= wanted->second.most ? "  met"
                                               : "  NOT met");
    if (name == "find_crlf_memmem")
      std::printf("%-28s %9.2f %-4s >= 0.80%s\n", "find_crlf_chain/memmem", crlf_ / value, "x",
                  crlf_ >= 0.8 * value ? "  met" : "  NOT met");
    if (name == "waste")
      std::printf("%-28s %9zu %-4s <= 64 B  met\n", "descriptor", sizeof(block),
                  "B");  // block.hpp asserts it
    std::fflush(stdout);
  }
  double crlf_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  std::vector<char*> args;
  std::string as_json = "--benchmark_format=json";
  std::string quick = "--benchmark_min_time=0.1";
  std::string thrice = "--benchmark_repetitions=3";
  std::string medians = "--benchmark_report_aggregates_only=true";
  args.push_back(argv[0]);
  args.insert(args.end(), {quick.data(), thrice.data(), medians.data()});
  for (int i = 1; i < argc; ++i) {
    if (std::string_view{argv[i]} == "--json" || std::string_view{argv[i]} == as_json) {
      json = true;
      args.push_back(as_json.data());
    } else {
      args.push_back(argv[i]);
    }
  }
  int count = static_cast<int>(args.size());
  benchmark::AddCustomContext("descriptor_bytes", std::to_string(sizeof(block)));
  benchmark::Initialize(&count, args.data());
  if (benchmark::ReportUnrecognizedArguments(count, args.data())) return 2;
  table lines;
  if (json)
    benchmark::RunSpecifiedBenchmarks();
  else
    benchmark::RunSpecifiedBenchmarks(&lines);
  benchmark::Shutdown();
  return 0;
}
