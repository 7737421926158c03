// Accounts: who pays for blocks. Connection → listener → process, each a node that sums what is below it.
//
//   ledger (a core's root) ◀── listener ◀── connection ◀── block::payer
//
// Capacity is charged, not length: a block of 4 KiB that holds 10 bytes costs 4 KiB, and an overflow segment
// its 32 bytes. All of a tree lives on one core.
#pragma once

#include <catenet/slab/chain.hpp>

#include <boost/intrusive/list.hpp>

#include <array>
#include <cstdint>

namespace catenet {

class ledger;

/// Limits and whom to tell, shared by all accounts of a kind. 0 = none.
struct account_limits {
  std::uint64_t soft_bytes = 0;  ///< crossed upwards: `over`; back below: `under`
  std::uint64_t hard_bytes = 0;  ///< a charge that would go beyond is refused, and `refused` told
  void (*over)(account& a, void* context) = nullptr;
  void (*under)(account& a, void* context) = nullptr;
  void (*refused)(account& a, std::uint64_t bytes, void* context) = nullptr;
  void* context = nullptr;  ///< of the three callbacks, which must not close the account
};

/// One payer. Made by open(), given up by close(); it lives on until the last thing charged to it has come
/// home, so a connection may end before its blocks do. Used on its ledger's thread only.
class account : public boost::intrusive::list_base_hook<> {
 public:
  /// An account below another one (or below a ledger). Null when memory ran out. `limits` must outlive it.
  static account* open(account& parent, const account_limits* limits = nullptr, void* owner = nullptr);
  /// Nothing more will be charged. Frees it now or with the last credit.
  void close();

  /// Charges here and in every account above; false, and nothing charged, when a hard limit stands against
  /// it.
  bool charge(std::uint64_t bytes);
  void credit(std::uint64_t bytes);

  /// Makes this account pay for a block (its capacity), or for all blocks of a chain whose home is here and
  /// that nobody pays for yet. Paid back by itself when a block goes home. False, and nothing charged, at a
  /// hard limit.
  bool pay_for(block* b);
  bool pay_for(chain& c);

  [[nodiscard]] std::uint64_t bytes() const { return own_ + below_; }
  [[nodiscard]] std::uint64_t own_bytes() const { return own_; }  ///< charged here, not below
  [[nodiscard]] account* parent() const { return parent_; }
  [[nodiscard]] void* owner() const { return owner_; }
  [[nodiscard]] bool over_soft() const { return over_soft_; }

 private:
  friend class ledger;
  account() = default;
  account(account* parent, const account_limits* limits, void* owner)
      : parent_(parent), limits_(limits), owner_(owner) {}
  ~account() = default;
  void add(std::uint64_t bytes);
  void sub(std::uint64_t bytes);
  void note_soft();
  void end_if_done();
  ledger& root();

  account* parent_ = nullptr;
  const account_limits* limits_ = nullptr;
  void* owner_ = nullptr;
  std::uint64_t own_ = 0;
  std::uint64_t below_ = 0;
  std::uint32_t children_ = 0;
  bool closed_ = false;
  bool over_soft_ = false;
};

/// The root of a core's accounts, and the order of its payers by size.
class ledger : public account {
 public:
  explicit ledger(const account_limits* limits = nullptr) { limits_ = limits; }
  ~ledger();
  ledger(const ledger&) = delete;
  ledger& operator=(const ledger&) = delete;

  /// The account with most charged to itself, or null when nobody pays. O(1) while the one that was largest
  /// last time still is; else O(the accounts within an eighth of the largest).
  [[nodiscard]] account* largest();
  /// One of those with most charged to themselves: at most an eighth below the largest. Null when nobody
  /// pays. Always O(1).
  [[nodiscard]] account* among_largest();

  /// Sums over the ledger's life; equal when nothing is charged any more.
  [[nodiscard]] std::uint64_t charged() const { return charged_; }
  [[nodiscard]] std::uint64_t credited() const { return credited_; }

 private:
  friend class account;
  // Accounts by size: eight steps for each power of two, so a bucket's members differ by an eighth.
  static constexpr std::size_t bucket_count = std::size_t{64} * 8;
  static std::size_t bucket_of(std::uint64_t bytes);
  void place(account& a, std::uint64_t before);
  static constexpr std::size_t no_bucket = ~std::size_t{0};
  [[nodiscard]] std::size_t top_bucket() const;

  std::array<boost::intrusive::list<account, boost::intrusive::constant_time_size<false>>, bucket_count>
      buckets_;
  std::array<std::uint64_t, bucket_count / 64> filled_{};  // a bit a bucket
  account* champion_ = nullptr;                            // the largest, when it is known
  std::uint64_t charged_ = 0, credited_ = 0;
};

}  // namespace catenet
