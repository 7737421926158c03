// Chains against a model: random operations on several chains and on strings beside them; after every step
// each chain keeps its invariants and says the same as its string. Segments of every kind take part, file
// regions too.
#include <catenet/slab/cursor.hpp>

#include "fixture.hpp"

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

namespace catenet::test {
namespace {

// The bytes of a chain, file regions read from their files.
std::string materialize(const chain& c) {
  std::string text;
  for (const segment* s = c.head(); s != nullptr; s = s->next) {
    if (s->kind != segment_kind::file) {
      text.append(reinterpret_cast<const char*>(s->data), s->length);
      continue;
    }
    std::string part(s->length, '?');
    EXPECT_EQ(pread(s->file->fd, part.data(), part.size(), static_cast<off_t>(s->offset)),
              static_cast<ssize_t>(part.size()));
    text += part;
  }
  return text;
}

bool has_file(const chain& c) {
  for (const segment* s = c.head(); s != nullptr; s = s->next)
    if (s->kind == segment_kind::file) return true;
  return false;
}

class model {
 public:
  explicit model(std::uint64_t seed) : random_(seed) {
    file_ = memfd_create("model", MFD_CLOEXEC);
    file_text_ = text(100'000);
    EXPECT_EQ(write(file_, file_text_.data(), file_text_.size()), static_cast<ssize_t>(file_text_.size()));
  }
  ~model() {
    for (auto& [c, t] : pairs_) c.clear();
    EXPECT_EQ(foreign_alive_, 0) << "foreign memory that was never released";
    close(file_);
  }

  void step() {
    auto& [c, t] = pairs_[below(pairs_.size())];
    auto& [c2, t2] = pairs_[below(pairs_.size())];
    switch (below(22)) {
      case 0: {
        const std::string more = text(below(300));
        ASSERT_TRUE(c.append_copy(more));
        t += more;
        break;
      }
      case 1: {
        const std::string more = text(below(9000));
        c.append(chain::copy_of(more));
        t += more;
        break;
      }
      case 2: {
        const std::size_t at = below(constants().size()), n = below(constants().size() - at + 1);
        ASSERT_TRUE(c.append_constant(std::string_view{constants()}.substr(at, n)));
        t += constants().substr(at, n);
        break;
      }
      case 3:
        append_foreign(c, t);
        break;
      case 4: {
        const std::size_t at = below(file_text_.size()), n = below(file_text_.size() - at + 1);
        ASSERT_TRUE(c.append_file(file_, at, n, false));
        t += file_text_.substr(at, n);
        break;
      }
      case 5:
        if (&c == &c2) break;
        c.append(std::move(c2));
        t += t2;
        t2.clear();
        break;
      case 6:
        if (&c == &c2) break;
        c.prepend(std::move(c2));
        t = t2 + t;
        t2.clear();
        break;
      case 7: {
        const std::size_t n = place_in(c, t);
        c.consume(n);
        t.erase(0, n);
        break;
      }
      case 8: {
        if (&c == &c2) break;
        const std::size_t n = place_in(c, t);
        auto front = c.split(n);
        ASSERT_TRUE(front);
        c2 = std::move(*front);
        t2 = t.substr(0, n);
        t.erase(0, n);
        break;
      }
      case 9: {
        if (&c == &c2) break;
        auto twin = c.share();
        ASSERT_TRUE(twin);
        c2 = std::move(*twin);
        t2 = t;
        break;
      }
      case 10: {
        const std::size_t at = below(t.size() + 10), n = below(t.size() + 10);
        auto part = c.share(at, n);
        ASSERT_TRUE(part);
        t2 += at < t.size() ? t.substr(at, n) : "";  // first: the two may be one
        c2.append(std::move(*part));
        break;
      }
      case 11:
        c.compact();
        break;
      case 12:
        reserve(c, t);
        break;
      case 13:
        c.mark_in_flight(true);
        EXPECT_EQ(c.validate(), nullptr);
        c.mark_in_flight(false);
        break;
      case 14:
        read(c, t);
        break;
      case 15:
        export_iovecs(c, t);
        break;
      case 16:
        if (below(3) == 0) c.clear(), t.clear();
        break;
      case 17: {
        const std::size_t n = below(70'000);
        chain fresh = chain::of_size(n);
        ASSERT_EQ(fresh.bytes(), n);
        std::string filling = text(n);
        fill(fresh, filling);
        c.append(std::move(fresh));
        t += filling;
        break;
      }
      case 18: {
        const std::string more = text(below(600));
        ASSERT_TRUE(c.prepend_copy(more));
        t = more + t;
        break;
      }
      case 19: {
        std::string more = text(below(3000));
        t += more;
        ASSERT_TRUE(c.append_string(std::move(more)));
        break;
      }
      case 20: {
        const std::size_t n = below(1024);
        const bool gathered = c.gather(n);
        ASSERT_TRUE(gathered || n > t.size() || has_file(c));
        if (gathered) {
          ASSERT_EQ(as_text(c.front()).substr(0, n), t.substr(0, n));
        }
        break;
      }
      default: {
        chain moved = std::move(c);
        EXPECT_TRUE(c.empty());
        c = std::move(moved);
      }
    }
    if (t.size() > 400'000) c.clear(), t.clear();
  }

  void check() {
    for (const auto& [c, t] : pairs_) {
      ASSERT_EQ(c.validate(), nullptr);
      ASSERT_EQ(c.bytes(), t.size());
      ASSERT_TRUE(materialize(c) == t);
    }
  }

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }
  // Any place, and now and then exactly a border between two segments.
  std::size_t place_in(const chain& c, const std::string& t) {
    if (below(3) != 0 || c.empty()) return below(t.size() + 10);
    std::size_t at = 0;
    for (const segment* s = c.head(); s != nullptr && (at == 0 || below(3) != 0); s = s->next)
      at += s->length;
    return at;
  }
  std::string text(std::size_t n) {
    static constexpr std::string_view letters = "abc\r\nxyz \r";
    std::string made(n, ' ');
    for (char& c : made) c = letters[random_() % letters.size()];
    return made;
  }
  static const std::string& constants() {
    static const std::string value = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
    return value;
  }

  static void fill(chain& c, std::string_view from) {
    for (segment* s = c.head(); s != nullptr; s = s->next) {
      std::copy_n(from.data(), s->length, reinterpret_cast<char*>(s->data));
      from.remove_prefix(s->length);
    }
  }

  void append_foreign(chain& c, std::string& t) {
    auto* memory = new std::string(text(1 + below(5000)));
    ++foreign_alive_;
    ASSERT_TRUE(c.append_foreign(
        memory->data(), memory->size(),
        [](void* self, void* data, std::size_t) {
          auto* owner = static_cast<std::pair<model*, std::string*>*>(self);
          EXPECT_EQ(data, owner->second->data());
          --owner->first->foreign_alive_;
          delete owner->second;
          delete owner;
        },
        new std::pair<model*, std::string*>{this, memory}));
    t += *memory;
  }

  void reserve(chain& c, std::string& t) {
    const size_class_table& classes = pool::current()->classes();
    const std::size_t least = below(std::min<std::size_t>(5000, classes.size(classes.count() - 1)));
    reservation r = c.reserve(least);
    ASSERT_TRUE(r);
    ASSERT_GE(r.bytes().size(), least);
    const std::string written = text(below(r.bytes().size() + 1));
    std::copy_n(reinterpret_cast<const std::byte*>(written.data()), written.size(), r.bytes().data());
    if (below(8) == 0) return;  // given up
    r.commit(written.size());
    t += written;
  }

  void read(const chain& c, const std::string& t) {
    if (has_file(c)) return;
    cursor at{c};
    const std::size_t skipped = below(t.size() + 5);
    ASSERT_EQ(at.skip(skipped), std::min(skipped, t.size()));
    const std::size_t from = std::min(skipped, t.size());
    const std::size_t crlf = t.find("\r\n", from), x = t.find('x', from);
    ASSERT_EQ(at.find_crlf(), crlf == t.npos ? std::nullopt : std::optional<std::uint64_t>{crlf - from});
    ASSERT_EQ(at.find(std::byte{'x'}), x == t.npos ? std::nullopt : std::optional<std::uint64_t>{x - from});
    const std::string wanted = text(1 + below(3));
    const std::size_t place = t.find(wanted, from);
    ASSERT_EQ(at.find(wanted), place == t.npos ? std::nullopt : std::optional<std::uint64_t>{place - from});
    const cursor mark = at.mark();
    at.skip(below(100));
    at.rewind(mark);
    std::string copied(below(2000), '?');
    const bool enough = copied.size() <= t.size() - from;
    ASSERT_EQ(at.read(std::as_writable_bytes(std::span{copied})), enough);
    if (enough) {
      ASSERT_EQ(copied, t.substr(from, copied.size()));
    }
    std::string all(t.size(), '?');
    ASSERT_EQ(c.copy_to(std::as_writable_bytes(std::span{all}), from), t.size() - from);
    all.resize(t.size() - from);
    ASSERT_TRUE(all == t.substr(from));
  }

  void export_iovecs(const chain& c, const std::string& t) {
    std::array<iovec, 8> vectors;
    const std::size_t most = below(20'000);
    const auto sum = c.to_iovecs(vectors, most);
    ASSERT_LE(sum.bytes, most);
    std::string text;
    for (std::size_t i = 0; i != sum.count; ++i)
      text.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
    ASSERT_EQ(text.size(), sum.bytes);
    ASSERT_TRUE(text == t.substr(0, sum.bytes));
  }

  std::mt19937_64 random_;
  std::array<std::pair<chain, std::string>, 6> pairs_;
  int file_ = -1;
  std::string file_text_;
  int foreign_alive_ = 0;
};

class chain_model : public slab_test, public ::testing::WithParamInterface<std::uint64_t> {};

TEST_P(chain_model, says_what_its_string_says) {
  {
    model m{GetParam()};
    for (int i = 0; i != 1500; ++i) {
      m.step();
      m.check();
      if (HasFatalFailure()) FAIL() << "at step " << i;
      if (i % 64 == 0) home->turn();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(seeds, chain_model, ::testing::Range<std::uint64_t>(1, 13));

// The same with two classes only, so that nearly everything lies across borders.
TEST(chain_model_small_blocks, says_what_its_string_says) {
  depot d{small_depot(64_MiB, {512, 1024})};
  {
    pool p{d};
    model m{99};
    for (int i = 0; i != 1000; ++i) {
      m.step();
      m.check();
      if (::testing::Test::HasFatalFailure()) FAIL() << "at step " << i;
    }
  }
  EXPECT_EQ(conservation(d), "");
  EXPECT_EQ(out(d), 0u);
}

}  // namespace
}  // namespace catenet::test
