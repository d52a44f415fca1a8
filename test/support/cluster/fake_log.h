// A shared log in memory, and the ways to it from several stores, each with its own faults.
#pragma once

#include <catch2/catch.hpp>
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

#include "kyro/replica/entry_store.h"

namespace kyro::test {

class FakeLog {
 public:
  std::optional<EntryStore::Found> create(uint64_t offset, const std::string& entry,
                                          const std::string& before, const std::string& after) {
    const std::lock_guard lock(mutex_);
    if (head_ != before || entries_.count(offset) > 0) return found(offset);
    entries_[offset] = entry;
    head_ = after;
    ++created_;
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

  // What somebody does to the log from outside.
  void trim(uint64_t below) {
    const std::lock_guard lock(mutex_);
    entries_.erase(entries_.begin(), entries_.lower_bound(below));
  }
  void set_head(std::optional<std::string> head) {
    const std::lock_guard lock(mutex_);
    head_ = std::move(head);
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
  std::map<uint64_t, std::string> entries_;
  std::optional<std::string> head_;
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
  explicit FakeLogPath(FakeLog& log) : log_(log) {}

  std::function<LogFault()> fault = [] { return LogFault::kNone; };
  std::function<void()> before_create = [] {};

  // What is late arrives now.
  void deliver_late() {
    while (!late_.empty()) {
      late_.front()();
      late_.pop_front();
    }
  }
  [[nodiscard]] size_t late() const { return late_.size(); }
  [[nodiscard]] uint64_t calls() const { return calls_; }

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
    return send<std::vector<Entry>>([this, from, count] { return log_.read(from, count); });
  }

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
  uint64_t calls_ = 0;
};

}  // namespace kyro::test
