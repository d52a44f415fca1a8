// A whole store on a shared log in memory, with its own disk and its own way to the log.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kyro/replica/replica_log.h"
#include "kyro/storage/engine.h"
#include "test/support/engine_harness.h"
#include "test/support/fake_log.h"

namespace kyro::test {

struct ReplicaStore {
  explicit ReplicaStore(FakeLog& shared, FsyncPolicy policy = FsyncPolicy::kInterval)
      : path(shared), options(small_options(fs)) {
    options.fsync = policy;
  }

  [[nodiscard]] Result<std::unique_ptr<Engine>> try_open() {
    log = std::make_unique<ReplicaLog>(path, health, times);
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

  // The next calls to the log go like this, those after them well.
  void script(std::vector<LogFault> faults) {
    path.fault = [faults = std::move(faults), at = size_t{0}]() mutable {
      return at < faults.size() ? faults[at++] : LogFault::kNone;
    };
  }
  // Applies whatever the log has: that a key which nobody writes is not there is only said then.
  void catch_up() const {
    const Status status = engine->remove(kUnusedKey).status();
    INFO(status.to_string());
    REQUIRE(status.code() == Code::kNotFound);
  }
  static constexpr uint64_t kUnusedKey = ~uint64_t{0};

  FaultFs fs;
  FakeLogPath path;
  LogHealth health;
  ReplicaLog::Times times{.timeout_ms = 60'000, .pause_ms = 0};
  std::unique_ptr<ReplicaLog> log;
  Options options;
  std::unique_ptr<Engine> engine;
};

// What a store that has applied all of the log must hold, and its next offset.
inline Contents contents_of(FakeLog& log, uint64_t* end) {
  Contents out;
  *end = 0;
  const auto head = decode_head(log.head().value_or(""));
  REQUIRE(head.ok());
  for (const auto& [offset, bytes] : log.entries()) {
    REQUIRE(offset == *end);
    const auto group = decode_entry(bytes, offset, head->database);
    INFO(group.status().to_string());
    REQUIRE(group.ok());
    GroupHeader header{};
    header.first_offset = offset;
    header.records = group->records;
    REQUIRE(for_each_record(header, group->body, [&](const RecordView& record, std::string_view) {
      if (record.is_tombstone()) {
        out.erase(record.header.key);
      } else {
        out[record.header.key] = {std::string(record.value), record.header.offset};
      }
    }));
    *end = group->end_offset();
  }
  REQUIRE(head->end == *end);
  return out;
}

// Whether a store that may lag holds what the log says, once it has applied all of it.
inline void check_same(const ReplicaStore& store, FakeLog& log) {
  store.catch_up();
  uint64_t end = 0;
  const Contents expected = contents_of(log, &end);
  CHECK(store->next_offset() == end);
  const bool same = contents_of(*store) == expected;
  CHECK(same);
}

}  // namespace kyro::test
