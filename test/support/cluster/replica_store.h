// Whole stores on a shared log, each with its own disk and its own way to the log.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kyro/replica/replica_log.h"
#include "kyro/storage/engine.h"
#include "test/support/cluster/fake_log.h"
#include "test/support/engine_harness.h"

namespace kyro::test {

// On any log; the way to it outlives the store.
struct StoreOnLog {
  explicit StoreOnLog(EntryStore& way, FsyncPolicy policy = FsyncPolicy::kInterval)
      : entries(way), options(small_options(fs)) {
    options.fsync = policy;
  }

  [[nodiscard]] Result<std::unique_ptr<Engine>> try_open() {
    log = std::make_unique<ReplicaLog>(entries, health, times);
    options.shared_log = log.get();
    return Engine::open(options);
  }
  Engine& open() {
    auto opened = try_open();
    INFO(opened.status().to_string());
    REQUIRE(opened.ok());
    engine = std::move(*opened);
    return *engine;
  }
  Engine& operator*() const { return *engine; }
  Engine* operator->() const { return engine.get(); }

  // Applies whatever the log has: that a key which nobody writes is not there is only said then.
  void catch_up() const {
    const Status status = engine->remove(kUnusedKey).status();
    INFO(status.to_string());
    REQUIRE(status.code() == Code::kNotFound);
  }
  static constexpr uint64_t kUnusedKey = ~uint64_t{0};

  EntryStore& entries;
  FaultFs fs;
  LogHealth health;
  ReplicaLog::Times times{.timeout_ms = 60'000, .pause_ms = 0};
  std::unique_ptr<ReplicaLog> log;
  Options options;
  std::unique_ptr<Engine> engine;
};

// On a log in memory.
struct FakeWay {
  explicit FakeWay(FakeLog& log) : path(log) {}
  // The next calls to the log go like this, those after them well.
  void script(std::vector<LogFault> faults) {
    path.fault = [faults = std::move(faults), at = size_t{0}]() mutable {
      return at < faults.size() ? faults[at++] : LogFault::kNone;
    };
  }
  FakeLogPath path;
};
struct ReplicaStore : FakeWay, StoreOnLog {
  explicit ReplicaStore(FakeLog& shared, FsyncPolicy policy = FsyncPolicy::kInterval)
      : FakeWay(shared), StoreOnLog(path, policy) {}
};

// Adds 1 to the number at `key` for as long as the store is told that it is another one already.
inline Status increment(Engine& engine, uint64_t key) {
  for (;;) {
    std::string text;
    uint64_t version = 0;
    const Status got = engine.get(key, &text, &version);
    const bool is_there = got.ok();
    if (!is_there && got.code() != Code::kNotFound) return got;
    const uint64_t value = is_there ? std::stoull(text) : 0;
    const Condition condition =
        is_there ? Condition::version(key, version) : Condition::absent(key);
    const Status put = engine.put_if(condition, std::to_string(value + 1)).status();
    if (put.code() != Code::kPreconditionFailed) return put;
  }
}

// What the group in an entry does to the contents of a store.
inline void apply_to(Contents* contents, const SharedGroup& group) {
  GroupHeader header{};
  header.first_offset = group.first_offset;
  header.records = group.records;
  REQUIRE(for_each_record(header, group.body, [&](const RecordView& record, std::string_view) {
    if (record.is_tombstone()) {
      contents->erase(record.header.key);
    } else {
      (*contents)[record.header.key] = {std::string(record.value), record.header.offset};
    }
  }));
}

// What a store that has applied all of the log must hold, and its next offset.
inline Contents contents_of(EntryStore& log, uint64_t* end) {
  Contents out;
  *end = 0;
  const auto found = log.look(0);
  INFO(found.status().to_string());
  REQUIRE(found.ok());
  const auto head = decode_head(found->head.value_or(""));
  REQUIRE(head.ok());
  while (*end < head->end) {
    const auto page = log.read(*end, 64);
    INFO(page.status().to_string());
    REQUIRE(page.ok());
    REQUIRE_FALSE(page->empty());
    for (const EntryStore::Entry& entry : *page) {
      REQUIRE(entry.offset == *end);
      const auto group = decode_entry(entry.bytes, entry.offset, head->database);
      INFO(group.status().to_string());
      REQUIRE(group.ok());
      apply_to(&out, *group);
      *end = group->end_offset();
    }
  }
  REQUIRE(head->end == *end);
  return out;
}
inline Contents contents_of(FakeLog& log, uint64_t* end) {
  FakeLogPath way(log);
  return contents_of(way, end);
}

// Whether a store that may lag holds what the log says, once it has applied all of it.
inline void check_same(const StoreOnLog& store, EntryStore& log) {
  store.catch_up();
  uint64_t end = 0;
  const Contents expected = contents_of(log, &end);
  CHECK(store->next_offset() == end);
  const bool same = contents_of(*store) == expected;
  CHECK(same);
}
inline void check_same(const StoreOnLog& store, FakeLog& log) {
  FakeLogPath way(log);
  check_same(store, way);
}

}  // namespace kyro::test
