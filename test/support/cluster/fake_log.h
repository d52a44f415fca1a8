// A shared log in memory, and the ways to it from several stores, each with its own faults.
#pragma once

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kyro/base/limits.h"
#include "kyro/replica/entry_store.h"

namespace kyro::test {

class FakeLog {
 public:
  std::optional<EntryStore::Found> create(uint64_t offset, const std::string& entry,
                                          const std::string& before, const std::string& after) {
    const std::lock_guard lock(mutex_);
    if (head_ != before || entries_.count(offset) > 0) return found(offset);
    entries_[offset] = entry;
    history_[offset] = entry;
    head_ = after;
    ++created_;
    changed_.notify_all();
    return std::nullopt;
  }
  EntryStore::Found look(uint64_t offset) {
    const std::lock_guard lock(mutex_);
    return found(offset);
  }
  void create_head(const std::string& head) {
    const std::lock_guard lock(mutex_);
    if (!head_) head_ = head;
  }
  std::vector<EntryStore::Entry> read(uint64_t from, uint32_t count) {
    const std::lock_guard lock(mutex_);
    std::vector<EntryStore::Entry> out;
    for (auto at = entries_.lower_bound(from); at != entries_.end() && out.size() < count; ++at) {
      out.push_back({at->first, at->second});
    }
    return out;
  }

  void trim(uint64_t below) {
    const std::lock_guard lock(mutex_);
    entries_.erase(entries_.begin(), entries_.lower_bound(below));
  }
  EntryStore::Usage usage() {
    const std::lock_guard lock(mutex_);
    return usage_;
  }
  // Sleeps until *is_woken or the head is another one than *known, if that is given; false after
  // the time, or where *is_woken.
  bool wait(std::optional<std::string>* known, const bool* is_woken, uint64_t timeout_ms) {
    std::unique_lock lock(mutex_);
    const auto is_over = [&] { return *is_woken || (known != nullptr && head_ != *known); };
    if (!changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), is_over) || *is_woken) {
      return false;
    }
    *known = head_;
    return true;
  }
  void wake(bool* is_woken) {
    const std::lock_guard lock(mutex_);
    *is_woken = true;
    changed_.notify_all();
  }
  void clear(bool* is_woken) {
    const std::lock_guard lock(mutex_);
    *is_woken = false;
  }

  // What somebody does to the log from outside.
  void set_usage(const EntryStore::Usage& usage) {
    const std::lock_guard lock(mutex_);
    usage_ = usage;
  }
  void set_head(std::optional<std::string> head) {
    const std::lock_guard lock(mutex_);
    head_ = std::move(head);
    changed_.notify_all();
  }
  void set_entry(uint64_t offset, std::string entry) {
    const std::lock_guard lock(mutex_);
    entries_[offset] = std::move(entry);
  }
  void erase_from(uint64_t offset) {
    const std::lock_guard lock(mutex_);
    entries_.erase(entries_.lower_bound(offset), entries_.end());
  }

  std::optional<std::string> head() {
    const std::lock_guard lock(mutex_);
    return head_;
  }
  std::map<uint64_t, std::string> entries() {
    const std::lock_guard lock(mutex_);
    return entries_;
  }
  // All entries that were ever created.
  std::map<uint64_t, std::string> history() {
    const std::lock_guard lock(mutex_);
    return history_;
  }
  uint64_t created() {
    const std::lock_guard lock(mutex_);
    return created_;
  }

 private:
  EntryStore::Found found(uint64_t offset) {
    const auto at = entries_.find(offset);
    return {at != entries_.end() ? std::optional(at->second) : std::nullopt, head_};
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, std::string> entries_;
  std::map<uint64_t, std::string> history_;
  std::optional<std::string> head_;
  EntryStore::Usage usage_;
  uint64_t created_ = 0;
};

// What happens to a call on its way.
enum class LogFault : uint8_t {
  kNone,
  kLostRequest,  // nothing happens, no answer
  kLostAnswer,   // it happens, no answer
  kTwice,        // it happens, and once more before the answer
  kLate,         // no answer; it happens before some later call, or never
  kNoSpace,
  kTooLarge,
};

// One store's way to the log. `fault` is asked once for each call.
class FakeLogPath final : public EntryStore {
 public:
  static constexpr uint64_t kAnswerBytesMax = 12 * kMiB;

  explicit FakeLogPath(FakeLog& log) : log_(log) {}

  std::function<LogFault()> fault = [] { return LogFault::kNone; };
  std::function<void()> before_create = [] {};
  std::atomic<bool> tells_nothing{false};  // of new heads

  // What is late arrives now.
  void deliver_late() {
    while (!late_.empty()) {
      late_.front()();
      late_.pop_front();
    }
  }
  [[nodiscard]] size_t late() const { return late_.size(); }
  [[nodiscard]] uint64_t calls() const { return calls_; }
  [[nodiscard]] uint64_t waits() const { return waits_; }
  // Of those that were asked for.
  [[nodiscard]] uint64_t page_bytes_max() const { return page_bytes_max_; }
  void reset_page_bytes_max() { page_bytes_max_ = 0; }

  Result<std::optional<Found>> create(uint64_t offset, std::string_view entry,
                                      std::string_view before, std::string_view after) override {
    before_create();
    return send<std::optional<Found>>(
        [this, offset, entry = std::string(entry), before = std::string(before),
         after = std::string(after)] { return log_.create(offset, entry, before, after); });
  }
  Result<Found> look(uint64_t offset) override {
    return send<Found>([this, offset] { return log_.look(offset); });
  }
  Status create_head(std::string_view head) override {
    const auto made = send<bool>([this, head = std::string(head)] {
      log_.create_head(head);
      return true;
    });
    return made.status();
  }
  Result<std::vector<Entry>> read(uint64_t from, uint32_t count) override {
    auto page = send<std::vector<Entry>>([this, from, count] { return log_.read(from, count); });
    uint64_t bytes = 0;
    if (page.ok()) {
      for (const Entry& entry : *page) bytes += entry.bytes.size();
    }
    page_bytes_max_ = std::max(page_bytes_max_, bytes);
    if (bytes > kAnswerBytesMax) return Status(Code::kTooLarge, "the answer is too large");
    return page;
  }
  Status erase(uint64_t below) override {
    const auto erased = send<bool>([this, below] {
      log_.trim(below);
      return true;
    });
    return erased.status();
  }
  Result<Usage> usage() override {
    return send<Usage>([this] { return log_.usage(); });
  }
  // The first one begins, and says that it does not know.
  std::optional<std::string> wait(uint64_t timeout_ms) override {
    ++waits_;
    if (!has_begun_) {
      has_begun_ = true;
      known_ = log_.head();
    } else if (log_.wait(tells_nothing ? nullptr : &known_, &is_woken_, timeout_ms)) {
      return known_;
    }
    log_.clear(&is_woken_);
    return std::nullopt;
  }
  void wake() override { log_.wake(&is_woken_); }

 private:
  template <class T>
  Result<T> send(std::function<T()> call) {
    ++calls_;
    const Status lost(Code::kLogUnreachable, "no answer");
    switch (fault()) {
      case LogFault::kNone:
        return call();
      case LogFault::kLostRequest:
        return lost;
      case LogFault::kLostAnswer:
        static_cast<void>(call());
        return lost;
      case LogFault::kTwice:
        static_cast<void>(call());
        return call();
      case LogFault::kLate:
        late_.push_back([call] { static_cast<void>(call()); });
        return lost;
      case LogFault::kNoSpace:
        return Status(Code::kNoSpace, "mvcc: database space exceeded");
      case LogFault::kTooLarge:
        return Status(Code::kTooLarge, "request is too large");
    }
    return lost;
  }

  FakeLog& log_;
  std::deque<std::function<void()>> late_;
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> waits_{0};
  uint64_t page_bytes_max_ = 0;
  bool has_begun_ = false;
  bool is_woken_ = false;             // the log's lock guards it
  std::optional<std::string> known_;  // the head that was told of last
};

}  // namespace kyro::test
