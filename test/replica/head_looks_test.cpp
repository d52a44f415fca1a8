#include "kyro/replica/head_looks.h"

#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "test/support/cluster/replica_store.h"

namespace kyro::test {
namespace {

// Somebody who waits, as the routes of a server do.
class Asker final : public HeadListener {
 public:
  uint64_t begin_look() override {
    const std::lock_guard lock(mutex_);
    ++looks_;
    changed_.notify_all();
    return asked_ > answered_ ? asked_ : 0;
  }
  void end_look(uint64_t ticket, uint64_t head) override {
    const std::lock_guard lock(mutex_);
    answered_ = ticket;
    heads_.push_back(head);
    changed_.notify_all();
  }
  void on_offset(uint64_t next_offset) override {
    const std::lock_guard lock(mutex_);
    next_offset_ = next_offset;
    changed_.notify_all();
  }

  void add() {
    const std::lock_guard lock(mutex_);
    ++asked_;
  }
  void wait_for_heads(size_t count) {
    std::unique_lock lock(mutex_);
    const auto is_there = [&] { return heads_.size() >= count && next_offset_; };
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(60), is_there));
  }
  void wait_for_looks(size_t count) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return looks_ >= count; }));
  }
  std::vector<uint64_t> heads() {
    const std::lock_guard lock(mutex_);
    return heads_;
  }
  std::optional<uint64_t> next_offset() {
    const std::lock_guard lock(mutex_);
    return next_offset_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t asked_ = 0;
  uint64_t answered_ = 0;
  size_t looks_ = 0;
  std::vector<uint64_t> heads_;
  std::optional<uint64_t> next_offset_;
};

}  // namespace

TEST_CASE("a look tells all who wait where the log ends, and how far the store is") {
  FakeLog log;
  ReplicaStore writer(log);
  writer.open();
  ReplicaStore lagging(log);
  lagging.open();
  must_put(*writer, 1, "one");
  FakeLogPath way(log);
  Asker asker;
  HeadLooks looks(*lagging, way, asker);
  REQUIRE(looks.start().ok());
  looks.ask();  // nobody waits: nobody is told, and the log is not asked
  asker.wait_for_looks(1);
  for (int i = 0; i < 3; ++i) asker.add();
  looks.ask();
  asker.wait_for_heads(1);
  CHECK(asker.heads() == std::vector<uint64_t>{1});
  CHECK(asker.next_offset() == 0);
  must_put(*writer, 2, "two");
  asker.add();
  looks.ask();
  asker.wait_for_heads(2);
  CHECK(asker.heads() == std::vector<uint64_t>{1, 2});
  looks.stop();
  CHECK(way.calls() == 2);
}

TEST_CASE("a look that has no answer, or not of this log, is tried again while somebody waits") {
  FakeLog log;
  ReplicaStore store(log);
  store.open();
  FakeLogPath way(log);
  const auto head = log.head();
  size_t calls = 0;
  way.fault = [&] {
    if (++calls == 2) log.set_head("0 0 00000000 " + std::string(32, 'f'));
    if (calls == 3) log.set_head(head);
    return calls == 1 ? LogFault::kLostRequest : LogFault::kNone;
  };
  Asker asker;
  HeadLooks looks(*store, way, asker);
  REQUIRE(looks.start().ok());
  asker.add();
  looks.ask();
  asker.wait_for_heads(1);
  looks.stop();
  CHECK(asker.heads() == std::vector<uint64_t>{0});
  CHECK(calls == 3);
}

}  // namespace kyro::test
